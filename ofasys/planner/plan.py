"""A Plan: an instruction with every choice made. A frozen value: printable, hashable, the same in every process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ofasys.language import Group
from ofasys.types import Item


@dataclass(frozen=True)
class Choice:
    """Something chosen, and why: `default`, `attribute` (in the instruction) or `setting` (given to `plan`)."""

    name: str
    why: str


@dataclass(frozen=True)
class SlotPlan:
    """One slot with every choice made.

    index: its number in the plan. column: where a row holds its value. group: the repetition it stands in, or None.
    options: every attribute that reaches it, (name, value, why). ranges: (vocabulary range, ids in it or None if data
    decides). expected: stream positions of one value, an estimate. frame: index of the slot it refers to.
    """

    index: int
    modality: str
    side: str
    column: str
    group: int | None
    preprocess: Choice
    adaptor: Choice
    key: str
    positions: str
    criterion: Choice | None
    generator: Choice | None
    postprocess: Choice
    weight: float
    no_loss: bool
    closed_set: bool
    is_label: bool
    value: str
    ranges: tuple[tuple[str, int | None], ...]
    expected: int
    frame: int | None
    options: tuple[tuple[str, Any, str], ...]

    @property
    def values(self) -> dict[str, Any]:
        """The options as name -> value."""
        return {name: value for name, value, _ in self.options}

    @property
    def name(self) -> str:
        """As a person would point at it: `TEXT:cap`."""
        return f"{self.modality}:{self.column}"


@dataclass(frozen=True)
class Prompt:
    """Plain text in the stream."""

    text: str


@dataclass(frozen=True)
class Fill:
    """A slot's value in the stream."""

    slot: int


@dataclass(frozen=True)
class Repeat:
    """Steps taken once per element of their lists. group: their columns, and how a row's lists are spread over them."""

    steps: tuple[Prompt | Fill, ...]
    group: Group

    @property
    def slots(self) -> tuple[int, ...]:
        """Indices of the slots inside."""
        return tuple(step.slot for step in self.steps if isinstance(step, Fill))


Step = Prompt | Fill | Repeat


@dataclass(frozen=True)
class Plan:
    """An instruction with every choice made.

    source, target: the steps of each stream, in order. automaton: the target sentence, as training and generation
    read it.
    """

    instruction: str
    slots: tuple[SlotPlan, ...]
    source: tuple[Step, ...]
    target: tuple[Step, ...]
    automaton: tuple[Item, ...]

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits, equal in every process and Python version for an equal plan."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; kinds of steps and items are under `kind`."""
        return {
            "instruction": self.instruction,
            "slots": [_plain(asdict(slot)) for slot in self.slots],
            "source": [_tagged(step) for step in self.source],
            "target": [_tagged(step) for step in self.target],
            "automaton": [_tagged(item) for item in self.automaton],
        }

    def on(self, side: str) -> Iterator[SlotPlan]:
        """The slots of one side."""
        return (slot for slot in self.slots if slot.side == side)

    @property
    def scored(self) -> tuple[SlotPlan, ...]:
        """Target slots that are generated and scored: those marked `is_label`, or all without `no_loss`."""
        made = tuple(slot for slot in self.on("target") if not slot.no_loss)
        return tuple(slot for slot in made if slot.is_label) or made

    def __str__(self) -> str:
        from ofasys.planner.explain import explain

        return explain(self)


def _plain(value: Any) -> Any:
    """The same with lists for tuples, as JSON reads it back."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _tagged(part: Any) -> dict[str, Any]:
    values = {name: getattr(part, name) for name in part.__dataclass_fields__}
    for name, value in values.items():
        if isinstance(value, Group):
            values[name] = {"columns": list(value.columns), "column": value.column}
        elif isinstance(value, tuple) and value and hasattr(value[0], "__dataclass_fields__"):
            values[name] = [_tagged(inner) for inner in value]
    return {"kind": type(part).__name__.lower(), **values}
