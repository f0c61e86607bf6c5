"""Short clips of two emoji, one of which does something, in the styles of a split."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image

from ofasys.gallery.emoji.scenes import Backdrop
from ofasys.gallery.tasks.composed import NAMES, Sprites, animation

SIDE, FRAMES = 32, 6
WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
EVENTS = (*(f"moves {way}" for way in WAYS), "appears", "disappears", "grows", "shrinks")
LOW, HIGH = 9, 12  # pixels of a thing's longer side
BIG = 1.6  # what a thing that grows or shrinks is at its largest


@dataclass(frozen=True)
class Clip:
    """What is seen."""

    film: bytes
    """FRAMES pictures of (SIDE, SIDE) in colour, an animated PNG."""
    name: str
    """Of the thing that does something."""
    event: str
    """Of `EVENTS`."""
    still: str
    """The name of the thing that stands still."""


def film(sprites: Sprites, random: Random, event: str) -> Clip:
    """A clip of this event. The thing that stands still has one half of the picture, the other thing the other."""
    name, still = random.sample(NAMES, 2)
    backdrop = Backdrop.random(random, textured=False)
    along = 0 if event in ("moves left", "moves right") else 1 if event.startswith("moves") else random.randrange(2)
    acting = random.randrange(2)  # which half, across the way
    style, size = random.choice(sprites.styles), random.randint(LOW, HIGH)
    other = sprites(still, random.choice(sprites.styles), random.randint(LOW, HIGH))
    place = _in_half(random, 1 - acting, along, other.size)
    turn, path = random.randint(2, FRAMES - 2), _path(random, event, along, acting)
    frames = []
    for i in range(FRAMES):
        canvas = backdrop.draw(SIDE)
        canvas.paste(other, place, other)
        share = i / (FRAMES - 1)
        if not (event == "appears" and i < turn) and not (event == "disappears" and i >= turn):
            scale = {"grows": share, "shrinks": 1 - share}.get(event)
            side = size if scale is None else round(7 + scale * (size * BIG - 7) * 0.8)
            drawn = sprites(name, style, side)
            (x1, y1), (x2, y2) = path
            x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share
            canvas.paste(drawn, (round(x - drawn.width / 2), round(y - drawn.height / 2)), drawn)
        frames.append(canvas)
    return Clip(animation(apart(frames)), name, event, still)


def _in_half(random: Random, half: int, along: int, size: tuple[int, int]) -> tuple[int, int]:
    place = [0, 0]
    place[along] = random.randint(0, SIDE - size[along])
    across = 1 - along
    place[across] = half * SIDE // 2 + random.randint(0, SIDE // 2 - size[across])
    return place[0], place[1]


def _path(random: Random, event: str, along: int, acting: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """The middle of what acts, at the beginning and at the end."""
    begin, edge = [0.0, 0.0], HIGH / 2
    begin[1 - along] = acting * SIDE / 2 + SIDE / 4
    if not event.startswith("moves"):
        begin[along] = random.uniform(edge + 3, SIDE - edge - 3)
        return (begin[0], begin[1]), (begin[0], begin[1])
    sign = sum(WAYS[event.removeprefix("moves ")])
    length = random.uniform(0.6, 1) * (SIDE - 2 * edge)
    first = random.uniform(edge, SIDE - edge - length)
    begin[along] = first if sign > 0 else first + length
    end = list(begin)
    end[along] += sign * length
    return (begin[0], begin[1]), (end[0], end[1])


def apart(frames: list[Image.Image]) -> list[Image.Image]:
    """Frames of which none is like the one before, since a writer of animations joins those: one pixel of a corner
    turns grey and back.
    """
    for i, frame in enumerate(frames):
        if i % 2:
            frame.putpixel((SIDE - 1, SIDE - 1), (128, 128, 128))
    return frames
