"""What happens in a clip: one of eight."""

from __future__ import annotations

from random import Random

from ofasys.gallery.tasks.clips import EVENTS, film
from ofasys.gallery.tasks.composed import PACKAGES, UNSEEN, Sprites, splits
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits


def make(data: Data) -> Splits:
    """Each event as often."""
    return splits(_row, data, "clip_events")


def _row(sprites: Sprites, random: Random, index: int) -> Row:
    clip = film(sprites, random, EVENTS[index % len(EVENTS)])
    return {"clip": clip.film, "event": clip.event}


TASK = GalleryTask(
    "clip_events",
    "which of eight things happens in a clip, in a style that was never seen",
    (
        "[VIDEO:clip,frames=6,size=32,patch=8] what happens? -> [TEXT:event,closed_set]",
        "what does one of the things in [VIDEO:clip,frames=6,size=32,patch=8] do? -> [TEXT:event,closed_set]",
        "watch [VIDEO:clip,frames=6,size=32,patch=8] and name what happens -> [TEXT:event,closed_set]",
    ),
    "accuracy",
    PACKAGES,
    "Clips of six frames of 32 pixels: of two emoji of twenty kinds one stands still, the other moves in one of four "
    "ways, appears, disappears, grows or shrinks, each as often. "
    f"{UNSEEN}",
    make,
    (6000, 300, 1000),
    "b6c934327cb171ca",
    Figure(0.14, "one of training at random"),
    Figure(0.989, "what changes, and a linear SVM"),
    settings={"closed_set": EVENTS, "micro_batch_size": 32},
    needs={"resvg_py": "gallery"},
    text_pieces=300,
)
