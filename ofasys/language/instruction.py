"""Instruction: one line of text, read; and Filled: an instruction with its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any, NoReturn

from ofasys.errors import DataError, perhaps

from .column import Group, Parts, Place, places_of
from .lexicon import Lexicon, default_lexicon
from .parse import parse
from .tree import Sentence, Slot


class Instruction:
    """A source and a target sentence around `->`. Immutable; equal to another that says the same.

    text: what a person wrote. lexicon: the words known, by default those of the modalities at hand.
    InstructionError says, with its place, what is not an instruction.
    """

    text: str
    """The text as given; the spans of the tree are places in it."""
    source: Sentence
    target: Sentence
    _marks: str

    def __init__(self, text: str, lexicon: Lexicon | None = None) -> None:
        if not isinstance(text, str):
            raise TypeError(f"an instruction is made from a str, not {type(text).__name__}")
        words = default_lexicon() if lexicon is None else lexicon
        source, target = parse(text, words)
        vars(self).update(text=text, source=source, target=target, _marks=words.grammar.marks)

    @classmethod
    def from_tree(cls, source: Sentence, target: Sentence, lexicon: Lexicon | None = None) -> Instruction:
        """The instruction these sentences spell; checked as text is, and with the errors text has."""
        words = default_lexicon() if lexicon is None else lexicon
        return cls(_canonical(source, target, words.grammar.marks), words)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, source then target, those inside repetitions and contrasts too."""
        return self.source.slots + self.target.slots

    @cached_property
    def _layout(self) -> tuple[tuple[Place, ...], tuple[Group, ...], tuple[Parts, ...]]:
        return places_of(self.source, self.target)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where each of `slots` stands, and the column that holds its value."""
        return self._layout[0]

    @property
    def groups(self) -> tuple[Group, ...]:
        """The repetitions, in order."""
        return self._layout[1]

    @property
    def parts(self) -> tuple[Parts, ...]:
        """The patterns from outside, in order, with their columns."""
        return self._layout[2]

    @property
    def source_parts(self) -> tuple[Parts, ...]:
        """The patterns of the source: a row is asked for the columns of one way of each."""
        return tuple(parts for parts in self.parts if parts.side == "source")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The distinct columns, in order."""
        return tuple(dict.fromkeys(place.column for place in self.places))

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The columns whose values are given at inference: those of the source that a row may not lack, and of
        `no_loss` target slots.
        """
        return tuple(dict.fromkeys(place.column for place in self.places if place.needed_at_inference))

    @property
    def asked(self) -> tuple[str, ...]:
        """The columns that a value alone may be of: `needed`, or where none is, those of the source that a row may
        lack.
        """
        return self.needed or tuple(column for parts in self.source_parts for part in parts.columns for column in part)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an Instruction does not change: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an Instruction does not change: cannot delete {name!r}")

    def __str__(self) -> str:
        return _canonical(self.source, self.target, self._marks)

    def __repr__(self) -> str:
        return f"Instruction({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Instruction):
            return NotImplemented
        return (self.source, self.target) == (other.source, other.target)

    def __hash__(self) -> int:
        return hash((self.source, self.target))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuilt, (self.text, self.source, self.target, self._marks))

    def format(self, /, *values: Any, **named: Any) -> Filled:
        """The instruction with data, for inference or as an example to learn from.

        values: by position. As many as `needed` has fill those; more fill all columns in order. A column that occurs
        twice takes one value, and so does a repetition of unnamed slots: a list of tuples. named: by column.
        DataError where a value is missing, surplus, given twice, or for a column that is not there.
        """
        units = _units(self)
        known = dict.fromkeys([*(unit.column for unit in units), *self.columns])
        for name in named:
            if name not in known:
                raise DataError(
                    f"no slot is called {name!r}", expected=f"one of {', '.join(known)}{perhaps(name, known)}"
                )
        needed = [unit for unit in units if unit.needed]
        chosen = needed if len(values) <= len(needed) else units
        if len(values) > len(units):
            slots = ", ".join(unit.shown for unit in units)
            raise DataError(
                f"{len(values)} values were given", expected=f"at most {len(units)}, one for each of {slots}"
            )
        data = dict(named)
        for unit, value in zip(chosen, values, strict=False):
            for name in (unit.column, *unit.columns):
                if name in named:
                    message = "two values were given, one by position and one by name"
                    raise DataError(message, slot=unit.shown, column=name)
            data[unit.column] = value
        data = self.spread(data)
        for place in self.places:
            if place.column in self.needed and place.column not in data:
                expected = f"a value for each of {', '.join(self.needed)}"
                raise DataError("no value was given", expected=expected, slot=str(place.slot), column=place.column)
        for parts in self.source_parts:
            parts.way(data)
        return Filled(self, {column: data[column] for column in self.columns if column in data})

    def spread(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of `row` with each repetition's list of tuples taken apart to one list per slot.

        Columns the instruction does not know stay as they are. DataError where a repetition's column is not a list,
        its lists differ in length, or a value is there twice.
        """
        return reduce(lambda data, group: group.spread(data), self.groups, dict(row))


@dataclass(frozen=True, eq=False, repr=False)
class Filled:
    """An instruction with data: `data` has a value for some of its columns, at least for those needed at inference."""

    instruction: Instruction
    data: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Filled({str(self.instruction)!r}, columns: {', '.join(self.data) or 'none'})"


@dataclass(frozen=True, slots=True)
class _Unit:
    """What one positional value fills: a column, or the common column of a repetition."""

    column: str
    columns: tuple[str, ...]
    shown: str
    needed: bool


def _units(instruction: Instruction) -> list[_Unit]:
    units: dict[str, _Unit] = {}
    for place in instruction.places:
        group = None if place.group is None else instruction.groups[place.group]
        if group is None or group.column is None:
            unit = _Unit(place.column, (place.column,), str(place.slot), place.column in instruction.needed)
        else:
            needed = not set(group.columns).isdisjoint(instruction.needed)
            unit = _Unit(group.column, group.columns, str(group.repetition), needed)
        units.setdefault(unit.column, unit)
    return list(units.values())


def _canonical(source: Sentence, target: Sentence, marks: str) -> str:
    return f"{source.spelled(marks)} -> {target.spelled(marks)}".strip()


def _rebuilt(text: str, source: Sentence, target: Sentence, marks: str) -> Instruction:
    instruction = Instruction.__new__(Instruction)
    vars(instruction).update(text=text, source=source, target=target, _marks=marks)
    return instruction
