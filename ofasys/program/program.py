"""A program: a plan bound to the symbols of a model and to label sets. What data workers and generators run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Literal

import numpy as np

from ofasys.errors import PlanError
from ofasys.generator import Generator
from ofasys.generator.constraint import Constraint
from ofasys.generator.constraint import bind as bind_constraint
from ofasys.generator.generator import SEARCH
from ofasys.modality import Preprocessor, Registry, default_registry, plugin
from ofasys.modality.shared.label import ClosedSet
from ofasys.modality.symbols import Symbols
from ofasys.planner.plan import Plan
from ofasys.planner.slot import SlotPlan, Step
from ofasys.types import Continuous, Fixed, Forced, Free, Given, Item, Loop, OneOf

Labels = Mapping[str, Sequence[str]]  # column -> its closed set


@dataclass(frozen=True, eq=False)
class Stage:
    """A part of the target that is made in one go: tokens, or one value that is none."""

    steps: tuple[Step, ...] = ()
    """Of tokens: the plan's, in order."""
    items: tuple[Item, ...] = ()
    """And what they are in the automaton."""
    lead: int = 0
    """How many of them come before anything is generated."""
    mark: Literal["begin", "end"] | None = None
    """Which mark it begins with, if any."""
    constraint: Constraint | None = None
    """The automaton of the rest."""
    slot: int | None = None
    """Of a value that is no tokens: its slot."""
    drawn: bool = False
    """And whether it is generated, or given."""


@dataclass(frozen=True, eq=False)
class Program:
    """A plan ready to run."""

    plan: Plan
    symbols: Symbols
    preprocessors: tuple[Preprocessor, ...]
    """One a slot."""
    stages: tuple[Stage, ...]
    """The target, in the order it is made."""
    labels: Mapping[int, ClosedSet]
    """Slot -> closed set."""
    max_positions: int
    """The longest stream the model takes."""
    prompts: dict[str, np.ndarray] = field(default_factory=dict)
    """Text -> ids, as they are asked for."""

    @property
    def only(self) -> Stage:
        """The only stage of a target that is tokens throughout."""
        (stage,) = self.stages
        return stage

    @property
    def prefix(self) -> tuple[Item, ...]:
        """Of the only stage: the items before anything is generated."""
        return self.only.items[: self.only.lead]

    @property
    def constraint(self) -> Constraint:
        """Of the only stage."""
        assert self.only.constraint is not None
        return self.only.constraint

    @property
    def generator(self) -> Generator:
        """The generator of the target's tokens: its slots share one."""
        made = (s.made_by for s in self.plan.on("target") if s.made_by and s.made_as.tokens)
        return next(made, SEARCH)

    @cached_property
    def dropped(self) -> float | None:
        """The share of samples trained without what the source asks for; None where no slot wants guidance.

        A source that is learned from itself is never left out.
        """
        if any(slot.kind is not None for slot in self.plan.on("source")):
            return None
        shares = [slot.values["drop"] for slot in self.plan.on("target") if slot.made_as.dropped]
        return max(shares) if shares else None

    @cached_property
    def rewarded(self) -> SlotPlan | None:
        """The slot that learns from a reward."""
        return next((s for s in self.plan.slots if s.learned_by and s.learned_by.rewarded), None)

    def reserved(self, number: int) -> int:
        """Positions to keep free while a stage is made, for those after it.

        What has one length is counted whole; what may be longer or shorter as expected, within half of what is left.
        """
        rest = self.stages[number + 1 :]
        items = [item for stage in rest for item in _flat(stage.items)]
        fixed = sum(item.count for item in items if isinstance(item, Fixed)) + len(rest)
        open_ends = [item.slot for item in items if isinstance(item, (Free, OneOf, Given))]
        for stage in rest:
            if stage.slot is not None and self.plan.slots[stage.slot].made_as.planned:
                fixed += self.plan.slots[stage.slot].expected
            elif stage.slot is not None:
                open_ends.append(stage.slot)
        expected = sum(self.plan.slots[slot].expected for slot in open_ends)
        return fixed + min(expected, max(0, self.max_positions - fixed) // 2)

    def label_tokens(self, number: int) -> np.ndarray:
        """Of a target that ends in one closed set: a label as the tokens of the last stage (n,)."""
        (item,) = self.stages[-1].items[self.stages[-1].lead :]
        assert isinstance(item, (OneOf, Fixed))
        labels = self.labels[item.slot]
        if isinstance(item, OneOf):
            return np.array([*self.symbols.encode(labels[number]), self.symbols.end], dtype=np.int64)
        return np.array([self.symbols.vocabulary.span(label_range(labels))[0] + number], dtype=np.int64)

    def span(self, slot: SlotPlan) -> tuple[int, int]:
        """The ids a label column's tokens come from: its one range of the vocabulary."""
        (name,) = (name for name, _ in slot.ranges)
        return self.symbols.vocabulary.span(label_range(self.labels[slot.index]) if _has_head(slot) else name)

    def prompt(self, text: str) -> np.ndarray:
        """Ids of a prompt's text. Prompts are few and come with every row, so they are kept."""
        if text not in self.prompts:
            self.prompts[text] = np.array(self.symbols.encode(text), dtype=np.int64)
        return self.prompts[text]


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

    def bound(stage: Stage) -> Stage:
        items = tuple(_with_own_range(item, heads) for item in stage.items)
        lead = _lead(items)
        constraint = bind_constraint(
            items[lead:],
            encode=symbols.encode,
            ranges=symbols.vocabulary.spans,
            end=symbols.end,
            closed=closed,
            heads=heads,
        )
        return replace(stage, items=items, lead=lead, constraint=constraint)

    stages = tuple(bound(stage) if stage.slot is None else stage for stage in staged(plan))
    for slot in plan.slots:
        if slot.made_as.planned and slot.expected >= max_positions:
            raise PlanError(
                f"{slot.name} takes {slot.expected} positions, the model has {max_positions}; make it shorter, or give "
                "the model "
                "a larger max_positions"
            )
    return Program(plan, symbols, preprocessors, stages, known, max_positions)


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


def staged(plan: Plan) -> tuple[Stage, ...]:
    """The target cut where a value that is no tokens stands, and before a given value that follows a generated one.

    A value that is no tokens is followed by an end mark if anything comes after it, so tokens never begin with nothing.
    """
    if not plan.target:
        return ()
    stages = [Stage(mark="begin")]
    for step, item in zip(plan.target, plan.automaton, strict=True):
        last = stages[-1]
        if last.slot is not None:
            last = Stage(mark="end")
            stages.append(last)
        if isinstance(item, Continuous) or (isinstance(item, Given) and not _plain(plan.slots[item.slot])):
            stages.append(Stage(slot=item.slot, drawn=isinstance(item, Continuous)))
        elif isinstance(item, Given) and _lead(last.items) < len(last.items):
            stages.append(Stage((step,), (item,)))
        else:
            stages[-1] = replace(last, steps=(*last.steps, step), items=(*last.items, item))
    return tuple(stages)


def ranges_needed(plan: Plan, labels: Labels) -> dict[str, int]:
    """Vocabulary ranges, besides text, that a model needs for this plan, with their sizes."""
    found = {name: size for slot in plan.slots for name, size in slot.ranges if size is not None}
    for slot in plan.slots:
        if _has_head(slot):
            own = _labels(slot, labels)
            found[label_range(own)] = len(own)
    return found


def label_range(labels: Sequence[str]) -> str:
    """The name of the range of a head of its own: the same set of labels shares one."""
    return "labels." + sha256(json.dumps(list(labels)).encode()).hexdigest()[:8]


def _with_own_range(item: Item, heads: Mapping[int, str]) -> Item:
    """The item with the range of its own head, where its slot has one."""
    if isinstance(item, Loop):
        return replace(item, items=tuple(_with_own_range(inner, heads) for inner in item.items))
    return replace(item, range=heads[item.slot]) if isinstance(item, Fixed) and item.slot in heads else item


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


def _lead(items: Sequence[Item]) -> int:
    for i, item in enumerate(items):
        if not isinstance(item, (Forced, Given)):
            return i
    return len(items)


def _flat(items: Sequence[Item]) -> list[Item]:
    return [inner for item in items for inner in (_flat(getattr(item, "items", ())) or [item])]
