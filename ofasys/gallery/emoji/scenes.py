"""Scenes composed of eight common emoji, with exact boxes.

A scene is a function of a random generator and of what it should hold. `compose` says where everything stands
(cheap); `Scene.image` draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ofasys.gallery.emoji.pack import STYLES, Drawing, load

# What scenes hold: both drawings of each are training drawings (see pack).
OBJECTS = {
    "2764": "heart",
    "1F333": "tree",
    "1F355": "pizza",
    "1F3E0": "house",
    "1F41F": "fish",
    "2B50": "star",
    "2602": "umbrella",
    "1F427": "penguin",
}
NAMES = tuple(OBJECTS.values())
FAINT = 16  # alpha below this is taken away, so that a box ends where something can be seen
SMALLEST, LARGEST = 22 / 64, 30 / 64  # longer side of an object, as a share of the canvas

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Backdrop:
    """A pale background: plain, a gradient, or a gradient with a light texture."""

    first: tuple[int, int, int] = (255, 255, 255)
    """RGB, 0..255, where the gradient begins."""
    last: tuple[int, int, int] = (255, 255, 255)
    """RGB, 0..255, where it ends; the same as `first` where it is plain."""
    direction: int = 0
    """Of the gradient: right, down, or one of the two diagonals."""
    texture: int | None = None
    """Which of the ready-made textures; None: none."""

    @classmethod
    def random(cls, rng: Random, *, textured: bool = True) -> Backdrop:
        """A third plain, a third gradient, a third textured."""
        first = (rng.randint(185, 255), rng.randint(185, 255), rng.randint(185, 255))
        last = (rng.randint(185, 255), rng.randint(185, 255), rng.randint(185, 255))
        kind, direction, texture = rng.randrange(3), rng.randrange(4), rng.randrange(TEXTURES)
        return cls(first, last if kind else first, direction, texture if textured and kind == 2 else None)

    def draw(self, size: int) -> Image.Image:
        """The background alone, RGB."""
        if self.first == self.last and self.texture is None:
            return Image.new("RGB", (size, size), self.first)
        first, last = np.array(self.first, np.float32), np.array(self.last, np.float32)
        pixels = first + _ramp(size, self.direction) * (last - first)
        if self.texture is not None:
            pixels += _texture(size, self.texture)
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Item:
    """One pasted object: its name, its style, and the pixels its visible part spans (x1, y1, x2, y2; ends excluded)."""

    name: str
    style: str
    box: Box
    side: int
    """The size asked for, in pixels, which picks the sprite."""

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the middle of the box."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2


@dataclass(frozen=True)
class Scene:
    """Objects on a background. Boxes do not overlap; items stand in the order left to right (x1, then y1)."""

    size: int
    """Height and width, in pixels."""
    backdrop: Backdrop
    items: tuple[Item, ...]

    @property
    def image(self) -> Image.Image:
        """The scene as an RGB image, size x size."""
        return self.over(self.backdrop.draw(self.size))

    def over(self, canvas: Image.Image) -> Image.Image:
        """The objects pasted onto `canvas`, which is changed and returned."""
        for item in self.items:
            drawn = sprite(item.name, item.style, item.side)
            canvas.paste(drawn, item.box[:2], drawn)
        return canvas

    def named(self, name: str) -> tuple[Item, ...]:
        """The items of this name."""
        return tuple(item for item in self.items if item.name == name)


def compose(rng: Random, names: Sequence[str], size: int = 64) -> Scene:
    """A scene of exactly these objects, each in a style, a size and a place chosen by `rng`."""
    backdrop = Backdrop.random(rng)
    styles = [rng.choice(STYLES) for _ in names]
    low, high = round(size * SMALLEST), round(size * LARGEST)
    for attempt in count():  # objects get smaller while they do not fit
        placed = _place(rng, names, styles, size, low, max(low, high - attempt * (high - low) // 16))
        if placed is not None:
            return Scene(size, backdrop, tuple(sorted(placed, key=lambda item: item.box[:2])))
    raise AssertionError("unreachable")


def _place(
    rng: Random, names: Sequence[str], styles: Sequence[str], size: int, low: int, high: int
) -> list[Item] | None:
    placed: list[Item] = []
    for name, style in zip(names, styles, strict=True):
        side = rng.randint(low, high)
        width, height = sprite(name, style, side).size
        for _ in range(12):
            x, y = rng.randint(0, size - width), rng.randint(0, size - height)
            box = (x, y, x + width, y + height)
            if not any(_meet(box, other.box) for other in placed):
                placed.append(Item(name, style, box, side))
                break
        else:
            return None
    return placed


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@cache
def sprite(name: str, style: str, side: int) -> Image.Image:
    """The object cut to its visible part, the longer side about `side` pixels. RGBA, shared: not to be changed."""
    whole = _visible(_palette()[name, style].image)
    scale = side / max(whole.size)
    width, height = (max(1, round(length * scale)) for length in whole.size)
    return _visible(whole.resize((width, height), Image.Resampling.LANCZOS))


def _visible(image: Image.Image) -> Image.Image:
    """Without the faintest pixels, and cut to what is left."""
    alpha = image.getchannel("A").point([0 if value < FAINT else value for value in range(256)])
    image = image.copy()
    image.putalpha(alpha)
    return image.crop(alpha.getbbox())


@cache
def _palette() -> dict[tuple[str, str], Drawing]:
    return {(OBJECTS[d.hexcode], d.style): d for d in load() if d.hexcode in OBJECTS}


@cache
def _ramp(size: int, direction: int) -> NDArray[np.float32]:
    line = np.linspace(0, 1, size, dtype=np.float32)
    x, y = line[None, :], line[:, None]
    both = (x + 0 * y, y + 0 * x, (x + y) / 2, (x + 1 - y) / 2)[direction]
    return np.asarray(both, np.float32)[..., None]


TEXTURES = 8


@cache
def _texture(size: int, which: int) -> NDArray[np.float32]:
    """Soft clouds and a little grain, the same in each channel, about +-12."""
    rng = Random(f"texture/{which}")
    coarse = Image.new("L", (6, 6))
    coarse.putdata([rng.randrange(256) for _ in range(36)])
    clouds = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    grain = np.frombuffer(rng.randbytes(size * size), dtype=np.uint8).reshape(size, size).astype(np.float32)
    return ((clouds - 128) * 0.08 + (grain - 128) * 0.04)[..., None]
