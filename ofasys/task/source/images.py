"""A folder of images: a row each."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ofasys.errors import DataError
from ofasys.modality.shared.image_files import image_files
from ofasys.task.source.row import Row, Rows, pick

_log = logging.getLogger("ofasys")


class ImageFolder(Rows):
    """All images below a folder, by path: `image` (to open), `path` (within the folder), `label` (the folder it lies
    in).

    Links are followed. What is no image is left out, and said: its kind and how many. Where all of them lie in the
    folder itself there is no column `label`; an image that lies beside labelled folders has None.
    """

    def __init__(self, path: Path) -> None:
        self.root, self.folder = path, path.absolute()  # rows hold whole paths, which no root changes
        try:
            found = image_files(path)
        except OSError as error:
            raise DataError(f"the folder {path} cannot be opened: {error.strerror or error}") from None
        self.paths, self.besides = found.paths, found.besides()
        if not self.paths:
            there = f"; it holds {self.besides}" if self.besides else ""
            raise DataError(
                f"the folder {path} holds no image{there}",
                expected="files .png .jpg .webp .tiff or of another suffix that Pillow reads, in it or below it; "
                "or the annotations of detection: a COCO .json file, a YOLO folder",
            )
        if set(found.left_out) - {"hidden"}:
            _log.warning(f"the folder {path}: {len(self.paths)} images; left out: {self.besides}")
        self.labelled = any("/" in one for one in self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def _row(self, i: int) -> Row:
        row: Row = {"image": str(self.folder / self.paths[i]), "path": self.paths[i]}
        return row | {"label": Path(self.paths[i]).parent.name or None} if self.labelled else row

    def describe(self) -> str:
        """`folder birds of 40 images (left out: 2 .txt, 1 hidden)`."""
        besides = f" (left out: {self.besides})" if self.besides else ""
        return f"folder {self.folder.name} of {len(self)} images{besides}"

    def column(self, name: str) -> list[Any]:
        """All values of a column."""
        return pick(name, (self._row(i) for i in range(len(self))), self.describe())
