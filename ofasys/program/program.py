"""A program: a plan bound to the symbols of a model and to label sets. What data workers and generators run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal, TypeVar, cast

import numpy as np

from ofasys.errors import ConfigError, PlanError
from ofasys.generator.constraint import Constraint, Ints
from ofasys.generator.constraint import bind as bind_constraint
from ofasys.generator.grammar import Grammar
from ofasys.modality import Preprocessor, Registry, default_registry, plugin
from ofasys.modality.shared.label import ClosedSet
from ofasys.modality.symbols import Symbols
from ofasys.planner.plan import Plan
from ofasys.planner.slot import ROUND, AnyStep, Choose, Fill, Prompt, Repeat, RoundHead, SlotPlan, Step, items_of
from ofasys.types import Branch, Continuous, Fixed, Forced, Free, Gate, Given, Item, Loop, OneOf

Labels = Mapping[str, Sequence[str]]  # column -> its closed set
OneStep = TypeVar("OneStep", bound=AnyStep)


Mark = Literal["begin", "end"]


@dataclass(frozen=True, eq=False)
class TokenStage:
    """A part of the target that is tokens, made in one go."""

    lead: tuple[AnyStep, ...]
    """The plan's steps before anything is generated."""
    steps: tuple[AnyStep, ...]
    """Those after, in order."""
    mark: Mark | None
    """Which mark it begins with, if any."""
    constraint: Constraint
    """The automaton of `steps`."""
    exits: tuple[int, ...]
    """The number of the stage that comes next, by how many repetitions it leaves; that of no stage: none does."""
    inside: bool = False
    """It is of a round of a repetition."""

    def onward(self, states: Ints, tokens: Ints) -> int:
        """The number of the stage that comes after these tokens (T,), emitted in states (T,)."""
        return self.exits[self.constraint.left(states, tokens)]

    @property
    def chosen(self) -> bool:
        """Whether anything is generated in it, not only given."""
        return self.constraint.start != self.constraint.accept


@dataclass(frozen=True)
class ValueStage:
    """One value of the target that is no tokens."""

    slot: int
    """Its number in the plan."""
    chosen: bool
    """Whether it is generated, or given."""
    next: int
    """The number of the stage that comes after it."""
    inside: bool = False
    """It is of a round of a repetition."""

    @property
    def exits(self) -> tuple[int, ...]:
        """As of `TokenStage`."""
        return (self.next,)


Stage = TokenStage | ValueStage


@dataclass(frozen=True, eq=False)
class Program:
    """A plan ready to run."""

    plan: Plan
    symbols: Symbols
    preprocessors: tuple[Preprocessor, ...]
    """One a slot."""
    stages: tuple[Stage, ...]
    """The target, in the order it is made, but that those of a repetition are gone through again and again."""
    labels: Mapping[int, ClosedSet]
    """Slot -> closed set."""
    max_positions: int
    """The longest stream the model takes."""
    prompts: Mapping[str, np.ndarray]
    """Text of each prompt -> its ids (n,)."""

    @property
    def only(self) -> TokenStage:
        """The only stage of a target that is tokens throughout."""
        (stage,) = self.stages
        assert isinstance(stage, TokenStage)
        return stage

    @property
    def constraint(self) -> Constraint:
        """Of the only stage."""
        return self.only.constraint

    @property
    def ranked(self) -> bool:
        """Whether the target ends in one label of a closed set and nothing else is generated."""
        if not self.stages or not isinstance(self.stages[-1], TokenStage):
            return False
        if any(not isinstance(stage, TokenStage) or stage.chosen for stage in self.stages[:-1]):
            return False
        items = items_of(self.stages[-1].steps)
        return len(items) == 1 and isinstance(items[0], OneOf | Fixed) and items[0].slot in self.labels

    def constraint_of(self, number: int) -> Constraint:
        """The automaton of a stage of tokens."""
        stage = self.stages[number]
        assert isinstance(stage, TokenStage)
        return stage.constraint

    def reserved(self, number: int) -> int:
        """Positions to keep free while a stage is made, for those after it; no further round of a repetition is.

        What has one length is counted whole; what may be longer or shorter as expected, within half of what is left.
        """
        rest, number = list[Stage](), self.stages[number].exits[-1]
        while number < len(self.stages):
            rest.append(self.stages[number])
            number = rest[-1].exits[-1]
        return self._kept(rest)

    def round(self, number: int) -> int:
        """Positions that a further round of the repetitions takes that a stage may go on with, as of `reserved`."""
        found, count = 0, len(self.stages)
        for first in self.stages[number].exits[:-1]:
            last = next(n for n in range(first, count) if self.stages[n].exits[0] == first)
            found = max(found, self._kept(self.stages[first : last + 1]))
        return found

    def _kept(self, rest: Sequence[Stage]) -> int:
        """Positions that these stages take, as of `reserved`."""
        steps = [step for stage in rest if isinstance(stage, TokenStage) for step in (*stage.lead, *stage.steps)]
        fixed, expected = self._room(items_of(steps))
        fixed += len(rest)
        for slot in (self.plan.slots[stage.slot] for stage in rest if isinstance(stage, ValueStage)):
            if slot.made_as.planned:
                fixed += slot.expected
            else:
                expected += slot.expected
        return fixed + min(expected, max(0, self.max_positions - fixed) // 2)

    def _room(self, items: Iterable[Item]) -> tuple[int, int]:
        """(tokens of what has one length, expected positions of what has not); of a pattern its longest way."""
        fixed = expected = 0
        for item in items:
            if isinstance(item, Branch):
                ways = (self._room(one for part in way for one in item.parts[part]) for way in item.ways)
                longest = max(ways, key=sum)
                fixed, expected = fixed + 1 + longest[0], expected + longest[1]
            elif isinstance(item, Loop):
                inner = self._room(item.items)
                fixed, expected = fixed + inner[0], expected + inner[1]
            elif isinstance(item, Gate):
                inner = self._room(item.rest)
                fixed, expected = fixed + 1 + inner[0], expected + inner[1]
            elif isinstance(item, Fixed):
                fixed += item.count
            elif isinstance(item, (Free, OneOf, Given)):
                expected += self.plan.slots[item.slot].expected
        return fixed, expected

    def label_tokens(self, number: int) -> np.ndarray:
        """Of a target that ends in one closed set: a label as the tokens of the last stage (n,)."""
        last = self.stages[-1]
        assert isinstance(last, TokenStage)
        (item,) = items_of(last.steps)
        assert isinstance(item, (OneOf, Fixed))
        labels = self.labels[item.slot]
        if isinstance(item, OneOf):
            return np.array([*self.symbols.encode(labels[number]), self.symbols.end], dtype=np.int64)
        return np.array([self.symbols.vocabulary.span(label_range(labels))[0] + number], dtype=np.int64)

    def span(self, slot: SlotPlan) -> tuple[int, int]:
        """The ids a label column's tokens come from: its one range of the vocabulary."""
        (name,) = (name for name, _ in slot.ranges)
        return self.symbols.vocabulary.span(label_range(self.labels[slot.index]) if _has_head(slot) else name)


def bind(
    plan: Plan,
    symbols: Symbols,
    labels: Labels | None = None,
    modalities: Registry | None = None,
    max_positions: int = 2048,
) -> Program:
    """Bind a plan: prompts tokenised, closed sets made into tries, preprocessors instantiated.

    labels: the closed set of each column that has one. Errors: PlanError when a closed set is missing or empty, or has
    labels that are one to the tokenizer.
    """
    registry = modalities or default_registry()
    known = {slot.index: _labels(slot, labels or {}) for slot in plan.slots if slot.closed_set}
    heads = {slot.index: label_range(known[slot.index]) for slot in plan.slots if _has_head(slot)}
    preprocessors = tuple(_preprocessor(slot, symbols, registry, heads.get(slot.index)) for slot in plan.slots)
    closed = {
        item.slot: _told_apart(plan.slots[item.slot], known[item.slot], symbols)
        for item in _flat(plan.automaton)
        if isinstance(item, OneOf)
    }

    grammars = _grammars(plan, preprocessors)

    def bound(part: Tokens | ValueStage) -> Stage:
        if isinstance(part, ValueStage):
            return part
        steps = tuple(_with_own_range(step, heads) for step in part.steps)
        lead = _lead(steps)
        constraint = bind_constraint(
            items_of(steps[lead:]),
            encode=symbols.encode,
            ranges=symbols.vocabulary.spans,
            end=symbols.end,
            closed=closed,
            heads=heads,
            expected={slot.index: slot.expected for slot in plan.slots},
            grammars=grammars,
        )
        return TokenStage(steps[:lead], steps[lead:], part.mark, constraint, part.exits, part.inside)

    stages = tuple(map(bound, staged(plan)))
    for slot in plan.slots:
        if slot.made_as.planned and slot.expected >= max_positions:
            raise PlanError(
                f"{slot.name} takes {slot.expected} positions, the model has {max_positions}; make it shorter, or give "
                "the model "
                "a larger max_positions"
            )
    prompts = {text: np.array(symbols.encode(text), dtype=np.int64) for text in plan.prompts}
    return Program(plan, symbols, preprocessors, stages, known, max_positions, prompts)


def _grammars(plan: Plan, preprocessors: Sequence[Preprocessor]) -> dict[int, Grammar]:
    """Slot -> what its text must be. Errors: PlanError that names the slot."""
    found = {}
    for slot in plan.on("target"):
        try:
            made = getattr(preprocessors[slot.index], "grammar", None)
        except ConfigError as error:
            raise PlanError(f"{slot.name}: {error}") from error
        if made is not None:
            found[slot.index] = made
    return found


def _plain(slot: SlotPlan) -> bool:
    """Whether a given value is tokens one after the other, which a prefix can hold."""
    return slot.key == "tokens" and slot.positions == "1-D"


def _preprocessor(slot: SlotPlan, symbols: Symbols, registry: Registry, head: str | None) -> Preprocessor:
    part = registry.spec(slot.modality).preprocess[slot.preprocess.name]
    options = slot.values | ({"labels": head} if head else {})
    if part.fits:
        options["fitted"] = symbols.fitted[part.key(slot.modality, slot.preprocess.name, slot.values)]
    made: Preprocessor = plugin.called(slot.name, part.resolve(), options, symbols)
    return made


@dataclass(frozen=True)
class Tokens:
    """A stage of tokens that no vocabulary was given yet."""

    mark: Mark | None = None
    """Which mark it begins with, if any."""
    steps: tuple[AnyStep, ...] = ()
    """The plan's steps in it, in order."""
    exits: tuple[int, ...] = ()
    """As of `TokenStage`."""
    inside: bool = False
    """As of `TokenStage`."""


def staged(plan: Plan) -> tuple[Tokens | ValueStage, ...]:
    """The target cut where a value that is no tokens stands, and before a given value that follows a generated one.

    A value that is no tokens is followed by an end mark if anything comes after it, so tokens never begin with nothing.
    A repetition of such values is not gone through by its automaton: a stage ends where a round begins, or goes on
    with what comes after the repetition; then come the stages of a round, the last of which ends so again.
    """
    if not plan.target:
        return ()
    stages: list[Tokens | ValueStage] = []
    steps, mark = plan.target, cast("Mark | None", "begin")
    while steps or not stages:
        taken, steps = _taken(plan, steps)
        _add_tokens(plan, stages, mark, taken)
        mark = None
        if steps and (value := _value(plan, steps[0], len(stages))) is not None:
            stages.append(value)
            steps, mark = steps[1:], "end"
    return tuple(stages)


def _taken(plan: Plan, steps: Sequence[Step], begun: bool = False) -> tuple[tuple[AnyStep, ...], tuple[Step, ...]]:
    """(the first steps, as far as they are one stage of tokens, those after it). begun: something was generated in it
    already.
    """
    taken: list[AnyStep] = []
    for place, step in enumerate(steps):
        given = isinstance(step.item, Given) and (begun or _lead(taken) < len(taken))
        if given or _value(plan, step, 0) is not None:
            return tuple(taken), tuple(steps[place:])
        if isinstance(step, Repeat) and step.staged:
            rest, after = _taken(plan, steps[place + 1 :], begun=True)
            first, _ = _taken(plan, step.steps)
            head = RoundHead(step, cast("tuple[Prompt | Fill, ...]", first), rest)
            return (*taken, head), after
        taken.append(step)
    return tuple(taken), ()


def _value(plan: Plan, step: Step, number: int) -> ValueStage | None:
    """The stage of a step that is one by itself; None of another. number: of this stage."""
    item = step.item
    if isinstance(item, Continuous) or (isinstance(item, Given) and not _plain(plan.slots[item.slot])):
        return ValueStage(item.slot, isinstance(item, Continuous), number + 1)
    return None


def _add_tokens(plan: Plan, stages: list[Tokens | ValueStage], mark: Mark | None, steps: tuple[AnyStep, ...]) -> None:
    """A stage of tokens, and those of the rounds that it may go on with."""
    number, last, heads = len(stages), steps[-1] if steps else None, list[RoundHead]()
    while isinstance(last, RoundHead):
        heads.append(last)
        last = last.rest[-1] if last.rest else None
    stages.append(Tokens(mark, steps))
    begins, ends = list[int](), list[int]()
    for head in heads:
        begins.append(len(stages))
        _add_round(plan, stages, head)
        ends.append(len(stages) - 1)
    exits = (*begins, len(stages))
    for place, stage in enumerate((number, *ends)):
        stages[stage] = replace(cast("Tokens", stages[stage]), exits=exits[max(place - 1, 0) :])


def _add_round(plan: Plan, stages: list[Tokens | ValueStage], head: RoundHead) -> None:
    """The stages of a round, from its first value that is no tokens on; the last ends where the next may begin."""
    steps: Sequence[Step] = head.repeat.steps[len(head.steps) :]
    while steps:
        value = _value(plan, steps[0], len(stages))
        assert value is not None, "what stands before a value is taken"
        stages.append(replace(value, inside=True))
        taken, steps = _taken(plan, steps[1:])
        exits = (len(stages) + 1,)
        stages.append(Tokens("end", taken if steps else (*taken, head), exits, inside=True))


def ranges_needed(plan: Plan, labels: Labels) -> dict[str, int]:
    """Vocabulary ranges, besides text, that a model needs for this plan, with their sizes."""
    found = {name: size for slot in plan.slots for name, size in slot.ranges if size is not None}
    found |= {step.range: len(step.ways) for step in plan.target if isinstance(step, Choose)}
    if any(isinstance(step, Repeat) and step.staged and step.unled for step in plan.target):
        found[ROUND] = 1
    for slot in plan.slots:
        if _has_head(slot):
            own = _labels(slot, labels)
            found[label_range(own)] = len(own)
    return found


def label_range(labels: Sequence[str]) -> str:
    """The name of the range of a head of its own: the same set of labels shares one."""
    return "labels." + sha256(json.dumps(list(labels)).encode()).hexdigest()[:8]


def _with_own_range(step: OneStep, heads: Mapping[int, str]) -> OneStep:
    """The step with the range of its own head, where its slot has one."""
    found: Any = step
    if isinstance(step, Repeat):
        found = replace(step, steps=tuple(_with_own_range(inner, heads) for inner in step.steps))
    elif isinstance(step, RoundHead):
        inner = tuple(_with_own_range(one, heads) for one in step.steps)
        found = replace(step, steps=inner, rest=tuple(_with_own_range(one, heads) for one in step.rest))
    elif isinstance(step, Choose):
        found = replace(step, parts=tuple(tuple(_with_own_range(one, heads) for one in part) for part in step.parts))
    elif isinstance(step, Fill) and isinstance(step.item, Fixed) and step.slot in heads:
        found = replace(step, item=replace(step.item, range=heads[step.slot]))
    return cast("OneStep", found)


def _has_head(slot: SlotPlan) -> bool:
    return any(name == "labels" for name, _ in slot.ranges)


def _labels(slot: SlotPlan, labels: Labels) -> ClosedSet:
    found = ClosedSet(dict.fromkeys(map(str, labels.get(slot.column, ()))))
    if slot.values.get("uncased"):
        found = ClosedSet(dict.fromkeys(label.lower() for label in found))
    if not found:
        raise PlanError(
            f"{slot.name} takes one of a closed set that is not known; give closed_set={{{slot.column!r}: [...]}}, or "
            "train first"
        )
    return found


def _told_apart(slot: SlotPlan, labels: ClosedSet, symbols: Symbols) -> list[list[int]]:
    """The ids of each label. Errors: PlanError for a label of which nothing is left, and for two with the same ids."""
    found = symbols.encode_batch(labels)
    spelled = dict(zip(map(tuple, reversed(found)), reversed(labels), strict=True))  # of two that are one the first
    labels.spelled = spelled
    if len(spelled) == len(labels) and () not in spelled:
        return found
    for label, ids in zip(labels, found, strict=True):
        if not ids:
            raise PlanError(f"{slot.name}: the tokenizer leaves nothing of the label {label!r}; rename it")
        if (other := spelled[tuple(ids)]) != label:
            raise PlanError(
                f"{slot.name}: the labels {other!r} and {label!r} are one to the tokenizer: both read "
                f"{symbols.decode(ids)!r}; rename one, or use CATEGORY with adaptor=head, or another tokenizer"
            )
    return found


def _lead(steps: Sequence[AnyStep]) -> int:
    """How many steps come before anything is generated."""
    return next((i for i, step in enumerate(steps) if not isinstance(step.item, (Forced, Given))), len(steps))


def _flat(items: Sequence[Item]) -> list[Item]:
    return [inner for item in items for inner in (_flat(getattr(item, "items", ())) or [item])]
