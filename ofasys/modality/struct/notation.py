"""How a row of values is written as a line of text, and read back.

    name | born | city
    Ann | 1931 | "Bergen | Nord"
    Bob |  | "1931"

Each cell stands after a blank, so that a word in a cell is the same piece as in a sentence. A bare cell that reads as a
number is a number, `true` and `false` are truth values, an empty one is NULL; any other bare cell is text. Text that
would be taken for something else (`"1931"`, `""`, text with a bar or a line break) stands in quotes, escaped as in
JSON.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np

from ofasys.errors import DataError

Value = str | int | float | bool | None

EXPECTED = "a text, a number, a truth value, a date or None"
MOST_DIGITS = 300

_NUMBER = re.compile(
    rf"-?(?:0|[1-9][0-9]{{0,{MOST_DIGITS - 1}}})(\.[0-9]{{1,{MOST_DIGITS}}})?(e[+-]?[0-9]{{1,4}})?|-?inf"
)
_TRUTH = {"true": True, "false": False}
_WORDS = {word: value for one, value in _TRUTH.items() for word in (one, one.title(), one.upper())} | {"inf": math.inf}
_BEGINS = frozenset("-0123456789")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_STRUCTURE = re.compile(r'[|"\n\r]')
_SURROGATE = re.compile("[\ud800-\udfff]")


class Malformed(str):
    """What was generated where it reads as nothing of the kind that was asked for: the text as it stands.

    problem: what is wrong with it. It is a `str`, and no table, list of triples or grid is one.
    """

    problem: str

    def __new__(cls, text: str, problem: str) -> Malformed:
        """The text, and what is wrong with it."""
        made = super().__new__(cls, text)
        made.problem = problem
        return made

    def __reduce__(self) -> tuple[type[Malformed], tuple[str, str]]:
        return Malformed, (str(self), self.problem)


def plain(value: Any) -> Value:
    """A cell's value as one of a few kinds. NaN and the missing values of pandas are None; dates are ISO text.

    Errors: DataError for a list, a mapping, bytes, or anything else that is no single value.
    """
    if value is None or type(value) in (str, int, bool):
        return value if type(value) is not int or abs(value) < 10**MOST_DIGITS else _refuse(value)
    if isinstance(value, np.generic):
        value = _from_numpy(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, int)):
        return bool(value) if isinstance(value, bool) else plain(int(value))
    if isinstance(value, Decimal):
        return _from_decimal(value)
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    return _refuse(value)


def _from_decimal(value: Decimal) -> Value:
    if value.is_nan():
        return None
    if value.is_finite() and value.adjusted() >= MOST_DIGITS:
        return _refuse(value)
    return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


def _from_numpy(value: np.generic) -> Any:
    if np.issubdtype(value.dtype, np.datetime64):
        return None if np.isnat(value) else str(value).replace("T", " ")
    if np.issubdtype(value.dtype, np.floating):
        return float(str(value))  # float32 0.1 is 0.1, not 0.10000000149011612
    return value.item()


def _refuse(value: Any) -> Value:
    what = f"{len(value)} bytes" if isinstance(value, (bytes, bytearray)) else f"{type(value).__name__} {shown(value)}"
    raise DataError(f"a cell holds {what}", expected=EXPECTED)


def shown(value: Any) -> str:
    """A value for an error's sentence: at most 40 characters, however large it is."""
    text = reprlib.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def write_cell(value: Value) -> str:
    """One plain value, without the blank before it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if not value or _odd(value) or _reads(value) else value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def write_name(name: str) -> str:
    """The name of a column: always text, so that `1931` needs no quotes."""
    return json.dumps(name, ensure_ascii=False) if not name or _odd(name) else name


def _odd(text: str) -> bool:
    return text[0].isspace() or text[-1].isspace() or _STRUCTURE.search(text) is not None


def _reads(text: str) -> bool:
    """Whether the bare text would be taken for a number or a truth value."""
    return text in _TRUTH or _NUMBER.fullmatch(text) is not None


def write_line(cells: Sequence[str]) -> str:
    """Written cells as one line."""
    return " |".join(f" {cell}" if cell else "" for cell in cells)


def read_bare(text: str) -> Value:
    """A cell that stood without quotes."""
    if not text:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if (found := _NUMBER.fullmatch(text)) is None:
        return text
    return float(text) if found[1] or found[2] or text.endswith("inf") else int(text)


def read_cell(text: str) -> Value:
    """A cell of CSV that stood without quotes: a number if the number is written so, else the text that is there.

    So `1931`, `2.5` and `1e-07` are numbers; `007`, `1.10`, `12e4` and `+5` are codes, of which a number would lose
    something.
    """
    if not text:
        return None
    if text[0] not in _BEGINS:
        return _WORDS.get(text, text)
    value = read_bare(text)
    return value if repr(value) == text else text


def read_line(line: str, names: bool = False) -> list[Value]:
    """The values of a line. names: it is a header, whose cells are all text. ValueError says what is wrong with it."""
    cells: list[Value] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] == " ":
            at += 1
        if line.startswith('"', at):
            found = _QUOTED.match(line, at)
            if found is None:
                raise ValueError("a quote is not closed")
            cells.append(_unquoted(found[0]))
            at = found.end()
            while at < end and line[at] == " ":
                at += 1
            if at < end and line[at] != "|":
                raise ValueError("text follows a closing quote")
        else:
            stop = line.find("|", at)
            stop = end if stop < 0 else stop
            text = line[at:stop].rstrip(" ")
            cells.append((text or None) if names else read_bare(text))
            at = stop
        if at >= end:
            return cells
        at += 1


def _unquoted(text: str) -> str:
    try:
        found = json.loads(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:40]} is not escaped as JSON is") from None
    if _SURROGATE.search(found):
        raise ValueError(f"{text[:40]} holds half a character")
    return str(found)
