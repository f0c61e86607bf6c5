"""What is in a scene that is composed of emoji, and where."""

from __future__ import annotations

from random import Random

from ofasys.gallery.tasks.composed import NAMES, PACKAGES, UNSEEN, Sprites, compose, splits
from ofasys.gallery.tasks.fashion import png_of
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits


def make(data: Data) -> Splits:
    """One to four things, left to right."""
    return splits(_row, data, "scene_objects")


def _row(sprites: Sprites, random: Random, index: int) -> Row:
    scene = compose(sprites, random, random.choices(NAMES, k=1 + index % 4))
    boxes = [list(item.box) for item in scene.items]
    return {"img": png_of(scene.picture()), "box": boxes, "label": scene.names}


TASK = GalleryTask(
    "scene_objects",
    "what is in a scene of emoji and where, in a style that was never seen",
    (
        "[IMAGE:img,size=64,patch=8] what is there? -> ([BOX:box,bins=32] [TEXT:label])*",
        "detect the things in [IMAGE:img,size=64,patch=8] -> ([BOX:box,bins=32] [TEXT:label])*",
        "find all in [IMAGE:img,size=64,patch=8] -> ([BOX:box,bins=32] [TEXT:label])*",
    ),
    "detection",
    PACKAGES,
    f"Scenes of one to four emoji of twenty kinds, none over another, with exact boxes, left to right. {UNSEEN}",
    make,
    (6000, 300, 1000),
    "81b77f01ba9c3c10",
    Figure(0.0016, "one of training at random"),
    Figure(0.0892, "the nearest scene by 8 x 8 pixels"),
    settings={"micro_batch_size": 32, "generate": {"max_length": 48}},
    needs={"resvg_py": "gallery"},
    text_pieces=300,
)
