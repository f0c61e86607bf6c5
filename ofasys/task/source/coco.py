"""COCO's file of annotations: a row a picture, with its boxes and their names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.shared.read_image import image_size
from ofasys.task.source.row import Row, Rows, Source, pick
from ofasys.task.source.text_file import JsonList
from ofasys.task.source.watch import Watch

PARTS = ("images", "annotations", "categories")
EXPECTED = "COCO's {images: [...], annotations: [...], categories: [...]}"


def open_json_file(path: Path) -> Source:
    """COCO's annotations where the file is one object that has them, else one JSON list of objects."""
    watch = Watch(path)
    with watch:
        data = _annotations(watch.path)
    return JsonList(path) if data is None else Coco(path, data, watch)  # the former says what is wrong


def _annotations(path: Path) -> Mapping[str, Any] | None:
    """What the file holds; None where these are no annotations of COCO."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = file.read(4096).lstrip()[:1]
    if first != "{":
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and len(data.keys() & set(PARTS)) >= 2 else None


class Coco(Rows):
    """A row a picture: `image` (its path), `box` (a list of [x1, y1, x2, y2] in pixels), `label` (a list of names),
    `id`, `width`, `height`, `file_name`.

    The picture lies below the folder of the file, in `images` there or beside, or in the folder that the file is named
    after, as COCO has it. A picture without annotations has empty lists. Crowds (iscrowd=1) are no boxes of an object:
    they are left out, and counted. An annotation that cannot be used is a fault of its picture's row. Errors: DataError
    for a file that is built otherwise.
    """

    watch: Watch

    def __init__(self, path: Path, data: Mapping[str, Any], watch: Watch) -> None:
        self.path, self.root, self.watch = path, path.parent, watch
        images, annotations, categories = (self._part(data, part) for part in PARTS)
        names = self._numbered(categories, "categories", "name")
        self.labels = list(names.values())
        files = self._numbered(images, "images", "file_name")
        self.ids, self.files = list(files), list(files.values())
        self.sizes = [(image.get("width"), image.get("height")) for image in images]
        self.faults: dict[int, str] = {}
        self.crowds = 0
        self._lay(annotations, {number: i for i, number in enumerate(names)})
        self.folders = self._folders()

    def _lay(self, annotations: Sequence[Mapping[str, Any]], kinds: Mapping[Any, int]) -> None:
        """Keep the boxes of each picture: where those of row i begin, and their numbers as arrays. kinds: category id
        -> number."""
        places = {number: i for i, number in enumerate(self.ids)}
        found: list[tuple[int, int, list[float]]] = []
        for k, one in enumerate(annotations):
            where = f"annotations[{k}] (id {one.get('id')!r})"
            row = places.get(_key(one.get("image_id")))
            if row is None:
                raise DataError(
                    f"{self.path.name}, {where}: no image has the id {one.get('image_id')!r}",
                    expected=f"the id of one of the {len(places)} images",
                )
            if one.get("iscrowd") in (1, True):
                self.crowds += 1
                continue
            kind = kinds.get(_key(one.get("category_id")))
            box = _corners(one.get("bbox"))
            if kind is None:
                self.faults.setdefault(row, f"{where}: no category has the id {one.get('category_id')!r}")
            elif box is None:
                self.faults.setdefault(
                    row, f"{where}: bbox is {one.get('bbox')!r:.60}; expected [x, y, width, height] in pixels"
                )
            else:
                found.append((row, kind, box))
        found.sort(key=lambda entry: entry[0])  # stable: in the order of the file
        self.starts = np.searchsorted([row for row, _, _ in found], np.arange(len(self.ids) + 1))
        self.kinds = np.array([kind for _, kind, _ in found], dtype=np.int32)
        self.boxes = np.array([box for _, _, box in found], dtype=np.float64).reshape(-1, 4)

    def __len__(self) -> int:
        return len(self.ids)

    def _row(self, i: int) -> Row:
        if i in self.faults:
            raise DataError(f"{self.path.name}, image {self.ids[i]!r}, {self.faults[i]}", sample=i)
        path = self._file(i)
        self._check_size(i, path, *self.sizes[i])
        return {"image": str(path), **self._values(i)}

    def _values(self, i: int) -> Row:
        """The row without its picture."""
        width, height = self.sizes[i]
        return {
            "box": self.boxes[self.starts[i] : self.starts[i + 1]].tolist(),
            "label": [self.labels[kind] for kind in self.kinds[self.starts[i] : self.starts[i + 1]]],
            "id": self.ids[i],
            "width": width,
            "height": height,
            "file_name": self.files[i],
        }

    def _check_size(self, i: int, path: Path, width: Any, height: Any) -> None:
        """Boxes are in pixels of the size that is written beside them. Errors: DataError where the picture has
        another."""
        said = _side(width), _side(height)
        if None in said or not path.is_file():
            return
        size = image_size(path)
        if size != said:
            raise DataError(
                f"{self.path.name}, image {self.ids[i]!r}: {self.files[i]} is {size[0]} x {size[1]} pixels upright, "
                f"its annotations are for {width} x {height}",
                expected="the picture that was annotated, not resized or turned since",
                sample=i,
            )

    def describe(self) -> str:
        """`instances.json of 40 images and 120 boxes (left out: 3 crowds)`."""
        left = f" (left out: {self.crowds} crowds)" if self.crowds else ""
        return f"{self.path.name} of {len(self)} images and {len(self.boxes)} boxes{left}"

    def column(self, name: str) -> list[Any] | None:
        """All values of a column; of a row at fault None."""
        self.watch.check()
        if name == "image":
            return [str(self._file(i)) for i in range(len(self))]
        return pick(name, self._readable(), self.describe())

    def _readable(self) -> Iterator[Row]:
        for i in range(len(self)):
            yield self._values(i) if i not in self.faults else {}

    def _part(self, data: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
        if part not in data:
            raise DataError(
                f"{self.path.name} holds no {part!r}, only {', '.join(map(repr, data))}",
                expected=f"{EXPECTED}; other rows go into a JSON list of objects",
            )
        entries = data[part]
        if not isinstance(entries, list):
            raise DataError(f"{self.path.name}: {part} is a {type(entries).__name__}", expected=EXPECTED)
        for i, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise DataError(f"{self.path.name}: {part}[{i}] is {entry!r:.60}", expected="an object")
        return entries

    def _numbered(self, entries: Sequence[Mapping[str, Any]], part: str, what: str) -> dict[Any, str]:
        """id -> name of images or categories. Errors: DataError for one without id or name, and for an id given
        twice."""
        found: dict[Any, str] = {}
        for i, entry in enumerate(entries):
            number, name = _key(entry.get("id")), entry.get(what)
            where = f"{self.path.name}: {part}[{i}]"
            if number is None or not isinstance(name, str) or not name:
                raise DataError(f"{where} is {dict(entry)!r:.80}", expected=f"an object with `id` and `{what}`, a text")
            if number in found:
                raise DataError(f"{where}: the id {number!r} is given twice", expected="an id of its own for each")
            found[number] = name
        return found

    def _folders(self) -> list[Path]:
        """Folders where a picture may lie, first the one that has the first of them. Errors: DataError when none has
        any."""
        here = self.path.parent.absolute()
        split = self.path.stem.rpartition("_")[2]  # instances_val2017.json
        able = [here, here / "images", here / split, here.parent, here.parent / split]
        able += [here.parent / "images", here.parent / "images" / split]
        for name in self.files[:20]:
            for folder in able:
                if (folder / name).is_file():
                    return [folder, *(other for other in able if other != folder)]
        if self.files:
            raise DataError(
                f"{self.path.name}: none of the first {len(self.files[:20])} pictures is there, "
                f"such as {self.files[0]!r}",
                expected=f"them in one of {', '.join(map(str, able))}",
            )
        return able

    def _file(self, i: int) -> Path:
        """The picture of a row; where it lies nowhere, the first place it was looked for."""
        paths = [folder / self.files[i] for folder in self.folders]
        return next((path for path in paths if path.is_file()), paths[0])


def _key(number: Any) -> Any:
    """An id that can be looked up: a text or a whole number, 7.0 as 7; None of anything else."""
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if isinstance(number, (str, int)) and not isinstance(number, bool) else None


def _side(length: Any) -> float | None:
    """Pixels of a picture's width or height, which some programs write as 640.0 or as a text; None of what is none."""
    if isinstance(length, bool) or not isinstance(length, (str, int, float)):
        return None
    try:
        return float(length)
    except ValueError:
        return None


def _corners(bbox: Any) -> list[float] | None:
    """[x1, y1, x2, y2] of [x, y, width, height]; None of what is none."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    if not all(isinstance(c, (int, float)) and not isinstance(c, bool) and math.isfinite(c) for c in bbox):
        return None
    x, y, w, h = bbox
    return [x, y, x + w, y + h]
