"""A program: a plan bound to the symbols of a model and to label sets. What data workers and generators run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from ofasys.errors import PlanError
from ofasys.generator.constraint import Constraint
from ofasys.generator.constraint import bind as bind_constraint
from ofasys.modality import Preprocessor, Registry, default_registry
from ofasys.modality.symbols import Symbols
from ofasys.planner.plan import Plan, SlotPlan
from ofasys.types import Forced, Given, Item, OneOf

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

    def prompt(self, text: str) -> np.ndarray:
        """Ids of a prompt's text."""
        return np.array(self.symbols.encode(text), dtype=np.int64)


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
    spans = symbols.vocabulary.spans
    if heads:
        spans["labels"] = symbols.vocabulary.span(next(iter(heads.values())))
    closed = {
        item.slot: symbols.encode_batch(known[item.slot])
        for item in _flat(plan.automaton)
        if isinstance(item, OneOf)
    }
    constraint = bind_constraint(
        plan.automaton[split:], encode=symbols.encode, ranges=spans, end=symbols.end, closed=closed
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
    return "labels." + sha256("\n".join(labels).encode()).hexdigest()[:8]


def _has_head(slot: SlotPlan) -> bool:
    return any(name == "labels" for name, _ in slot.ranges)


def _labels(slot: SlotPlan, labels: Labels) -> tuple[str, ...]:
    found = tuple(labels.get(slot.column, ()))
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
