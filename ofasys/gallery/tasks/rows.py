"""Rows of gallery tasks as Parquet files in the user's folder for caches: made once of what was fetched."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ofasys.caches import user_cache
from ofasys.errors import DataError
from ofasys.gallery.data.store import held, sha256
from ofasys.gallery.tasks import split
from ofasys.gallery.tasks.task import GalleryTask, Row

RECORD = "rows.json"
GALLERY = "ofasys.gallery."
NO_MAKERS = ("ofasys.gallery.data", "ofasys.gallery.tasks.task")  # modules that do not say what is in a row
BLOCK_ROWS = 2000  # of a Parquet file
_log = logging.getLogger("ofasys")


def row_files(task: GalleryTask) -> dict[str, Path]:
    """Split -> the file of its rows; they are made where they are not there, or not whole.

    Errors: DataError for a package that is not fetched or not whole; ConfigError for a library that is missing.
    """
    folder = user_cache("data") / "rows" / f"{task.name}-{_version(task)}"
    if not _whole(folder):
        with held(folder.parent / f"{task.name}.lock", wait=True):
            if not _whole(folder):  # another process may have made them meanwhile
                if (folder / RECORD).is_file():
                    _log.warning(f"rows of gallery:{task.name} in {folder} were changed or cut short: made again")
                _make(task, folder)
    return {name: folder / f"{name}.parquet" for name in split.SPLITS}


def row_record(task: GalleryTask) -> dict[str, Any]:
    """What is known of the rows: `rows` of each split, and their `digest`. Errors: as `row_files`."""
    folder = row_files(task)[split.SPLITS[0]].parent
    record = _read(folder)
    assert record is not None
    return record


def _version(task: GalleryTask) -> str:
    """Another for other packages, and for other code that makes the rows: what stands above the record of a task."""
    pinned = [sorted(package.files.items()) for package in task.records]
    files = sorted(_code(sys.modules[task.make.__module__]))
    code = [path.read_text(encoding="utf8").partition("\nTASK = ")[0] for path in files]
    return hashlib.sha256(json.dumps([pinned, code]).encode()).hexdigest()[:16]


def _code(module: ModuleType) -> set[Path]:
    """The file of a module of the gallery, and of those of it that its names come from, but for how archives are read:
    these are pinned.
    """
    own = Path(inspect.getfile(module))
    others = {_module_of(value) for value in vars(module).values()} - {module.__name__}
    makers = (name for name in others if name.startswith(GALLERY) and not name.startswith(NO_MAKERS))
    within = (sys.modules[name] for name in makers)
    return {own}.union(*map(_code, within))


def _module_of(value: object) -> str:
    """Where something in a module is from; of a constant that is not known, so import its module instead."""
    return value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / RECORD).read_text(encoding="utf8")))
    except (OSError, ValueError):
        return None


def _whole(folder: Path) -> bool:
    record = _read(folder)
    return record is not None and all(
        (folder / file).is_file() and sha256(folder / file) == told for file, told in record["files"].items()
    )


def _make(task: GalleryTask, folder: Path) -> None:
    """In a folder aside, which then takes its place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        data = task.data(aside)
        _log.warning(f"making the rows of gallery:{task.name}, once")
        made = task.make(data)
        for name in split.SPLITS:
            if not made[name]:
                raise DataError(f"gallery:{task.name} has no {name} rows", expected="the packages that are pinned")
            _write(made[name], aside / f"{name}.parquet")
        files = {path.name: sha256(path) for path in sorted(aside.iterdir())}
        record = {"rows": {name: len(rows) for name, rows in made.items()}, "digest": digest(made), "files": files}
        (aside / RECORD).write_text(json.dumps(record, indent=1), encoding="utf8")
        if record["digest"] != task.digest:
            _log.warning(f"rows of gallery:{task.name} are not those that its figures were measured on")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(rows: Sequence[Row], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=BLOCK_ROWS)


def digest(made: Mapping[str, Sequence[Row]]) -> str:
    """A checksum of all rows of all splits, in order; of pictures and sounds only that they are there, since how these
    are packed is the business of libraries.
    """
    found = hashlib.sha256()
    for name in split.SPLITS:
        for row in made[name]:
            plain = {column: None if isinstance(value, bytes) else value for column, value in row.items()}
            found.update(json.dumps([name, plain], sort_keys=True, ensure_ascii=False).encode())
    return found.hexdigest()[:16]
