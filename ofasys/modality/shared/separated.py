"""Separated values: CSV, whose cells may stand in quotes, and TSV, which has none. Tasks and tables read them alike."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MARKS = ",;\t|"
LOOKED_AT = 100  # the first lines, in which the separator is found
_LARGEST_CELL = 2**31 - 1  # characters; a cell may hold an image in base64


@dataclass(frozen=True)
class Form:
    """How records are written. mark: what separates cells. quotes: whether a cell may stand in quotes.

    before: how many lines come before the header.
    """

    mark: str
    quotes: bool = True
    before: int = 0


TSV = Form("\t", quotes=False)


def form_of_csv(lines: Sequence[str]) -> Form:
    """The form of a CSV file, or of CSV text, by its first lines.

    A first line `sep=;`, which Excel writes and reads, names the separator. Else it is that of , ; tab | which stands
    in the header outside of quotes, and in some other line. Of several the one that cuts most of these lines into as
    many cells as the header; then the one that makes more cells; then the first of these four.
    """
    first = lines[0].rstrip("\r\n") if lines else ""
    if len(first) == 5 and first.lower().startswith("sep="):
        return Form(first[4], before=1)
    header = next((line for line in lines if line.strip("\r\n")), "")
    able = MARKS if '"' in header else [mark for mark in MARKS if mark in header]
    best, chosen = (0, 0), ","
    for mark in able if able != [","] else ():
        width, others = _widths(lines, mark)
        if width > 1 and (not others or max(others) > 1):
            fit = sum(other == width for other in others), width
            best, chosen = max((best, chosen), (fit, mark), key=lambda one: one[0])
    return Form(chosen)


def _widths(lines: Sequence[str], mark: str) -> tuple[int, list[int]]:
    """Cells of the header and of each record after it, were `mark` the separator; 0 where quotes forbid that."""
    widths: list[int] = []
    try:
        for cells, record in with_text(lines, Form(mark)):
            if cells and not widths and _stray(cells, record):
                return 0, []
            if cells:
                widths.append(len(cells))
    except csv.Error:  # a record that goes on behind these lines; or quotes that do not stand around its cells
        pass
    return (widths[0], widths[1:]) if widths else (0, [])


def _stray(cells: Sequence[str], record: str) -> bool:
    """Whether a quote stands inside a cell that does not begin with one."""
    return any('"' in cell and not quoted for cell, quoted in zip(cells, in_quotes(cells, record), strict=True))


def records(lines: Iterable[str], form: Form) -> Iterator[list[str]]:
    """The cells of each record; an empty line has none. Lines keep their ends. Errors: csv.Error for quotes that do not
    fit.
    """
    if not form.quotes:
        return (line.rstrip("\r\n").split(form.mark) if line.strip("\r\n") else [] for line in lines)
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_CELL))
    return csv.reader(lines, delimiter=form.mark, strict=True)


def with_text(lines: Iterable[str], form: Form) -> Iterator[tuple[list[str], str]]:
    """Each record with the lines that it was written in."""
    read: list[str] = []

    def taken() -> Iterator[str]:
        for line in lines:
            read.append(line)
            yield line

    for cells in records(taken(), form):
        yield cells, read[0] if len(read) == 1 else "".join(read)
        read.clear()


def in_quotes(cells: Sequence[str], record: str) -> list[bool]:
    """Of each cell of a record of CSV whether it stands in quotes. record: as it was written."""
    found, at = list[bool](), 0
    for cell in cells:
        quoted = record.startswith('"', at)
        found.append(quoted)
        at += len(cell) + (2 + cell.count('"') if quoted else 0) + 1
    return found


def needs_quotes(name: str) -> bool:
    """Whether the name of a column of CSV has to stand in quotes: so that the separator is found, and no mark is
    missed.
    """
    odd = any(mark in name for mark in (*MARKS, '"', "\r", "\n"))
    return not name or odd or name.startswith("\ufeff") or name[:4].lower() == "sep="


def not_utf8(start: bytes) -> str | None:
    """The encoding that the first bytes of a file of text show where it is not UTF-8, as far as they tell."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    head = start[:64]
    return "UTF-16" if len(head) >= 8 and (not any(head[1::2]) or not any(head[::2])) else None
