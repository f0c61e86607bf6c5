"""What was given as data -> the rows to answer, one after the other.

A row is a dict. A line that needs one column takes the value alone too, and a frame, a data set, a path, a folder of
pictures or anything that gives rows one by one stands for its rows.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, DataError, LoadingError
from ofasys.language import Filled, Instruction
from ofasys.modality import Registry, lexicon
from ofasys.task.source import Source, is_elsewhere, open_source
from ofasys.task.source.images import ImageFolder
from ofasys.task.source.open import SUFFIXES, is_stream, streamed

Row = Mapping[str, Any]
Given = tuple[Instruction, Row | DataError]  # a line and its row, or why the row is none


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be answered."""

    rows: Iterator[Given]
    """Read once, as they are asked for."""
    single: bool
    """One answer was asked for, not a list."""
    instruction: Instruction | None
    """The line of all rows. None: each has its own."""
    root: Path | None = None
    """The folder that relative paths in rows start from, where the data has one."""
    where: str = ""
    """The name of the file the rows are of, if they are of one."""


def asked_for(instruction: Any, data: Any, registry: Registry, columns: str | None = None) -> Asked:
    """An instruction and its data as requests. columns: what a row has, where that is not all the line needs.

    Errors: ConfigError for what is no instruction, or data that may mean two things; DataError for what is no data. An
    element of a list that is no row is told at its turn.
    """
    if isinstance(instruction, (Filled, list, tuple)):
        return _formatted(instruction, data)
    line = parsed(instruction, registry)
    needed = _Needed(line, registry, columns)
    if data is None or _is_row(data):
        return Asked(iter([(line, {} if data is None else data)]), True, line)
    if isinstance(data, (str, os.PathLike)):
        return _named(line, data, needed)
    if isinstance(data, io.TextIOBase):
        return Asked(_each(line, map(needed.line_of_text, data)), False, line, where="the lines")
    if _is_list(data):
        return Asked(_each(line, map(needed.row, data)), False, line)
    if needed.takes(data):
        return Asked(_each(line, [needed.row(data)]), True, line)
    if isinstance(data, bytes) or (not hasattr(type(data), "__iter__") and not hasattr(type(data), "__getitem__")):
        raise DataError(f"data is a {type(data).__name__}", expected=needed.expected)
    if is_stream(data) or not hasattr(type(data), "__getitem__"):
        return Asked(_each(line, map(needed.row, streamed(data))), False, line)
    return _of_source(line, open_source(data), needed)


def parsed(instruction: Any, registry: Registry) -> Instruction:
    """An instruction, of its text. Errors: ConfigError for what is none."""
    made = Instruction(instruction, lexicon(registry)) if isinstance(instruction, str) else instruction
    if not isinstance(made, Instruction):
        raise ConfigError(
            f"an instruction is a str, an Instruction, or one that was formatted; not {type(made).__name__}"
        )
    return made


class _Needed:
    """What a line needs of a row. alone: the column of a line that needs one, or takes no other; and no list of it."""

    def __init__(self, line: Instruction, registry: Registry, columns: str | None) -> None:
        grouped = {column for group in line.groups for column in group.columns}
        single = len(line.asked) == 1 and line.asked[0] not in grouped
        self.alone = line.asked[0] if single else None
        tags = [place.slot.modality for place in line.places if place.column == self.alone]
        self.spec = registry.spec(tags[0]) if tags else None
        ways = [f"columns of {parts.alternatives}" for parts in line.source_parts]
        self.one = f"a dict with {columns or ', '.join([*line.needed, *ways]) or 'no column'}" + (
            f", or the value of {self.alone!r} alone" if self.alone else ""
        )
        self.expected = f"{self.one}, or a list of them"

    @property
    def text(self) -> bool:
        """Whether the only column holds texts, so that any str is a value of it."""
        return self.spec is not None and self.spec.value in ("text", "label")

    def takes(self, value: Any) -> bool:
        """Whether something that is neither row, text, path nor list is a value, not rows: a number, bytes, a picture,
        an array.
        """
        from_library = type(value).__module__.partition(".")[0] in ("PIL", "numpy") or _is_tensor(value)
        return self.alone is not None and (isinstance(value, (bytes, int, float)) or from_library)

    def row(self, one: Any) -> Row | DataError:
        """One element of what was given: a row, or the value of the only column; of anything else why it is none."""
        if _is_row(one) or isinstance(one, DataError):  # what gives rows may know of one that it is bad
            found: Row | DataError = one
            return found
        if self.alone is not None and one is not None:
            return {self.alone: one}
        return DataError(f"a row is a {type(one).__name__} {str(one)[:40]!r}", expected=self.one)

    def line_of_text(self, line: str) -> Row | DataError:
        """One line of a text that is open: a row as a JSON object, or the value of the only column."""
        line = line.rstrip("\r\n")
        if line.lstrip().startswith("{"):
            try:
                return self.row(json.loads(line))
            except (ValueError, RecursionError) as error:
                if not self.text:
                    return DataError(f"a line is not JSON ({error}): {line[:40]!r}", expected=self.one)
        return self.row(line)

    def writes(self, suffix: str) -> bool:
        """Whether files with this suffix are values of the only column too."""
        return self.spec is not None and self.spec.save is not None and suffix in self.spec.save.suffixes


def _each(line: Instruction, rows: Iterable[Row | DataError]) -> Iterator[Given]:
    return ((line, row) for row in rows)


def _is_row(data: Any) -> bool:
    return isinstance(data, Mapping) and not any(c.__name__.endswith("DatasetDict") for c in type(data).__mro__)


def _is_tensor(data: Any) -> bool:
    return any(c.__module__.partition(".")[0] == "torch" and c.__name__ == "Tensor" for c in type(data).__mro__)


def _is_list(data: Any) -> bool:
    """A list, or what is one in all but name: a series, an array of texts or of objects."""
    if isinstance(data, (list, tuple)) or type(data).__name__ in ("Series", "ChunkedArray"):
        return True
    return type(data).__module__ == "numpy" and getattr(getattr(data, "dtype", None), "kind", "") in "UO"


def _formatted(instruction: Filled | Sequence[Filled], data: Any) -> Asked:
    filled = [instruction] if isinstance(instruction, Filled) else list(instruction)
    if data is not None:
        raise ConfigError("data was given twice: in format(...) and as data=; give it once")
    if bad := [f for f in filled if not isinstance(f, Filled)]:
        raise ConfigError(f"a list of instructions holds {type(bad[0]).__name__}; use instruction.format(...) for each")
    return Asked(iter([(f.instruction, f.data) for f in filled]), isinstance(instruction, Filled), None)


def _named(line: Instruction, given: str | os.PathLike[Any], needed: _Needed) -> Asked:
    """A text or a path: the file of rows or the folder it names, else the value of the only column.

    Errors: ConfigError where both would do.
    """
    name = os.fsdecode(given)
    path = Path(name).expanduser()
    suffix = path.suffix.lower() if len(name) < 1024 and len(name.splitlines()) == 1 else ""
    text = needed.text and isinstance(given, str)
    rows = suffix in SUFFIXES or (needed.text and not text) or (not text and _is_folder(path))
    if rows and needed.writes(suffix):
        raise ConfigError(
            f"data={name!r} may be a file of rows, and may be one value of {needed.alone!r}; for the value give "
            f"data={{{needed.alone!r}: {name!r}}}, for the rows data=open_source({name!r}), of ofasys.task.source"
        )
    if not rows and needed.alone is not None:
        return Asked(_each(line, [{needed.alone: given}]), True, line)
    if not rows:
        raise DataError(
            f"data is a {type(given).__name__}, {name[:40]!r}",
            expected=f"{needed.expected}, or the path of a file of rows ({' '.join(SUFFIXES)}) or a folder of pictures",
        )
    try:
        return _of_source(line, open_source(name if is_elsewhere(name) else path), needed, path.name)
    except DataError as error:
        if needed.alone is not None and not path.exists():
            raise DataError(
                error.message,
                expected=f"a file of rows, as {suffix if suffix in SUFFIXES else 'a path'} says; "
                "for the value itself give "
                f"data={{{needed.alone!r}: {name!r}}}",
            ) from None
        raise


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, or with a character no name has
        return False


def _of_source(line: Instruction, source: Source, needed: _Needed, name: str = "") -> Asked:
    """The rows of a source. Of a folder of pictures each picture is the value of the only column, whatever its name."""
    pictures = needed.alone if isinstance(source, ImageFolder) else None

    def rows() -> Iterator[Row | DataError]:
        for number in range(len(source)):
            try:
                row = source[number]
            except LoadingError:
                raise
            except DataError as error:
                error.sample = None
                yield error
                continue
            yield {pictures: row["image"], **row} if pictures is not None else row

    return Asked(_each(line, rows()), False, line, source.root, name)
