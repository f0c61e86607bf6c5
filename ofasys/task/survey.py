"""Whole columns of the training rows: what labels, lengths and the tokenizer's text are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError, LoadingError
from ofasys.language import Group
from ofasys.modality.shared.label import label_text
from ofasys.modality.symbols import is_text
from ofasys.planner import Plan, SlotPlan
from ofasys.program.sample import elements
from ofasys.task.source import Source, index
from ofasys.task.source.texts import Texts

MOST_ROWS = 1_000_000  # rows that labels are gathered from, where each row has to be read
MOST_LABELS = 100_000
MOST_LENGTH = 2**31 - 1  # characters; a longer row counts as so long
_GUESSED = 4  # characters of what is no text

Slot = tuple[Plan, SlotPlan]
Column = list[Any] | Texts


class Survey:
    """What slots find in all training rows, a bad value as None. Whatever is wrong with a row is said when it is drawn.

    references: column -> the column with the list of its right answers.
    """

    def __init__(self, task: str, source: Source, references: Mapping[str, str]) -> None:
        self.task, self.source, self.references = task, source, references

    def pieces(self, slots: Sequence[Slot], step: int = 1) -> Iterator[list[Column | None]]:
        """Of every `step`-th row the values of each slot, some thousand rows at once where the source gives them so.

        None where a column costs reading every row. In a repetition a value is a list; of a row without a value it is
        all its references.
        """
        if not self.in_one_pass(slots):
            found = [self.column(slot) for slot in slots]
            yield [column if column is None or step == 1 else column[::step] for column in found]
            return
        names = list(dict.fromkeys(name for slot in slots for name in self._names(slot)))
        for piece in self._in_pieces(names, step):
            read = dict(zip(names, piece, strict=True))
            yield [self._chosen(slot, [read[name] for name in self._names(slot)]) for slot in slots]

    def in_one_pass(self, slots: Sequence[Slot]) -> bool:
        """Whether several columns cost no more than one: in a file, unless one of them holds bytes."""
        heavy = getattr(self.source, "heavy", ())
        return hasattr(self.source, "in_pieces") and not any(n in heavy for slot in slots for n in self._names(slot))

    def _in_pieces(self, names: Sequence[str], step: int) -> Iterator[list[Column]]:
        with _naming(self.task):
            yield from self.source.in_pieces(names, step)  # type: ignore[attr-defined]

    def column(self, slot: Slot) -> list[Any] | None:
        """A slot's values in all rows; None where that costs reading every row. Errors: DataError when no row has
        them, unless each may lack them.
        """
        names = self._names(slot)
        found: list[Column | None] = []
        for name in names:
            try:
                found.append(self.source.column(name))
            except LoadingError as error:
                raise error.at(task=self.task) from None
            except DataError as error:
                if name == names[-1] and all(column == [] for column in found) and not slot[1].optional:
                    raise error.at(task=self.task, slot=slot[1].name, column=name) from None
                found.append([])  # no row has it
            if found[-1] != [] and slot[1].column not in self.references:
                break
        if any(column is None for column in found):
            return None
        found += [[]] * (len(names) - len(found))
        chosen = self._chosen(slot, [column or [None] * len(self.source) for column in found])
        return chosen if isinstance(chosen, list) else list(chosen)

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
        if empty and self.in_one_pass([slot]):
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
        watch = getattr(self.source, "watch", None) if self.in_one_pass([*closed, *texts]) else None
        if watch is None:
            return self._passed(closed, texts)
        what = self._asked(closed, texts)
        with _naming(self.task):
            kept = index.load(watch, what)
        if kept is not None:
            return {column: set(own) for column, own in kept.facts.items()}, kept.arrays.get("lengths")
        labels, lengths = self._passed(closed, texts)
        facts = {column: sorted(own) for column, own in labels.items()}
        with _naming(self.task):
            kept = index.keep(watch, what, index.Found({} if lengths is None else {"lengths": lengths}, facts))
        return labels, kept.arrays.get("lengths")

    def _asked(self, closed: Sequence[Slot], texts: Sequence[Slot]) -> str:
        """A name for what is asked: the same for whatever has the same answer."""
        columns = [
            [slot.column, self._names((p, slot)), slot.column in self.references, _place(p, slot)]
            for p, slot in (*closed, *texts)
        ]
        told = json.dumps([len(closed), columns]).encode()
        return f"labels-and-lengths-{hashlib.blake2b(told, digest_size=8).hexdigest()}"

    def _passed(self, closed: Sequence[Slot], texts: Sequence[Slot]) -> tuple[dict[str, set[str]], np.ndarray | None]:
        """As `labels_and_lengths`, by reading them."""
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
            parts.append(np.sum(measured, axis=0).clip(max=MOST_LENGTH).astype(np.int32))
            without -= {i for i in without if any(value is not None for value in columns[i])}
        for slot in (*closed, *(texts[i] for i in without if not closed)):
            if not labels.get(slot[1].column):
                self.column(slot)
        return labels, None if parts is None or (closed and without) else np.concatenate(parts)

    def _measured(self, slot: SlotPlan, column: Column) -> np.ndarray:
        """Characters of each value; of the longest where there are several references."""
        if isinstance(column, Texts) and slot.column not in self.references:
            return column.lengths(_GUESSED)
        if slot.column in self.references:
            column = [
                value if (ways := elements(value)) is None else max(ways, key=_long, default=None) for value in column
            ]
        return np.array([len(v) if type(v) is str else _long(v) for v in column], dtype=np.int64)

    def _gather(self, found: set[str], slot: Slot, column: Column | None) -> None:
        """Add the labels of a column. Errors: ConfigError when there are too many."""
        values: Iterable[Any] = self._read(slot, MOST_ROWS) if column is None else column
        if isinstance(column, Texts):
            values = column.distinct() - found
        elif column is not None and set(map(type, column)) <= {str, type(None)}:
            values = set(column) - found
        for value in values:
            found.update(label for one in self._each(slot[1], value) if (label := _label(one)) is not None)
            if len(found) > MOST_LABELS:
                raise ConfigError(
                    f"task {self.task!r}: {slot[1].name} has more than {MOST_LABELS:,} labels; is it free text?"
                )


@contextmanager
def _naming(task: str) -> Iterator[None]:
    """Errors of a file name the task."""
    try:
        yield
    except LoadingError as error:
        raise error.at(task=task) from None


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


def _place(p: Plan, slot: SlotPlan) -> int | None:
    """Which of the columns of its repetition a slot is."""
    group = _group(p, slot)
    return None if group is None else group.columns.index(slot.column)


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
        return _GUESSED


def _length(value: Any) -> int:
    """Characters of a text or of a list of texts; of what is neither, a guess."""
    if isinstance(value, str):
        return len(value)
    inner = elements(value)
    return _GUESSED if inner is None else sum(map(_length, inner))
