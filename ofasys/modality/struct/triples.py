"""Triples (subject, relation, object): one a line, as text, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ofasys.errors import DataError
from ofasys.modality.struct.notation import Malformed, Value, plain, read_line, shown, write_cell, write_line

EXPECTED = "a list of triples (subject, relation, object), each a text or a number"
NAMES = (("subject",), ("relation", "predicate"), ("object",))
NONE = "-"  # a list without triples: a line with one cell, which no triple is

Triple = tuple[Value, Value, Value]


def read_triples(value: Any) -> Iterator[Triple]:
    """The triples of a list of sequences or dicts, or of JSON text. Errors: DataError for what is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise DataError(f"got the text {shown(value)}", expected=EXPECTED) from None
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise DataError(f"got {type(value).__name__} {shown(value)}", expected=EXPECTED)
    for number, triple in enumerate(value):
        yield _triple(triple, number)


def _triple(value: Any, number: int) -> Triple:
    if isinstance(value, Mapping):
        keys = [next((name for name in names if name in value), None) for names in NAMES]
        if None in keys or len(value) != 3:
            raise DataError(f"triple {number} has {shown(list(value))}", expected="subject, relation and object")
        value = [value[key] for key in keys]
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence) or len(value) != 3:
        raise DataError(f"triple {number} is {shown(value)}", expected=EXPECTED)
    try:
        one, two, three = (plain(part) for part in value)
    except DataError as error:
        raise DataError(f"triple {number}: {error.message}", expected=EXPECTED) from None
    if one is None or two is None or three is None:
        raise DataError(f"triple {number} is {shown(tuple(value))}: a part is missing", expected=EXPECTED)
    return one, two, three


def write_triple(triple: Triple) -> str:
    """One line."""
    return write_line([write_cell(part) for part in triple])


def write_triples(triples: Sequence[Triple]) -> str:
    """The lines of all; `parse_triples` reads them back."""
    return "\n".join(map(write_triple, triples)) or f" {NONE}"


def parse_triples(text: str) -> list[Triple] | Malformed:
    """The triples that a text writes; the text itself, Malformed, where it writes none."""
    if text.strip() == NONE:
        return []
    found = []
    for number, line in enumerate(text.split("\n")):
        try:
            cells = read_line(line)
        except ValueError as error:
            return Malformed(text, str(error))
        if len(cells) != 3 or None in cells:
            return Malformed(text, f"line {number} has {len(cells)} parts" if len(cells) != 3 else "a part is missing")
        found.append((cells[0], cells[1], cells[2]))
    return found
