"""A few rows of each task, for whoever tries a model: texts and numbers as they stand, what is a file as one."""

from __future__ import annotations

import json
import mimetypes
import os
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ofasys.errors import OfasysError
from ofasys.hub.output import plain
from ofasys.modality import Registry
from ofasys.planner import SlotPlan
from ofasys.task.source import Source
from ofasys.task.task import Task
from ofasys.types import NamedBytes

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
    media type}`. A row that cannot be read, or holds what is neither JSON nor a file, is left out.
    """
    found = {}
    for task in (task for task in tasks if task.sources):
        source = next(task.sources[split] for split in SPLITS if split in task.sources)
        made = (_example(task, row, source.root) for row in _rows(source, count * LOOKED_AT))
        found[task.name] = list(islice((row for row in made if row is not None), count))
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


def _example(task: Task, row: Mapping[str, Any], root: Path | None) -> dict[str, Any] | None:
    """The columns that the first line of a task asks for; None where one of them cannot be sent."""
    found: dict[str, Any] = {}
    for slot in task.plan.slots:
        if slot.column not in task.instructions[0].asked or slot.column in found or row.get(slot.column) is None:
            continue
        value, widget = row[slot.column], task.modalities.spec(slot.modality).widget_of(slot.values)
        if widget not in FILES:
            found[slot.column] = _read(value, root) if widget == "table" else plain(value)
        elif (file := as_file(slot, value, task.modalities, root)) is not None:
            found[slot.column] = {"base64": b64encode(file).decode(), "type": kind_of(file.path)}
        else:
            return None
    return found


def _read(value: Any, root: Path | None) -> Any:
    """A table; of the path of a file its text."""
    file = _of_path(value, root) if isinstance(value, (str, os.PathLike)) else None
    return plain(value) if file is None else file.decode("utf8", "replace")


def kind_of(name: str) -> str:
    """The media type of a file of this name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def as_file(slot: SlotPlan, value: Any, registry: Registry, root: Path | None) -> NamedBytes | None:
    """A value as the file that it is, or as its modality saves it; None for what is neither. root: of paths."""
    if isinstance(value, Mapping):  # as `datasets` gives
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return NamedBytes(value, Path(getattr(value, "path", f"{slot.column}{_suffix(value)}")).name)
    if isinstance(value, (str, os.PathLike)):
        return _of_path(value, root)
    return _saved(slot, value, registry)


def _suffix(file: bytes) -> str:
    """As the name of such a file ends, by how it begins; nothing for what is not known."""
    if file[:4] == b"RIFF":
        return {b"WAVE": ".wav", b"WEBP": ".webp", b"AVI ": ".avi"}.get(file[8:12], "")
    return next((suffix for sign, suffix in SIGNS if file.startswith(sign)), "")


def _of_path(value: str | os.PathLike[str], root: Path | None) -> NamedBytes | None:
    path = Path(root or "", value)
    try:
        return NamedBytes(path.read_bytes(), path.name) if path.stat().st_size <= LARGEST else None
    except (OSError, ValueError):
        return None


def _saved(slot: SlotPlan, value: Any, registry: Registry) -> NamedBytes | None:
    part = registry.spec(slot.modality).save
    if part is None or not part.suffixes:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{slot.column}{part.suffixes[0]}")
        try:
            part.resolve()(path, [value], None, [])
        except (OfasysError, AttributeError, TypeError, ValueError):  # a value of another form than answers have
            return None
        return NamedBytes(path.read_bytes(), path.name)
