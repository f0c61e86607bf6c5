"""A program: a plan bound to the symbols of a model and to label sets. What data workers and generators run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

import numpy as np

from ofasys.errors import PlanError
from ofasys.generator.constraint import Constraint
from ofasys.generator.constraint import bind as bind_constraint
from ofasys.modality import Preprocessor, Registry, default_registry
from ofasys.modality.symbols import Symbols
from ofasys.planner.plan import Plan, SlotPlan
from ofasys.types import Fixed, Forced, Given, Item, Loop, OneOf

Labels = Mapping[str, Sequence[str]]  # column -> its closed set


@dataclass(frozen=True, eq=False)
class Program:
    """A plan ready to run.

    preprocessors: one per slot. prefix: the items of the target that come before anything is generated. constraint:
    the automaton of all that follows. labels: slot -> closed set. max_positions: the longest stream the model takes.
    """

    plan: Plan
    symbols: Symbols
    preprocessors: tuple[Preprocessor, ...]
    prefix: tuple[Item, ...]
    constraint: Constraint
    labels: Mapping[int, tuple[str, ...]]
    max_positions: int
    prompts: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def generator(self) -> str:
        """The generator of the target's slots: they share one."""
        return next((slot.generator.name for slot in self.plan.slots if slot.generator), "search")

    @cached_property
    def label_answers(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Of a target that is one closed set: each label as the tokens of the whole answer, and the states before them."""
        (item,) = self.plan.automaton[len(self.prefix) :]
        assert isinstance(item, (OneOf, Fixed))
        labels = self.labels[item.slot]
        if isinstance(item, OneOf):
            answers = [np.array([*ids, self.symbols.end]) for ids in self.symbols.encode_batch(labels)]
        else:
            start, _ = self.symbols.vocabulary.span(label_range(labels))
            answers = [np.array([start + i]) for i in range(len(labels))]
        return answers, [self.constraint.walk(answer) for answer in answers]

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

    labels: the closed set of each column that has one. Errors: PlanError when a closed set is missing or empty.
    """
    registry = modalities or default_registry()
    known = {slot.index: _labels(slot, labels or {}) for slot in plan.slots if slot.closed_set}
    heads = {slot.index: label_range(known[slot.index]) for slot in plan.slots if _has_head(slot)}
    preprocessors = tuple(
        registry.face(slot.modality)
        .preprocess[slot.preprocess.name]
        .resolve()(slot.values | ({"labels": heads[slot.index]} if slot.index in heads else {}), symbols)
        for slot in plan.slots
    )
    split = _prefix_length(plan.automaton)
    closed = {
        item.slot: symbols.encode_batch(known[item.slot]) for item in _flat(plan.automaton) if isinstance(item, OneOf)
    }
    constraint = bind_constraint(
        tuple(_with_own_range(item, heads) for item in plan.automaton[split:]),
        encode=symbols.encode,
        ranges=symbols.vocabulary.spans,
        end=symbols.end,
        closed=closed,
    )
    return Program(plan, symbols, preprocessors, plan.automaton[:split], constraint, known, max_positions)


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


def _labels(slot: SlotPlan, labels: Labels) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(map(str, labels.get(slot.column, ()))))
    if slot.values.get("uncased"):
        found = tuple(dict.fromkeys(label.lower() for label in found))
    if not found:
        raise PlanError(
            f"{slot.name} takes one of a closed set that is not known; give closed_set={{{slot.column!r}: [...]}}, or train first"
        )
    return found


def _prefix_length(items: Sequence[Item]) -> int:
    for i, item in enumerate(items):
        if not isinstance(item, (Forced, Given)):
            return i
    return len(items)


def _flat(items: Sequence[Item]) -> list[Item]:
    return [inner for item in items for inner in (_flat(getattr(item, "items", ())) or [item])]
