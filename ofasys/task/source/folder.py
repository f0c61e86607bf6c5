"""A folder -> the source of its rows: what `save_to_disk` wrote, a YOLO folder, or else a folder of images."""

from __future__ import annotations

from pathlib import Path

from ofasys.errors import DataError
from ofasys.task.source.images import ImageFolder
from ofasys.task.source.row import Source
from ofasys.task.source.saved_dataset import SavedDataset, is_saved
from ofasys.task.source.yolo import is_yolo, open_yolo


def open_folder(path: Path) -> Source:
    """path: a folder, or the `data.yaml` of a YOLO data set. Errors: DataError for one that holds no rows or cannot be
    opened."""
    try:
        if path.is_file() or is_yolo(path):
            return open_yolo(path)
        return SavedDataset(path) if is_saved(path) else ImageFolder(path)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}") from None
