"""A folder of images: a row each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ofasys.errors import DataError
from ofasys.task.source.row import Row, Rows, pick

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


class ImageFolder(Rows):
    """All images below a folder, by path: `image` (to open), `path` (within the folder), `label` (the folder it lies in).

    Where all of them lie in the folder itself there is no column `label`; an image that lies beside labelled folders has None.
    """

    def __init__(self, path: Path) -> None:
        self.root, self.folder = path, path
        found = (Path(at) / name for at, _, names in os.walk(path) for name in names)
        images = (file for file in found if file.suffix.lower() in IMAGES and not file.name.startswith("."))
        self.paths = sorted(file.relative_to(path).as_posix() for file in images)
        if not self.paths:
            raise DataError(f"the folder {path} holds no image", expected=f"files {' '.join(IMAGES)}")
        self.labelled = any("/" in one for one in self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def _row(self, i: int) -> Row:
        row: Row = {"image": str(self.folder / self.paths[i]), "path": self.paths[i]}
        return row | {"label": Path(self.paths[i]).parent.name or None} if self.labelled else row

    def describe(self) -> str:
        """`folder birds of 40 images`."""
        return f"folder {self.folder.name} of {len(self)} images"

    def column(self, name: str) -> list[Any]:
        """All values of a column."""
        return pick(name, (self._row(i) for i in range(len(self))), self.describe())
