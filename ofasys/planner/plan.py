"""A Plan: an instruction with every choice made. A frozen value: printable, hashable, the same in every process."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from ofasys.engine.spec import EngineFacts
from ofasys.generator import Generator
from ofasys.generator.generator import SEARCH
from ofasys.language import Group, Parts
from ofasys.planner.explain import explain
from ofasys.planner.slot import Choose, Prompt, Repeat, SlotPlan, Step, Views, items_of, leaves_of
from ofasys.types import Fixed, Free, Item


@dataclass(frozen=True)
class Plan:
    """An instruction with every choice made."""

    instruction: str
    """Its text."""
    slots: tuple[SlotPlan, ...]
    """Each at its own number: `slots[i].index` is i."""
    source: tuple[Step, ...]
    """The steps of its stream, in order."""
    target: tuple[Step, ...]
    """The steps of its stream, in order, each with what it is to the target's automaton."""
    engine: EngineFacts | None = field(default=None, compare=False, repr=False)
    """What it was asked to say of an engine, which is no part of its fingerprint. None: it was asked of none."""

    @cached_property
    def automaton(self) -> tuple[Item, ...]:
        """The target sentence as training and generation read it."""
        return items_of(self.target)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits, equal in every process and Python version for an equal plan."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; kinds of steps and items are under `kind`."""
        return {
            "instruction": self.instruction,
            "slots": [_plain(_chosen(slot)) for slot in self.slots],
            "source": [_tagged(step) for step in self.source],
            "target": [_tagged(step) for step in self.target],
        }

    def on(self, side: str) -> Iterator[SlotPlan]:
        """The slots of one side."""
        return (slot for slot in self.slots if slot.side == side)

    @property
    def generators(self) -> tuple[Generator, ...]:
        """The generators of its slots, each once, and what tells whether a repetition of other values than tokens goes
        on.
        """
        found = {slot.made_by.name: slot.made_by for slot in self.slots if slot.made_by}
        if any(isinstance(step, Repeat) and step.staged for step in self.target):
            found.setdefault(self.generator.name, self.generator)
        return tuple(found.values())

    @property
    def free(self) -> bool:
        """Whether a text of any length is generated, in a repetition or outside."""
        return any(isinstance(step.item, Free) for step in leaves_of(self.target))

    @property
    def loops(self) -> bool:
        """Whether something is generated again and again."""
        return any(isinstance(step, Repeat) for step in self.target)

    @property
    def answered(self) -> tuple[SlotPlan, ...]:
        """The slots an answer has values for: target slots that are generated, label columns of another column,
        views.
        """
        made = [slot for slot in self.on("target") if not slot.no_loss]
        columns = {slot.column for slot in self.on("target")}
        made += [slot for slot in self.on("label") if slot.column not in columns]
        made += [slot for slot in self.on("source") if slot.made_as.embedded]
        return tuple(made)

    @property
    def scored(self) -> tuple[SlotPlan, ...]:
        """The slots metrics look at: those marked `is_label`, or all that are answered."""
        return tuple(slot for slot in self.answered if slot.is_label) or self.answered

    @property
    def generator(self) -> Generator:
        """The generator of the target's tokens: its slots share one."""
        made = (s.made_by for s in self.on("target") if s.made_by and s.made_as.tokens)
        return next(made, SEARCH)

    @cached_property
    def dropped(self) -> float | None:
        """The share of samples trained without what the source asks for; None where no slot wants guidance.

        A source that is learned from itself is never left out.
        """
        if any(slot.kind is not None for slot in self.on("source")):
            return None
        shares = [slot.values["drop"] for slot in self.on("target") if slot.made_as.dropped]
        return max(shares) if shares else None

    @cached_property
    def rewarded(self) -> SlotPlan | None:
        """The slot that learns from a reward."""
        return next((s for s in self.slots if s.learned_by and s.learned_by.rewarded), None)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The plain texts of both streams, in order."""
        return tuple(step.text for step in leaves_of((*self.source, *self.target)) if isinstance(step, Prompt))

    @cached_property
    def repeats(self) -> tuple[Repeat, ...]:
        """The repetitions, source then target."""
        return tuple(step for step in (*self.source, *self.target) if isinstance(step, Repeat))

    @cached_property
    def choices(self) -> tuple[Choose, ...]:
        """The patterns from outside, source then target."""
        return tuple(step for step in (*self.source, *self.target) if isinstance(step, Choose))

    @cached_property
    def ways(self) -> Mapping[str, Choose]:
        """The patterns of the target by what is said of their answers: the pattern's name, and of several of one name
        `NAME/COLUMN`, the first of its columns.
        """
        chosen = [step for step in self.target if isinstance(step, Choose)]
        often = Counter(step.pattern for step in chosen)
        columns = [self.slots[step.slots[0]].column for step in chosen]
        names = (
            f"{s.pattern}/{column}" if often[s.pattern] > 1 else s.pattern
            for s, column in zip(chosen, columns, strict=True)
        )
        return dict(zip(names, chosen, strict=True))

    @property
    def views(self) -> Views | None:
        """The contrast, if it is one."""
        return next((step for step in self.source if isinstance(step, Views)), None)

    def spread(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with each repetition's list of tuples taken apart; then without columns that are None.

        Errors: DataError where its lists do not fit.
        """
        if self.repeats:
            row = {name: value for name, value in row.items() if value is not None}
        for step in self.repeats:
            row = step.group.spread(row)
        return row

    def __str__(self) -> str:
        return explain(self)


def _chosen(slot: SlotPlan) -> dict[str, Any]:
    """A slot without the records that its choices name."""
    found = asdict(replace(slot, learned_by=None, made_by=None))
    left_out = {"learned_by", "made_by"} | (set() if slot.brought else {"brought"})
    return {name: value for name, value in found.items() if name not in left_out}


def _plain(value: Any) -> Any:
    """The same with lists for tuples, as JSON reads it back."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _tagged(part: Any) -> Any:
    """The same as plain JSON values; of a step or an item a dict with its `kind`."""
    if isinstance(part, tuple):
        return [_tagged(inner) for inner in part]
    if isinstance(part, Group):
        return {"columns": list(part.columns), "column": part.column}
    if isinstance(part, Parts):
        node = part.alternatives
        return {"pattern": node.pattern, "columns": _plain(part.columns), "ways": _plain(node.ways)}
    if not hasattr(part, "__dataclass_fields__"):
        return part
    kind = type(part).__name__.lower()
    found = {name: _tagged(getattr(part, name)) for name in part.__dataclass_fields__}
    if isinstance(part, Fixed) and part.height is None:
        del found["height"]  # newer than plans that were written down
    return {"kind": kind} | found
