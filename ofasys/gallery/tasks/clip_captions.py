"""A clip in words: what does what, and what stands still."""

from __future__ import annotations

from random import Random

from ofasys.gallery.tasks.clips import EVENTS, film
from ofasys.gallery.tasks.composed import PACKAGES, UNSEEN, Sprites, article, splits
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits


def make(data: Data) -> Splits:
    """Each event as often."""
    return splits(_row, data, "clip_captions")


def _row(sprites: Sprites, random: Random, index: int) -> Row:
    clip = film(sprites, random, EVENTS[index % len(EVENTS)])
    return {"clip": clip.film, "cap": f"{article(clip.name)} {clip.event} beside {article(clip.still)}"}


TASK = GalleryTask(
    "clip_captions",
    "a clip in words, in a style that was never seen",
    (
        "[VIDEO:clip,frames=6,size=32,patch=8] what is seen? -> [TEXT:cap]",
        "describe [VIDEO:clip,frames=6,size=32,patch=8] -> [TEXT:cap]",
        "write what [VIDEO:clip,frames=6,size=32,patch=8] shows -> [TEXT:cap]",
    ),
    "cider",
    PACKAGES,
    f"Clips as those of clip_events, and a sentence: which of two emoji does what, and which stands still. {UNSEEN}",
    make,
    (6000, 300, 1000),
    "666527e42ef53b45",
    Figure(0.6459, "always 'a bunch of grapes moves up beside a penguin'"),
    Figure(3.4352, "the nearest clip by what changes"),
    settings={"micro_batch_size": 32, "generate": {"max_length": 24}},
    needs={"resvg_py": "gallery"},
    text_pieces=300,
)
