"""What was generated for one sample, and the way back of `Reader.part`: tokens cut into the values of slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ofasys.generator.hypothesis import Hypothesis
from ofasys.planner.slot import leaves_of
from ofasys.program.program import Program, Stage, TokenStage, ValueStage
from ofasys.types import Fixed, Free, OneOf

Runs = dict[int, list[np.ndarray]]
Part = Hypothesis | np.ndarray | None  # what a stage became


@dataclass(frozen=True, eq=False)
class Answer:
    """What was generated for one sample."""

    parts: tuple[Part, ...]
    """What each stage of the target became, in the order they were made: a hypothesis, the frames (n, C) of a
    continuous value, None of a given one.
    """
    score: float
    """The sum over hypotheses of log-probability / length ** length_penalty; of a contrast the cosine of its two views.
    """
    extras: Mapping[int, Any] = field(default_factory=dict)
    """Label columns and views -> what they were answered with: tokens (n,) or an embedding (E,)."""
    numbers: tuple[int, ...] | None = None
    """Of each part the stage's number in the target; None: 0, 1, ..."""

    def staged(self, program: Program) -> list[tuple[Stage, Part]]:
        """(stage, what it became) of each part."""
        return staged_parts(program, self.parts, self.numbers)

    @property
    def only(self) -> Hypothesis:
        """Of a target that is tokens throughout."""
        (part,) = self.parts
        assert isinstance(part, Hypothesis)
        return part

    @property
    def tokens(self) -> np.ndarray:
        """Of the only hypothesis."""
        return self.only.tokens

    @property
    def states(self) -> np.ndarray:
        """Of the only hypothesis."""
        return self.only.states

    @property
    def length(self) -> int:
        """Tokens in all of it."""
        return sum(len(part.tokens) for part in self.parts if isinstance(part, Hypothesis))

    @property
    def logprob(self) -> float:
        """Sum of log-probabilities of all tokens that were chosen."""
        return sum(part.logprob for part in self.parts if isinstance(part, Hypothesis))

    @property
    def finished(self) -> bool:
        """False if a text had to be closed because max_length was reached."""
        return all(part.finished for part in self.parts if isinstance(part, Hypothesis))

    @classmethod
    def of(cls, hypothesis: Hypothesis) -> Answer:
        """The answer of a target that is tokens throughout."""
        return cls((hypothesis,), hypothesis.score)


@dataclass(frozen=True, eq=False)
class SoFar:
    """What of the answer to one sample is there while it is made."""

    parts: tuple[Part, ...]
    """What the stages became that are done."""
    tokens: np.ndarray
    """(n,) of the stage that is being made, if it is one of tokens."""
    numbers: tuple[int, ...] | None = None
    """Of each part the stage's number in the target, and of the stage that is being made; None: 0, 1, ..."""


def staged_parts(program: Program, parts: Sequence[Part], numbers: Sequence[int] | None) -> list[tuple[Stage, Part]]:
    """(stage, what it became) of each part. numbers: of the stages; None: 0, 1, ..."""
    known = range(len(parts)) if numbers is None else numbers
    return [(program.stages[number], part) for number, part in zip(known, parts, strict=True)]


def runs_so_far(program: Program, made: SoFar) -> tuple[Runs, int]:
    """As `runs` -> (what is there, the slot whose text is being written, whose last run may go on; -1: none is).

    A slot of a repetition is there when the stages of all its rounds are done.
    """
    found: Runs = {slot.index: [] for slot in program.plan.answered}
    done = len(made.parts)
    for stage, part in staged_parts(program, made.parts, None if made.numbers is None else made.numbers[:done]):
        _add(stage, part, found)
    number = done if made.numbers is None else made.numbers[done]
    begun = next(iter(program.stages[number:]), None)
    if begun is not None and begun.inside:  # as far as its rounds are gone through it is not whole
        value = begun if isinstance(begun, ValueStage) else program.stages[begun.exits[0]]
        assert isinstance(value, ValueStage)
        going = program.plan.slots[value.slot].group
        found |= {slot.index: [] for slot in program.plan.answered if slot.group == going}
    if not isinstance(begun, TokenStage):
        return found, -1
    constraint, own = begun.constraint, {slot: list[np.ndarray]() for slot in found}
    states = constraint.walk(made.tokens)
    cut(begun, made.tokens, states, own)
    state = constraint.start
    if len(made.tokens):
        state = int(constraint.advance(states[-1:], made.tokens[-1:])[0])
    found |= {slot: run for slot, run in own.items() if run and program.plan.slots[slot].group is None}
    writing = int(constraint.slot_of[state])
    if writing < 0 or constraint.text[state]:
        return found, writing
    return found | {writing: []}, -1  # half a box, or half a label, is none


def _add(stage: Stage, part: Part, found: Runs) -> None:
    """What a stage became, by slot."""
    if isinstance(stage, TokenStage):
        assert isinstance(part, Hypothesis)
        cut(stage, part.tokens, part.states, found)
    elif isinstance(part, np.ndarray):
        found[stage.slot].append(part)


def runs(program: Program, answer: Answer) -> Runs:
    """slot -> what each of its values is made of: tokens without end marks, or frames. What an unfinished answer lacks
    is not there.
    """
    found: Runs = {slot.index: [] for slot in program.plan.answered}
    for stage, part in answer.staged(program):
        _add(stage, part, found)
    for slot, value in answer.extras.items():
        found[slot].append(value)
    return found


def split(program: Program, tokens: Sequence[int] | np.ndarray) -> Runs:
    """The same for the tokens of a target that is tokens throughout."""
    found: Runs = {slot.index: [] for slot in program.plan.on("target") if not slot.no_loss}
    ids = np.asarray(tokens, dtype=np.int64)
    cut(program.only, ids, program.constraint.walk(ids), found)
    return found


def cut(stage: TokenStage, tokens: np.ndarray, states: np.ndarray, found: Runs) -> None:
    """Add the values that the tokens of a stage hold; `states`, before each token, say whose it is.

    A fixed number of tokens is a value, and so are those up to an end mark; the last text may lack its mark.
    """
    constraint = stage.constraint
    slots = np.where(constraint.control(states, tokens), -1, constraint.slot_of[states])
    for item in (step.item for step in leaves_of(stage.steps)):
        if not isinstance(item, (Fixed, Free, OneOf)):
            continue
        own = tokens[slots == item.slot]
        if isinstance(item, Fixed):
            found[item.slot] += list(own[: len(own) // item.count * item.count].reshape(-1, item.count))
        else:
            *whole, rest = np.split(own, np.flatnonzero(own == constraint.end) + 1)
            found[item.slot] += [one[:-1] for one in whole] + [rest] * (len(rest) > 0)
