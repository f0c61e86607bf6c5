"""A short clip, captioned: what moves, and what it does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from PIL import Image

from ofasys.gallery.emoji.pack import STYLES
from ofasys.gallery.emoji.scenes import NAMES, sprite
from ofasys.gallery.pages.page import Asked, Line, Page, Shown
from ofasys.gallery.rows import Rows
from ofasys.modality.shared import media

if TYPE_CHECKING:
    from ofasys.task.task import Task

SIDE, FRAMES = 32, 4
EVENTS = ("moves left", "moves right", "moves up", "moves down", "appears", "disappears")
TEST = 192
LINE = Line("video", f"[VIDEO:clip,frames={FRAMES},size={SIDE},patch=16] what happens? -> [TEXT:cap]", "exact_match")


def clip(name: str, event: str, random: Random, size: int = SIDE) -> list[Image.Image]:
    """FRAMES pictures (size x size) of one thing in front of a background that stands still."""
    back = Image.new("RGB", (size, size), tuple(random.randint(90, 160) for _ in range(3)))
    style, side = random.choice(STYLES), round(size * random.uniform(0.36, 0.48))
    way = {"moves left": (-1, 0), "moves right": (1, 0), "moves up": (0, -1), "moves down": (0, 1)}.get(event, (0, 0))
    room = size - side
    path = round(room * random.uniform(0.75, 1.0))
    x, y = (_begin(random, room, path, step) for step in way)
    thing = sprite(name, style, side)
    turn = random.randint(1, FRAMES - 1)  # the frame at which it appears or is gone
    frames = []
    for i in range(FRAMES):
        along = i / (FRAMES - 1)
        frame = back.copy()
        if not (event == "appears" and i < turn) and not (event == "disappears" and i >= turn):
            centre = (x + side / 2 + way[0] * path * along, y + side / 2 + way[1] * path * along)
            place = (round(centre[0] - thing.width / 2), round(centre[1] - thing.height / 2))
            frame.paste(thing, place, thing)
        frames.append(frame)
    return frames


def rows(split: str, count: int, seed: int = 0) -> Rows:
    """{"clip": pictures, "cap"}: no clip of `test` is one of `train`, though what happens in it is."""
    return Rows(partial(_row, split=split, seed=seed), count)


def _row(index: int, *, split: str, seed: int) -> dict[str, Any]:
    random = Random(f"{seed}/video/{split}/{index}")
    if split == "test":  # each pair as often
        turn = index // len(NAMES)
        name, event = NAMES[(index + turn) % len(NAMES)], EVENTS[turn % len(EVENTS)]
    else:
        name, event = random.choice(NAMES), random.choice(EVENTS)
    return {"clip": clip(name, event, random), "cap": f"the {name} {event}"}


def _begin(random: Random, room: int, path: int, step: int) -> int:
    """Where a thing stands first along one axis, so that it stays in the picture."""
    if not step:
        return random.randint(0, room)
    start = random.randint(0, max(0, room - path))
    return start if step > 0 else room - start


def _tasks(asked: Asked) -> Sequence[Task]:
    return [
        LINE.task(
            rows("train", asked.some(20_000), asked.seed),
            test=rows("test", asked.some(TEST, 8), asked.seed),
            micro_batch_size=asked.some(8, 4),
            generate={"max_length": 12},
        )
    ]


def _show(shown: Shown) -> str:
    judged = shown.tasks["video"]
    cards = []
    for i in media.spread(len(judged.rows)):
        film = media.film(judged.rows[i]["clip"], 0.35, 128)
        cards.append(media.card(film, media.verdict(judged.predictions[i]["cap"], judged.references[i]["cap"])))
    return media.row(cards)


PAGE = Page(
    "video",
    "A short video, captioned",
    "Four frames of one thing in front of a still background. Tested on clips that are not in training: other places, "
    "sizes, "
    "ways and backgrounds of the same eight things and six events. The figure is the share of captions right word for "
    "word.",
    (LINE,),
    _tasks,
    _show,
    minutes=1.7,
)
