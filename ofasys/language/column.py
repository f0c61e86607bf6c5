"""Columns: under which name each slot of an instruction finds its value in a row of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ofasys.errors import DataError

from .option import Side
from .tree import Alternatives, Repetition, Sentence, Slot, slots_of


@dataclass(frozen=True, slots=True)
class Place:
    """A slot where it stands. group: the index, in `Instruction.groups`, of the repetition it stands in, if any.

    In a group the column holds a list, one value per round. needed_at_inference: the value is given, not generated.
    """

    slot: Slot
    side: Side
    column: str
    group: int | None = None
    needed_at_inference: bool = True
    optional: bool = False
    """It stands in a pattern: a row may lack it."""


@dataclass(frozen=True, slots=True)
class Group:
    """A repetition and its columns, each a list of the same length.

    column: one column for all of them, holding a list of tuples; None unless there are two slots or more, all unnamed.
    """

    repetition: Repetition
    side: Side
    columns: tuple[str, ...]
    column: str | None = None

    def spread(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """`row` with the list of tuples, if it is there, taken apart to one list per slot; DataError if it does not
        fit.
        """
        rest = dict(row)
        if self.column is not None and self.column in rest:
            rounds = _listed(rest.pop(self.column), str(self.repetition), self.column)
            for column in self.columns:
                if column in rest:
                    message = f"two values were given: one in {column!r} and one in {self.column!r}"
                    raise DataError(message, slot=str(self.repetition), column=column)
            for index, values in enumerate(rounds):
                if isinstance(values, str | bytes | Mapping) or _length(values) != len(self.columns):
                    raise DataError(
                        f"round {index} of the list does not hold {len(self.columns)} values",
                        expected=f"a list of tuples ({', '.join(self.columns)})",
                        slot=str(self.repetition),
                        column=self.column,
                    )
            rest |= {column: [values[at] for values in rounds] for at, column in enumerate(self.columns)}
        self._check_lengths(rest)
        return rest

    def _check_lengths(self, row: Mapping[str, Any]) -> None:
        first: tuple[str, int] | None = None
        for slot, column in zip(slots_of((self.repetition,)), self.columns, strict=True):
            if column in row:
                count = len(_listed(row[column], str(slot), column))
                first = first or (column, count)
                if count != first[1]:
                    raise DataError(
                        f"{count} values, and {first[1]} in {first[0]!r}",
                        expected="lists of one length, a value per round of the repetition",
                        slot=str(slot),
                        column=column,
                    )


@dataclass(frozen=True, slots=True)
class Parts:
    """A pattern from outside and the columns of each of its parts."""

    alternatives: Alternatives
    side: Side
    columns: tuple[tuple[str, ...], ...]

    def way(self, row: Mapping[str, Any]) -> int:
        """In which of its ways a row stands, by the columns it has; None is no value. DataError where it is none."""
        there = {
            at for at, columns in enumerate(self.columns) if any(row.get(column) is not None for column in columns)
        }
        for number, way in enumerate(self.alternatives.ways):
            if there == set(way):
                return number
        has = ", ".join(column for at in sorted(there) for column in self.columns[at] if row.get(column) is not None)
        raise DataError(
            f"the row has {has or 'none of its columns'}",
            expected=f"the columns of one way of this {self.alternatives.pattern}: {self._ways()}",
            slot=str(self.alternatives),
            column=self.columns[0][0],
        )

    def _ways(self, most: int = 8) -> str:
        ways = self.alternatives.ways
        named = [" and ".join(c for part in way for c in self.columns[part]) or "none" for way in ways[:most]]
        return " | ".join(named) + " | ..." * (len(ways) > most)


def places_of(source: Sentence, target: Sentence) -> tuple[tuple[Place, ...], tuple[Group, ...], tuple[Parts, ...]]:
    """The places of an instruction, its groups and its patterns from outside, in order.

    A named slot has its name as column. An unnamed one has its tag in lower case, with _2, _3 ... where that is taken.
    """
    names = _Names({slot.name for slot in source.slots + target.slots if slot.name is not None})
    places: list[Place] = []
    groups: list[Group] = []
    patterns: list[Parts] = []
    sides: tuple[tuple[Side, Sentence], ...] = (("source", source), ("target", target))
    for side, segment in ((side, segment) for side, sentence in sides for segment in sentence.segments):
        here = []
        group = len(groups) if isinstance(segment, Repetition) else None
        for slot in slots_of((segment,)):
            column = slot.name if slot.name is not None else names.fresh(slot.modality.lower())
            optional = isinstance(segment, Alternatives)
            needed = not optional and (side == "source" or slot.get("no_loss") is True)
            here.append(Place(slot, side, column, group, needed, optional))
        places += here
        if isinstance(segment, Repetition):
            groups.append(Group(segment, side, tuple(place.column for place in here)))
        elif isinstance(segment, Alternatives):
            columns = iter([place.column for place in here])
            own = tuple(tuple(next(columns) for _ in slots_of(part)) for part in segment.parts)
            patterns.append(Parts(segment, side, own))
    return tuple(places), tuple(_joined(group, names) for group in groups), tuple(patterns)


def _joined(group: Group, names: _Names) -> Group:
    """The group with a column for all of its slots, if they are unnamed and several."""
    if len(group.columns) < 2 or any(slot.name is not None for slot in slots_of((group.repetition,))):
        return group
    return replace(group, column=names.fresh("_".join(group.columns)))


class _Names:
    """Hands out names that are not taken: base, base_2, base_3 ..."""

    def __init__(self, taken: set[str]) -> None:
        self.taken, self.count = taken, dict[str, int]()

    def fresh(self, base: str) -> str:
        while True:
            count = self.count[base] = self.count.get(base, 0) + 1
            name = base if count == 1 else f"{base}_{count}"
            if name not in self.taken:
                self.taken.add(name)
                return name


def _length(value: Any) -> int | None:
    """The length of a list, tuple, array or tensor; None for what has none."""
    try:
        return len(value)
    except TypeError:
        return None


def _listed(value: Any, slot: str, column: str) -> Sequence[Any]:
    if isinstance(value, str | bytes | Mapping) or _length(value) is None:
        expected = "a list, a value per round of the repetition"
        raise DataError(f"{type(value).__name__} is not a list", expected=expected, slot=slot, column=column)
    listed: Sequence[Any] = value
    return listed
