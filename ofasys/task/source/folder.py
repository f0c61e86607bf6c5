"""A folder -> the source of its rows: what `save_to_disk` or Lance wrote, a YOLO folder, or else a folder of images."""

from __future__ import annotations

from pathlib import Path

from ofasys.errors import DataError
from ofasys.task.source.images import ImageFolder
from ofasys.task.source.lance_dataset import LanceDataset, is_lance
from ofasys.task.source.row import Source
from ofasys.task.source.saved_dataset import SavedDataset, is_saved
from ofasys.task.source.yolo import is_yolo, open_yolo


def open_folder(path: Path) -> Source:
    """path: a folder, or the `data.yaml` of a YOLO data set. Errors: DataError for one that holds no rows or cannot be
    opened."""
    try:
        if path.is_file() or is_yolo(path):
            return open_yolo(path)
        if is_saved(path):
            return SavedDataset(path)
        if is_lance(path):
            return LanceDataset(path)
        _check_own(path)
        return ImageFolder(path)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}") from None


def _check_own(path: Path) -> None:
    """Errors: DataError for a folder of another library, whose files are no pictures, and for half a one of Lance."""
    if (path / "index.json").is_file() and next(path.glob("*.mds*"), None) is not None:
        raise DataError(
            f"{path} is a data set of MosaicML Streaming, whose library does not go with the others here",
            expected="its rows in .parquet or .arrow files, or a data set that gives them",
        )
    if path.suffix == ".lance" or (path / "_versions").is_dir():
        raise DataError(
            f"{path} is no whole Lance data set: it has no manifest in _versions",
            expected="the folder as Lance wrote it, with _versions and data",
        )
