"""Answers as CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError
from ofasys.modality.shared.separated import needs_quotes, not_utf8
from ofasys.modality.struct.notation import Value, plain, read_cell, shown, write_cell
from ofasys.modality.struct.table import LONGEST_LINE, Table, read_table


def save(
    path: str | Path,
    values: Sequence[Any],
    frame: Any = None,
    labels: Sequence[str] = (),
    root: str | Path | None = None,
) -> None:
    """Write the one value, a table (with its header), triples or a grid, as CSV; as TSV if the name ends in .tsv.

    A table is read back as it was: text that would be taken for a number, a truth value or None stands in quotes.
    Errors: ConfigError for what the file cannot hold, such as a tab in a .tsv.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise ConfigError(
            f"cannot write a {'table' if values else 'value'} into {path.name!r}; use .csv, .tsv, .json or .txt"
        )
    if len(values) != 1:
        raise ConfigError(f"{len(values)} values do not go into one {path.suffix} file; use .json")
    (value,) = values
    if isinstance(value, str) or value is None:
        raise ConfigError(f"the answer reads as no table, triples or grid, so it is no {path.suffix} file; use .txt")
    tab = path.suffix.lower() == ".tsv"
    names, rows = _parts(value)
    lines = [[_name(name, tab) for name in names]] if names else []
    lines += [[_cell(plain(cell), tab) for cell in row] for row in rows]
    empty = "" if tab else '""'  # a row of one column that is text: `""` is None there
    if any(line == [empty] for line in lines[bool(names) and not tab :]):
        raise ConfigError(f"an empty text alone in its row could not be read back from a {path.suffix} file; use .json")
    text = "".join((("\t" if tab else ",").join(line) or '""') + "\r\n" for line in lines)
    path.write_bytes(_checked(text))


def _parts(value: Any) -> tuple[Sequence[str], Iterable[Iterable[Any]]]:
    """The names of the columns, where there are some, and the rows."""
    if not isinstance(value, Table):
        return (), value
    table = read_table(value)
    return table.columns, table.rows


def _name(name: str, tab: bool) -> str:
    if tab:
        return _bare(name, name.startswith("\ufeff"))
    return _quoted(name) if needs_quotes(name) else name


def _cell(value: Value, tab: bool) -> str:
    if not isinstance(value, str):
        return write_cell(value)
    other = read_cell(value) != value
    if tab:
        return _bare(value, other)
    return _quoted(value) if other or any(mark in value for mark in ',"\r\n') else value


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _bare(text: str, other: bool) -> str:
    """Errors: ConfigError for text that cannot stand without quotes. other: it would be read as something else."""
    if other or any(mark in text for mark in "\t\r\n"):
        what = "would be read as something else" if other else "holds a tab or a line break"
        raise ConfigError(f"the text {shown(text)} {what} in a .tsv, which has no quotes; use .csv or .json")
    return text


def _checked(text: str) -> bytes:
    """Errors: ConfigError for a file that could not be read back."""
    problem = None
    if any(len(line) >= LONGEST_LINE - 1 for line in text.split("\n")):
        problem = f"a line would have more than {LONGEST_LINE - 2} characters"
    try:
        data = text.encode()
    except UnicodeEncodeError:
        problem = "a text holds half a character"
    else:
        problem = problem or ("the first name is like UTF-16" if not_utf8(data[:64]) else None)
    if problem is not None:
        raise ConfigError(f"{problem}, and could not be read back; use .json")
    return data
