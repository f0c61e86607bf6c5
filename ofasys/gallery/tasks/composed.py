"""Scenes composed of emoji in the styles of a split: those of test rows are drawn as none of training is.

A scene is a function of (seed, split, index): `Random` draws what is in it, where, and how large.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random

from PIL import Image

from ofasys.gallery.emoji.scenes import Backdrop
from ofasys.gallery.tasks.captions import PACKAGE, drawings
from ofasys.gallery.tasks.task import Data, Row, Splits

OBJECTS = {
    "1f333": "tree",
    "1f355": "pizza",
    "1f3e0": "house",
    "1f41f": "fish",
    "2b50": "star",
    "1f427": "penguin",
    "1f34c": "banana",
    "1f347": "bunch of grapes",
    "1f98b": "butterfly",
    "1f40c": "snail",
    "1f418": "elephant",
    "2708": "plane",
    "26f5": "boat",
    "1f6b2": "bicycle",
    "1f697": "car",
    "1f3b8": "guitar",
    "26bd": "ball",
    "1f511": "key",
    "1f514": "bell",
    "1f383": "pumpkin",
}
NAMES = tuple(OBJECTS.values())
STYLES = {"train": ("noto", "fluent-emoji-flat"), "valid": ("twemoji",), "test": ("openmoji",)}
PACKAGES = tuple(PACKAGE + style for styles in STYLES.values() for style in styles)
UNSEEN = (
    "Noto and Fluent draw the training rows, Twemoji the valid and OpenMoji the test rows: no drawing is in two "
    "splits, while each kind of thing is in all."
)
"""What `STYLES` means for the splits, in words."""
COUNTS = {"train": 6000, "valid": 300, "test": 1000}  # rows
SIDE = 64  # pixels of a scene
SMALLEST, LARGEST = 18 / 64, 26 / 64  # longer side of an object, as a share of the scene's
FAINT = 32  # alpha below this is no part of what a box holds
TRIES = 12  # places that an object is tried at before all become smaller

Box = tuple[int, int, int, int]


class Sprites:
    """The objects in some styles."""

    def __init__(self, data: Data, styles: Sequence[str]) -> None:
        self.styles = styles
        self._known: dict[tuple[str, str, int], Image.Image] = {}
        self._whole: dict[tuple[str, str], Image.Image] = {}
        for style in self.styles:
            draw = drawings(data.archive(PACKAGE + style))
            for codes, name in OBJECTS.items():
                drawn = draw(codes)
                assert drawn is not None, (style, name)
                self._whole[name, style] = _visible(drawn)

    def __call__(self, name: str, style: str, side: int) -> Image.Image:
        """Cut to its visible part, the longer side about `side` pixels, with alpha. Shared: not to be changed."""
        key = name, style, side
        if key not in self._known:
            whole = self._whole[name, style]
            width, height = (max(1, round(length * side / max(whole.size))) for length in whole.size)
            self._known[key] = _visible(whole.resize((width, height), Image.Resampling.LANCZOS))
        return self._known[key]


def _visible(image: Image.Image) -> Image.Image:
    alpha = image.getchannel("A").point([0 if value < FAINT else value for value in range(256)])
    image = image.copy()
    image.putalpha(alpha)
    return image.crop(alpha.getbbox())


@dataclass(frozen=True)
class Item:
    """An object in a scene."""

    name: str
    """Of `NAMES`."""
    sprite: Image.Image
    """As it is pasted."""
    box: Box
    """The pixels it spans: x1, y1, x2, y2; ends excluded."""

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the middle of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True)
class Scene:
    """Objects on a pale background, none over another, in the order left to right."""

    backdrop: Backdrop
    """What lies below."""
    items: tuple[Item, ...]
    """The objects."""

    def picture(self) -> Image.Image:
        """(SIDE, SIDE) in colour."""
        canvas = self.backdrop.draw(SIDE)
        for item in self.items:
            canvas.paste(item.sprite, item.box[:2], item.sprite)
        return canvas

    @property
    def names(self) -> list[str]:
        """Of its items, left to right."""
        return [item.name for item in self.items]


def compose(sprites: Sprites, random: Random, names: Sequence[str]) -> Scene:
    """A scene of exactly these objects."""
    backdrop = Backdrop.random(random, textured=False)
    styles = [random.choice(sprites.styles) for _ in names]
    low, high = round(SIDE * SMALLEST), round(SIDE * LARGEST)
    for attempt in count():
        sizes = [random.randint(low, max(low, high - attempt)) for _ in names]
        drawn = [sprites(*one) for one in zip(names, styles, sizes, strict=True)]
        boxes = places(random, [one.size for one in drawn], SIDE)
        if boxes is not None:
            items = (Item(*one) for one in zip(names, drawn, boxes, strict=True))
            return Scene(backdrop, tuple(sorted(items, key=lambda item: item.box[:2])))
    raise AssertionError("unreachable")


def places(random: Random, sizes: Sequence[tuple[int, int]], side: int) -> list[Box] | None:
    """A place for each (width, height), none over another; None where one found none."""
    found: list[Box] = []
    for width, height in sizes:
        for _ in range(TRIES):
            x, y = random.randint(0, side - width), random.randint(0, side - height)
            box = (x, y, x + width, y + height)
            if not any(_meet(box, other) for other in found):
                found.append(box)
                break
        else:
            return None
    return found


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def several(sprites: Sprites, random: Random, low: int, high: int) -> Scene:
    """Different objects, `low` to `high` of them."""
    return compose(sprites, random, random.sample(NAMES, random.randint(low, high)))


def splits(row: Callable[[Sprites, Random, int], Row], data: Data, name: str) -> Splits:
    """As many rows as `COUNTS` says, row `index` of a split made by `row(sprites, random, index)`."""
    found = {}
    for split, rows in COUNTS.items():
        make = partial(row, Sprites(data, STYLES[split]))
        found[split] = [make(Random(f"{name}/{split}/{index}"), index) for index in range(rows)]
    return found


def animation(frames: Sequence[Image.Image]) -> bytes:
    """Pictures of one size -> an animated PNG."""
    file = io.BytesIO()
    frames[0].save(file, "png", save_all=True, append_images=list(frames[1:]), duration=100)
    return file.getvalue()


def article(name: str) -> str:
    """A name with `a` or `an`."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
