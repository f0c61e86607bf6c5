"""A few rows of each task, for whoever tries a model: texts and numbers as they stand, what is a file as one."""

from __future__ import annotations

import json
import logging
import mimetypes
import os
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofasys.errors import DataError, OfasysError
from ofasys.hub.output import plain
from ofasys.modality import Registry
from ofasys.planner import SlotPlan
from ofasys.task.source import Source
from ofasys.task.task import Task
from ofasys.types import NamedBytes

_log = logging.getLogger("ofasys")

COUNT = 4  # rows of a task
LARGEST = 2**20  # bytes of a file: all of them travel with the list of tasks
NAME = "examples.json"  # of a run
LOOKED_AT = 4  # rows that are read for one that is taken
SPLITS = ("test", "valid", "train")  # where rows are taken from, in this order
SIGNS = (  # how files begin that rows hold without a name
    (b"\x89PNG", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"OggS", ".ogg"),
    (b"fLaC", ".flac"),
    (b"ID3", ".mp3"),
)
FILES = ("image", "audio", "video", "motion", "file")  # widgets that take one


def examples(tasks: Sequence[Task], count: int = COUNT) -> dict[str, list[dict[str, Any]]]:
    """Task -> some of its rows, as JSON holds what an instruction is asked with; a file is `{"base64": ..., "type":
    media type}`. A row that cannot be read, or holds what is neither JSON nor a file, is left out; of a task all of
    whose rows are left out, a warning says why.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for task in (task for task in tasks if task.sources):
        source = next(task.sources[split] for split in SPLITS if split in task.sources)
        found[task.name], problem = [], None
        for row in _rows(source, count * LOOKED_AT):
            try:
                found[task.name].append(_example(task, row, source.root))
            except DataError as error:
                problem = problem or error
            if len(found[task.name]) == count:
                break
        if problem is not None and not found[task.name]:
            _log.warning(f"task {task.name!r} has no rows to try on the page: {problem}")
    return found


def write_examples(folder: Path, tasks: Sequence[Task]) -> None:
    """Leave examples with a run whose rows stand in no file that its run file names."""
    (folder / NAME).write_text(json.dumps(examples(tasks), ensure_ascii=False) + "\n", encoding="utf8")


def read_examples(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What `write_examples` left; nothing where there is none, or something else."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError):
        return {}
    named = found.items() if isinstance(found, dict) else ()
    return {str(task): [row for row in rows if isinstance(row, dict)] for task, rows in named if isinstance(rows, list)}


def _rows(source: Source, count: int) -> Iterator[Mapping[str, Any]]:
    """The first rows."""
    for i in range(min(count, len(source))):
        try:
            yield source[i]
        except OfasysError:
            continue  # a bad row, of which training told


def _example(task: Task, row: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    """The columns that the first line of a task asks for. Errors: DataError where one of them cannot be sent."""
    found: dict[str, Any] = {}
    for slot in task.plan.slots:
        if slot.column not in task.instructions[0].asked or slot.column in found or row.get(slot.column) is None:
            continue
        value, widget = row[slot.column], task.modalities.spec(slot.modality).widget_of(slot.values)
        if widget not in FILES:
            found[slot.column] = _read(value, root) if widget == "table" else plain(value)
        else:
            try:
                file = as_file(slot, value, task.modalities, root)
            except DataError as error:
                raise error.at(slot=slot.name, column=slot.column) from None
            found[slot.column] = {"base64": b64encode(file).decode(), "type": kind_of(file.path)}
    return found


def _read(value: Any, root: Path | None) -> Any:
    """A table; of the path of a file its text."""
    if not isinstance(value, (str, os.PathLike)):
        return plain(value)
    try:
        return _of_path(value, root).decode("utf8", "replace")
    except DataError:  # the text of a table
        return plain(value)


def kind_of(name: str) -> str:
    """The media type of a file of this name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def as_file(slot: SlotPlan, value: Any, registry: Registry, root: Path | None) -> NamedBytes:
    """A value as the file that it is, or as its modality saves it. root: of paths. Errors: DataError for what is
    neither, or too large.
    """
    if isinstance(value, Mapping) and (held := value.get("bytes") or value.get("path")):  # as `datasets` gives
        value = held
    if isinstance(value, bytes):
        file = NamedBytes(value, Path(getattr(value, "path", f"{slot.column}{_suffix(value)}")).name)
    elif isinstance(value, (str, os.PathLike)):
        file = _of_path(value, root)
    else:
        file = _saved(slot, value, registry)
    _check_small(len(file))
    return file


def _suffix(file: bytes) -> str:
    """As the name of such a file ends, by how it begins; nothing for what is not known."""
    if file[:4] == b"RIFF":
        return {b"WAVE": ".wav", b"WEBP": ".webp", b"AVI ": ".avi"}.get(file[8:12], "")
    return next((suffix for sign, suffix in SIGNS if file.startswith(sign)), "")


def _of_path(value: str | os.PathLike[str], root: Path | None) -> NamedBytes:
    path = Path(root or "", value)
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST else b""
    except (OSError, ValueError):
        raise DataError(f"no file {os.fspath(value)[:200]!r}") from None
    _check_small(size)
    return NamedBytes(data, path.name)


def _check_small(size: int) -> None:
    """Errors: DataError for a file that is too large to be sent."""
    if size > LARGEST:
        raise DataError(f"a file of {size:,} bytes", expected=f"at most {LARGEST:,}, as it travels with the page")


def _saved(slot: SlotPlan, value: Any, registry: Registry) -> NamedBytes:
    part = registry.spec(slot.modality).save
    if part is None or not part.suffixes:
        raise DataError(f"{slot.modality} cannot be written to a file", expected="a file, by its path or its bytes")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{slot.column}{part.suffixes[0]}")
        try:
            part.resolve()(path, [value], None, [])
        except (OfasysError, AttributeError, TypeError, ValueError) as error:
            raise DataError(f"got {type(value).__name__}, which is not written to a file: {error}") from None
        return NamedBytes(path.read_bytes(), path.name)
