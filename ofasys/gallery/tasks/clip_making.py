"""A clip made of a sentence: what an emoji looks like when something happens to it that was never seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from PIL import Image

from ofasys.gallery.tasks.captions import PACKAGE
from ofasys.gallery.tasks.clips import EVENTS, FRAMES, SIDE, WAYS, apart
from ofasys.gallery.tasks.composed import NAMES, Sprites, animation, article
from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

STYLES = {"noto": "noto", "fluent-emoji-flat": "fluent", "twemoji": "twemoji"}
SIZES = {"small": 12, "large": 20}  # pixels of a thing's longer side
LEAST = 0.4  # of its size, a thing that grows begins with


def make(data: Data) -> Splits:
    """A tenth of all pairs of a thing and an event, in every style and size, are test rows, a twentieth valid rows."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    sprites = Sprites(data, tuple(STYLES))
    for name, event in product(NAMES, EVENTS):
        for style, size in product(STYLES, SIZES):
            clip = animation(apart(list(film(sprites, name, style, SIZES[size], event))))
            said = f"{article(f'{size} {name}')} {event}"
            rows[part(f"{name} {event}")].append({"cap": said, "style": STYLES[style], "clip": clip})
    return rows


def film(sprites: Sprites, name: str, style: str, size: int, event: str) -> Iterator[Image.Image]:
    """FRAMES pictures (SIDE, SIDE) of one thing on white: it crosses the middle, or is there from half time on, or till
    then, or becomes larger or smaller.
    """
    across, down = WAYS.get(event.removeprefix("moves "), (0, 0))
    for i in range(FRAMES):
        share = i / (FRAMES - 1)
        frame = Image.new("RGB", (SIDE, SIDE), "white")
        grown = {"grows": share, "shrinks": 1 - share}.get(event, 1.0)
        thing = sprites(name, style, round(size * (LEAST + (1 - LEAST) * grown)))
        if not (event == "appears" and share < 0.5) and not (event == "disappears" and share > 0.5):
            way = round((share - 0.5) * (SIDE - size))
            x, y = (SIDE - thing.width) // 2 + across * way, (SIDE - thing.height) // 2 + down * way
            frame.paste(thing, (x, y), thing)
        yield frame


TASK = GalleryTask(
    "clip_making",
    "a clip made of a sentence that was never read",
    (
        "film [TEXT:cap] in the style of [TEXT:style] -> [VIDEO:clip,frames=6,size=32,patch=8]",
        "[TEXT:style] shows how [TEXT:cap] -> [VIDEO:clip,frames=6,size=32,patch=8]",
        "a clip by [TEXT:style]: [TEXT:cap] -> [VIDEO:clip,frames=6,size=32,patch=8]",
    ),
    "video_psnr",
    (*(PACKAGE + style for style in STYLES), "emojibase-data"),
    "Twenty emoji of Noto, Fluent and Twemoji, small and large, move left, right, up or down, appear, disappear, grow "
    "or shrink; a sentence says which, and what. A tenth of the pairs of an emoji and an event are test rows in all "
    "styles and sizes, a twentieth valid rows, and are in training in none.",
    make,
    (828, 42, 90),
    "7d74999ee2b96119",
    Figure(19.0419, "the mean clip"),
    Figure(16.1335, "the first other clip of the same thing, size and style"),
    Figure(23.36, "1000 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28", ("trainer.max_steps=1000",)),
    settings={"micro_batch_size": 16},
    needs={"resvg_py": "gallery"},
    text_pieces=300,
)
