"""Regions of maps, each with the box of its largest part: exact, since a region is what has one colour."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from ofasys.gallery.tasks.fashion import png_of
from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Row

PACKAGE = "kgeography-data"
FOLDER = "usr/share/kgeography"
SIDE = 128  # pixels of a map as it is shown, a square
SMALLEST = 5  # pixels of a box's shorter side there


@dataclass(frozen=True)
class Map:
    """A map and what can be asked of it."""

    name: str
    """As the package calls it."""
    picture: bytes
    """A PNG, (SIDE, SIDE) in colour."""
    regions: tuple[tuple[str, tuple[int, int, int, int]], ...]
    """Name and box of each that is large enough: x1, y1, x2, y2 in pixels; ends excluded."""


def maps(data: Data) -> Iterator[tuple[str, Map]]:
    """(split, map) of each that is asked about, by name; maps whose names begin with the same word are in one."""
    files = dict(data.archive(PACKAGE).files(f"{FOLDER}/*"))
    for path in sorted(files):
        if path.endswith(".kgm"):
            found = _map(PurePosixPath(path).stem, files)
            if found.regions:
                yield part(found.name.split("_")[0], test=15), found


def _map(name: str, files: dict[str, bytes]) -> Map:
    told = ElementTree.fromstring(files[f"{FOLDER}/{name}.kgm"])
    with Image.open(io.BytesIO(files[f"{FOLDER}/{told.findtext('mapFile')}"])) as opened:
        picture = opened.convert("RGB")
    pixels = np.asarray(picture, np.int64) @ np.array([1 << 16, 1 << 8, 1])
    scale = SIDE / picture.width, SIDE / picture.height
    regions = []
    for division in told.iter("division"):
        called = (division.findtext("name") or "").strip()
        colour = sum(
            int(division.findtext(f"color/{c}") or 0) << b for c, b in (("red", 16), ("green", 8), ("blue", 0))
        )
        if division.findtext("ignore") != "yes" and called and (box := largest_part(pixels == colour)) is not None:
            x1, y1, x2, y2 = (round(value * scale[i % 2]) for i, value in enumerate(box))
            if min(x2 - x1, y2 - y1) >= SMALLEST:
                regions.append((called, (x1, y1, x2, y2)))
    return Map(name, png_of(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)), tuple(regions))


def largest_part(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """(H, W) -> the box of the largest part that hangs together by sides: x1, y1, x2, y2; None for an empty mask."""
    parts: dict[int, list[int]] = {}  # number -> box, pixels
    above: list[tuple[int, int, int]] = []  # runs of the row above: first, end, number
    joined: dict[int, int] = {}

    def root(number: int) -> int:
        while joined[number] != number:
            number = joined[number]
        return number

    filled = np.flatnonzero(mask.any(1)).tolist()
    for y in range(filled[0], filled[-1] + 1) if filled else ():
        edges = np.flatnonzero(np.diff(mask[y].astype(np.int8), prepend=0, append=0)).tolist()
        runs = []
        for first, end in zip(edges[::2], edges[1::2], strict=True):
            own = [first, y, end, y + 1, end - first]
            number = len(joined)
            joined[number], parts[number] = number, own
            for other_first, other_end, other in above:
                if other_first < end and first < other_end and (other := root(other)) != number:
                    _join(parts[number], parts.pop(other))
                    joined[other] = number
            runs.append((first, end, number))
        above = runs
    if not parts:
        return None
    x1, y1, x2, y2, _ = max(parts.values(), key=lambda one: one[4])
    return x1, y1, x2, y2


def _join(one: list[int], other: list[int]) -> None:
    one[:] = [
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
        one[4] + other[4],
    ]


def rows(data: Data) -> dict[str, list[Row]]:
    """{"img", "map", "name", "box"} of each region, by split."""
    found: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for split, one in maps(data):
        for name, box in one.regions:
            found[split].append({"img": one.picture, "map": one.name, "name": name, "box": list(box)})
    return found
