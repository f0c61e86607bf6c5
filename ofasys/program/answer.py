"""What was generated for one sample, and the way back of `Reader.part`: tokens cut into the values of slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ofasys.generator.search import Hypothesis
from ofasys.program.program import Program, Stage
from ofasys.types import Fixed, Forced, Free, Item, Loop, OneOf

Runs = dict[int, list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class Answer:
    """What was generated for one sample."""

    parts: tuple[Hypothesis | np.ndarray | None, ...]
    """What each stage of the target became: a hypothesis, the frames (n, C) of a continuous value, None of a given one.
    """
    score: float
    """The sum over hypotheses of log-probability / length ** length_penalty; of a contrast the cosine of its two views.
    """
    extras: Mapping[int, Any] = field(default_factory=dict)
    """Label columns and views -> what they were answered with: tokens (n,) or an embedding (E,)."""

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


def runs(program: Program, answer: Answer) -> Runs:
    """slot -> what each of its values is made of: tokens without end marks, or frames. What an unfinished answer lacks
    is not there.
    """
    found: Runs = {slot.index: [] for slot in program.plan.answered}
    for stage, part in zip(program.stages, answer.parts, strict=True):
        if isinstance(part, Hypothesis):
            cut(program, stage, part.tokens, found)
        elif part is not None and stage.slot is not None:
            found[stage.slot].append(part)
    for slot, value in answer.extras.items():
        found[slot].append(value)
    return found


def split(program: Program, tokens: Sequence[int] | np.ndarray) -> Runs:
    """The same for the tokens of a target that is tokens throughout."""
    found: Runs = {slot.index: [] for slot in program.plan.on("target") if not slot.no_loss}
    cut(program, program.only, np.asarray(tokens, dtype=np.int64), found)
    return found


def cut(program: Program, stage: Stage, tokens: np.ndarray, found: Runs) -> None:
    """Add the values that the tokens of a stage hold."""
    _take(program, stage.items[stage.lead :], tokens, 0, found)


def _take(program: Program, items: Sequence[Item], tokens: np.ndarray, at: int, runs: Runs) -> int:
    for item in items:
        if at >= len(tokens):
            break
        if isinstance(item, Forced):
            at += len(program.prompt(item.text))
        elif isinstance(item, Fixed):
            if at + item.count <= len(tokens):
                runs[item.slot].append(tokens[at : at + item.count])
            at += item.count
        elif isinstance(item, (Free, OneOf)):
            ends = np.flatnonzero(tokens[at:] == program.symbols.end)
            length = int(ends[0]) if len(ends) else len(tokens) - at
            runs[item.slot].append(tokens[at : at + length])
            at += length + 1
        elif isinstance(item, Loop):
            while at < len(tokens) and tokens[at] != program.symbols.end:
                at = _take(program, item.items, tokens, at, runs)
            at += 1
    return at
