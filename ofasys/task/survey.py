"""Whole columns of the training rows: what labels, lengths and the tokenizer's text are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError, LoadingError
from ofasys.language import Group
from ofasys.modality.shared.label import label_text
from ofasys.modality.symbols import is_text
from ofasys.planner import Plan, SlotPlan
from ofasys.program.sample import elements
from ofasys.task.source import Source

MOST_ROWS = 1_000_000  # rows that labels are gathered from, where each row has to be read
MOST_LABELS = 100_000

Slot = tuple[Plan, SlotPlan]
Column = list[Any]


class Survey:
    """What slots find in all training rows, a bad value as None. Whatever is wrong with a row is said when it is drawn.

    references: column -> the column with the list of its right answers.
    """

    def __init__(self, task: str, source: Source, references: Mapping[str, str]) -> None:
        self.task, self.source, self.references = task, source, references
        self.in_one_pass = hasattr(source, "in_pieces")  # several columns cost no more than one

    def pieces(self, slots: Sequence[Slot], step: int = 1) -> Iterator[list[Column | None]]:
        """Of every `step`-th row the values of each slot, some thousand rows at once where the source gives them so.

        None where a column costs reading every row. In a repetition a value is a list; of a row without a value it is
        all its references.
        """
        if not self.in_one_pass:
            found = [self.column(slot) for slot in slots]
            yield [column if column is None or step == 1 else column[::step] for column in found]
            return
        names = list(dict.fromkeys(name for slot in slots for name in self._names(slot)))
        for piece in self._in_pieces(names, step):
            read = dict(zip(names, piece, strict=True))
            yield [self._chosen(slot, [read[name] for name in self._names(slot)]) for slot in slots]

    def _in_pieces(self, names: Sequence[str], step: int) -> Iterator[list[Column]]:
        try:
            yield from self.source.in_pieces(names, step)  # type: ignore[attr-defined]
        except LoadingError as error:
            raise error.at(task=self.task) from None

    def column(self, slot: Slot) -> Column | None:
        """A slot's values in all rows; None where that costs reading every row. Errors: DataError when no row has
        them.
        """
        names = self._names(slot)
        found: list[Column | None] = []
        for name in names:
            try:
                found.append(self.source.column(name))
            except LoadingError as error:
                raise error.at(task=self.task) from None
            except DataError as error:
                if name == names[-1] and all(column == [] for column in found):
                    raise error.at(task=self.task, slot=slot[1].name, column=name) from None
                found.append([])  # no row has it
            if found[-1] != [] and slot[1].column not in self.references:
                break
        if any(column is None for column in found):
            return None
        found += [[]] * (len(names) - len(found))
        return self._chosen(slot, [column or [None] * len(self.source) for column in found])

    def _names(self, slot: Slot) -> list[str]:
        """The columns that the values of a slot may stand in, the likeliest first."""
        column, group = slot[1].column, _group(*slot)
        if column in self.references:
            return [column, self.references[column]]
        return [column] if group is None or group.column is None else [column, group.column]

    def _chosen(self, slot: Slot, found: Sequence[Column]) -> Column:
        """One value a row, of those in the columns that `_names` gives."""
        if len(found) == 1:
            return found[0]
        own, others = found
        if slot[1].column not in self.references and (group := _group(*slot)) is not None:
            others = [_taken(value, group.columns.index(slot[1].column)) for value in others]
        return [other if value is None else value for value, other in zip(own, others, strict=True)]

    def values(self, slot: Slot, most: int, read: int) -> Iterator[Any]:
        """A slot's values in `most` rows, evenly spread (`read` where whole rows must be read); one by one.

        Errors: DataError when no row has the column.
        """
        empty = True
        for (piece,) in self.pieces([slot], -(-len(self.source) // most)):
            for value in self._read(slot, read) if piece is None else piece:
                empty = empty and value is None
                yield from self._each(slot[1], value)
        if empty and self.in_one_pass:
            self.column(slot)

    def numbered(self, slot: Slot, read: int) -> Iterator[tuple[int, Any]]:
        """Each value of a slot with the number of its row: of all rows, or of `read` where rows must be read whole."""
        start = 0
        for (piece,) in self.pieces([slot]):
            for i, value in self._rows(slot, read) if piece is None else enumerate(piece, start):
                yield from ((i, one) for one in self._each(slot[1], value))
            start += len(piece or ())

    def _each(self, slot: SlotPlan, value: Any) -> Iterable[Any]:
        several = slot.group is not None or slot.column in self.references
        inner = elements(value) if several else None
        return (value,) if inner is None else inner

    def _read(self, slot: Slot, most: int) -> Iterator[Any]:
        """A slot's values in `most` rows, evenly spread, each row read whole."""
        yield from (value for _, value in self._rows(slot, most))

    def _rows(self, slot: Slot, most: int) -> Iterator[tuple[int, Any]]:
        """The same with the number of each row."""
        column, group = slot[1].column, _group(*slot)
        for i in range(0, len(self.source), -(-len(self.source) // most)):
            try:
                row = self.source[i] if group is None else group.spread(self.source[i])
                value = row.get(column)
                yield i, row.get(self.references.get(column, "")) if value is None else value
            except LoadingError as error:
                raise error.at(task=self.task) from None
            except Exception:  # a bad row is dealt with when it is drawn
                continue

    def labels_and_lengths(
        self, closed: Sequence[Slot], texts: Sequence[Slot]
    ) -> tuple[dict[str, set[str]], np.ndarray | None]:
        """One pass: column -> its labels, for slots of a closed set; and how many characters each row has in its texts.

        The lengths (n,) are None where there are no texts or they are not at hand. Errors: DataError when no row has a
        column; of a text only where no labels are asked for. ConfigError for too many labels.
        """
        labels = {slot.column: set[str]() for _, slot in closed}
        parts: list[np.ndarray] | None = [] if texts else None
        without = set(range(len(texts)))  # texts that no row had yet
        for piece in self.pieces([*closed, *texts]):
            for slot, column in zip(closed, piece, strict=False):
                self._gather(labels[slot[1].column], slot, column)
            found = piece[len(closed) :]
            if parts is None or any(column is None for column in found):
                parts = None
                continue
            columns = [column or [] for column in found]
            measured = [self._measured(slot, column) for (_, slot), column in zip(texts, columns, strict=True)]
            parts.append(np.sum(measured, axis=0))
            without -= {i for i in without if any(value is not None for value in columns[i])}
        for slot in (*closed, *(texts[i] for i in without if not closed)):
            if not labels.get(slot[1].column):
                self.column(slot)
        return labels, None if parts is None or (closed and without) else np.concatenate(parts)

    def _measured(self, slot: SlotPlan, column: Column) -> np.ndarray:
        """Characters of each value; of the longest where there are several references."""
        if slot.column in self.references:
            column = [
                value if (ways := elements(value)) is None else max(ways, key=_long, default=None) for value in column
            ]
        return np.array([len(v) if type(v) is str else _long(v) for v in column], dtype=np.int64)

    def _gather(self, found: set[str], slot: Slot, column: Column | None) -> None:
        """Add the labels of a column. Errors: ConfigError when there are too many."""
        values: Iterable[Any] = self._read(slot, MOST_ROWS) if column is None else column
        if column is not None and set(map(type, column)) <= {str, type(None)}:
            values = set(column) - found
        for value in values:
            found.update(label for one in self._each(slot[1], value) if (label := _label(one)) is not None)
            if len(found) > MOST_LABELS:
                raise ConfigError(
                    f"task {self.task!r}: {slot[1].name} has more than {MOST_LABELS:,} labels; is it free text?"
                )


def _label(value: Any) -> str | None:
    """The text of a label; None for what is none, which is said when its row is drawn."""
    if value is None:
        return None
    try:
        text = value if type(value) is str else label_text(value)
    except (DataError, RecursionError):
        return None
    return text if text.strip() and is_text(text) else None


def _group(p: Plan, slot: SlotPlan) -> Group | None:
    """The repetition a slot stands in."""
    return next((step.group for step in p.repeats if slot.index in step.slots), None)


def _taken(rounds: Any, at: int) -> list[Any] | None:
    """Place `at` of each of a list of tuples; None if it is not one."""
    listed = elements(rounds)
    if listed is None:
        return None
    return [one[at] for one in map(elements, listed) if one is not None and len(one) > at]


def _long(value: Any) -> int:
    """`_length`; of lists too deep for it a guess."""
    try:
        return _length(value)
    except RecursionError:
        return 4


def _length(value: Any) -> int:
    """Characters of a text or of a list of texts; of what is neither, a guess."""
    if isinstance(value, str):
        return len(value)
    inner = elements(value)
    return 4 if inner is None else sum(map(_length, inner))
