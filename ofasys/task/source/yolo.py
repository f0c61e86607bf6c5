"""A YOLO folder: a row a picture, its boxes read from the text file of its name."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ofasys.errors import DataError, LoadingError
from ofasys.modality.shared.image_files import image_files
from ofasys.modality.shared.read_image import image_size
from ofasys.task.source.row import Row, Rows, pick
from ofasys.task.source.watch import STAYS, Watch, settled_all

SPLITS = ("train", "val", "valid", "test")
EXPECTED = (
    "lines `class cx cy width height`, shares of the picture's sides, or `class x1 y1 x2 y2 x3 y3 ...` of an outline"
)
ONE_FOLDER = "the path of one folder of pictures, in it or given itself"

_NAMES, _SPLIT = re.compile(rb"^names\s*:", re.M), re.compile(rb"^(train|val|valid|test)\s*:", re.M)
_HEAD = 2**20  # bytes of a YAML file in which they are looked for

_log = logging.getLogger("ofasys")


def is_yolo(folder: Path) -> bool:
    """Whether a folder has the pictures and labels of YOLO: `data.yaml`, or `images` and `labels` in it or above it."""
    about = _about_in(folder)
    if about is not None and _SPLIT.search(about.read_bytes()[:_HEAD]):
        return True
    labels = folder / "labels" if (folder / "images").is_dir() else _labels_of(folder)
    return labels is not None and labels.is_dir() and next(labels.rglob("*.txt"), None) is not None


def open_yolo(path: Path) -> Yolo:
    """The rows of a YOLO folder, of one of its splits, or of what a `data.yaml` names. Errors: DataError as `Yolo`, and
    where a choice between several splits is left."""
    path = path.absolute()
    about = path if path.is_file() else _about(path)
    described = _described(about) if about is not None else {}
    if path.is_file() or (about is not None and about.parent == path):
        splits = {name: _split(about, described, name) for name in SPLITS if described.get(name)}
    else:
        splits = {}
    if not splits and path.is_dir() and (path / "images").is_dir():
        inside = {name: path / "images" / name for name in SPLITS if (path / "images" / name).is_dir()}
        splits = inside if len(inside) > 1 else {"": path / "images"}
    if len(set(splits.values())) > 1:
        raise DataError(
            f"{path} has {len(splits)} splits: {', '.join(splits)}",
            expected=f"the folder of one: {', '.join(str(folder) for folder in splits.values())}",
        )
    if path.is_file() and not splits:
        raise DataError(f"{path} names no folder", expected="`train:`, `val:` or `test:`, the folder of its pictures")
    folder = next(iter(splits.values()), path)
    pictures = folder / "images" if (folder / "images").is_dir() else folder
    return Yolo(pictures, _names(about, described, folder), "kpt_shape" in described)


class Yolo(Rows):
    """A row a picture: `image` (its path), `box` (a list of [x1, y1, x2, y2] in pixels), `label` (a list of names),
    `path` (within the folder).

    The labels of `images/a/b.jpg` are in `labels/a/b.txt`, or beside it where there is no folder `labels`; where there
    is no file, the picture has no object. An outline is the box around it. names: of the classes by number; without
    them labels are numbers. keypoints: whether they follow the box in each line; they are not read. A line that cannot
    be read is a fault of its picture's row. Errors: DataError when the folder holds no picture.
    """

    def __init__(self, folder: Path, names: Mapping[int, str] | None, keypoints: bool = False) -> None:
        self.folder, self.root, self.names, self.keypoints = folder, folder, names, keypoints
        found = image_files(folder) if folder.is_dir() else None
        if found is None or not found.paths:
            raise DataError(f"the folder {folder} holds no image", expected="the pictures of a YOLO data set")
        self.paths = found.paths
        labels = _labels_of(folder)
        self.labels = labels if labels is not None and labels.is_dir() else folder
        self.stamps = settled_all([self.labels_of(i) for i in range(len(self.paths))])
        self.unlabelled = int((self.stamps[:, 0] < 0).sum())
        besides = {kind: n for kind, n in found.left_out.items() if kind != ".txt" or self.labels != folder}
        self.besides = ", ".join(f"{n} {kind}" for kind, n in besides.items())
        if self.unlabelled == len(self.paths):
            raise DataError(
                f"none of the {len(self.paths)} pictures in {folder} has a file of labels in {self.labels}",
                expected=f"{self.labels_of(0).name} there, and so on; {EXPECTED}",
            )
        if names is None:
            _log.warning(
                f"{folder}: the classes have no names, so labels are their numbers; "
                "write a data.yaml with `names:` above it"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def _row(self, i: int) -> Row:
        lines = self._objects(i)
        path = self.folder / self.paths[i]
        width, height = image_size(path) if lines else (0, 0)
        boxes = [[x1 * width, y1 * height, x2 * width, y2 * height] for _, (x1, y1, x2, y2) in lines]
        return {"image": str(path), "box": boxes, "label": [name for name, _ in lines], "path": self.paths[i]}

    def labels_of(self, i: int) -> Path:
        """Where the labels of a picture are."""
        return (self.labels / self.paths[i]).with_suffix(".txt")

    def _objects(self, i: int) -> list[tuple[str, tuple[float, float, float, float]]]:
        """Those of a picture. Errors: LoadingError when its labels have changed since the folder was opened."""
        file = self.labels_of(i)
        if self.stamps[i, 0] >= 0:
            size, written, node = self.stamps[i].tolist()
            with Watch(file, (size, written, node)):
                return list(self._lines(i))
        if file.exists():
            raise LoadingError(f"{file} has come since the folder was opened", expected=STAYS)
        return []

    def _lines(self, i: int) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
        """(name, left, top, right, bottom as shares) of each object. Errors: DataError naming file and line."""
        file = self.labels_of(i)
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{file} cannot be read: {error}", expected=EXPECTED, sample=i) from None
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                try:
                    yield self._object(line.split()[: 5 if self.keypoints else None])
                except ValueError as error:
                    what = f"{os.path.relpath(file, self.folder.parent)}, line {number}: {line.strip()!r:.80}: {error}"
                    raise DataError(what, expected=EXPECTED, sample=i) from None

    def _object(self, words: list[str]) -> tuple[str, tuple[float, float, float, float]]:
        """Errors: ValueError that says what is wrong with the line."""
        if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            more = "; a last number that is how sure a model was has to go" if len(words) == 6 else ""
            raise ValueError(f"{len(words)} numbers{more}")
        kind, numbers = float(words[0]), [float(word) for word in words[1:]]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("not finite")
        if not kind.is_integer() or kind < 0 or (self.names is not None and int(kind) not in self.names):
            known = "" if self.names is None else f"; there are {len(self.names)}"
            raise ValueError(f"no class {words[0]}{known}")
        if max(map(abs, numbers)) > 2:
            raise ValueError("numbers beyond the picture; they are shares of its sides, and not pixels")
        if len(numbers) == 4:
            x, y, w, h = numbers
            corners = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        else:
            corners = (min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]))
        return str(int(kind)) if self.names is None else self.names[int(kind)], corners

    def describe(self) -> str:
        """`YOLO folder train/images of 40 images, 3 without labels`."""
        without = f", {self.unlabelled} without labels" if self.unlabelled else ""
        besides = f" (left out: {self.besides})" if self.besides else ""
        return f"YOLO folder {self.folder.parent.name}/{self.folder.name} of {len(self)} images{without}{besides}"

    def column(self, name: str) -> list[Any] | None:
        """All values of a column; None of boxes, for which each picture would have to be opened."""
        return None if name == "box" else pick(name, self._readable(), self.describe())

    def _readable(self) -> Iterator[Row]:
        for i in range(len(self)):
            try:
                labels = [name for name, _ in self._objects(i)]
            except LoadingError:
                raise
            except DataError:  # said when the row itself is read
                labels = []
            yield {"image": str(self.folder / self.paths[i]), "label": labels, "path": self.paths[i]}


def _labels_of(folder: Path) -> Path | None:
    """`data/labels/train` of `data/images/train`; None of a folder that lies in no `images`."""
    parts = list(folder.absolute().parts)
    places = [i for i, part in enumerate(parts) if part == "images"]
    if not places:
        return None
    parts[places[-1]] = "labels"
    return Path(*parts)


def _about(folder: Path) -> Path | None:
    """The `data.yaml` of a folder: in it, or at most three above it."""
    found = (_about_in(place) for place in (folder, *list(folder.parents)[:3]))
    return next((about for about in found if about is not None), None)


def _about_in(folder: Path) -> Path | None:
    """`data.yaml`, else the first YAML that names classes."""
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")], key=lambda file: (file.stem != "data", file.name))
    return next((file for file in files if _NAMES.search(file.read_bytes()[:_HEAD])), None)


def _described(about: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(about.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise DataError(
            f"{about} is no YAML: {' '.join(str(error).split())}", expected="`names:` and `train:`"
        ) from None
    if not isinstance(found, dict):
        raise DataError(f"{about} holds a {type(found).__name__}", expected="`names:` and `train:`")
    return found


def _split(about: Path | None, described: Mapping[str, Any], name: str) -> Path:
    """The folder of a split. Errors: DataError when it is not there, or is no folder."""
    assert about is not None
    given = described[name]
    if not isinstance(given, str):
        raise DataError(f"{about}: {name} is {given!r:.60}", expected=ONE_FOLDER)
    inner = given.removeprefix("../")  # as Roboflow writes it, from a folder that is not there
    places = [about.parent / str(described.get("path") or "") / given, about.parent / given, about.parent / inner]
    for place in places:
        if place.is_dir():
            return Path(os.path.normpath(place))
        if place.is_file():
            raise DataError(f"{about}: {name} is {given!r}, a list of pictures in a file", expected=ONE_FOLDER)
    raise DataError(
        f"{about}: {name} is {given!r}, and there is no such folder",
        expected=f"a folder of pictures at {places[1]}, or its path given itself",
    )


def _names(about: Path | None, described: Mapping[str, Any], folder: Path) -> dict[int, str] | None:
    """Class -> name, by `names:` or a file `classes.txt`; None where neither is there."""
    if "names" in described:
        return _checked(about, described)
    labels = _labels_of(folder) or folder / "labels"
    for place in (labels, labels.parent, folder, folder.parent):
        if (place / "classes.txt").is_file():
            lines = (place / "classes.txt").read_text(encoding="utf-8-sig").splitlines()
            return {i: line.strip() for i, line in enumerate(lines) if line.strip()}
    return None


def _checked(about: Path | None, described: Mapping[str, Any]) -> dict[int, str]:
    """`names:`, a list or a mapping of numbers. Errors: DataError where a name is none to YAML, or `nc` is another
    number."""
    given = described["names"]
    listed = dict(enumerate(given)) if isinstance(given, list) else given
    if not isinstance(listed, dict) or not listed or not all(isinstance(i, int) for i in listed):
        raise DataError(
            f"{about}: names is {given!r:.60}", expected="a list of names, or a mapping of class numbers to names"
        )
    for i, name in listed.items():
        if isinstance(name, bool) or not isinstance(name, (str, int, float)) or not str(name).strip():
            raise DataError(
                f"{about}: to YAML the name of class {i} is {name!r}", expected="a name; put it into quotes"
            )
    if isinstance(described.get("nc"), int) and described["nc"] != len(listed):
        raise DataError(
            f"{about}: nc is {described['nc']}, and there are {len(listed)} names", expected="as many names as nc"
        )
    return {i: str(name) for i, name in listed.items()}
