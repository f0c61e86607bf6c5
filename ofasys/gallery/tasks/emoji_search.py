"""Emoji and their names, each found by the other: a contrast, without a word made."""

from __future__ import annotations

from ofasys.gallery.tasks import captions
from ofasys.gallery.tasks.task import Figure, GalleryTask

TASK = GalleryTask(
    "emoji_search",
    "an emoji found by its name and a name by its emoji, in a style that was never seen",
    (
        "[IMAGE:img,size=64|TEXT:cap] ->",
        "a picture and its name: [IMAGE:img,size=64|TEXT:cap] ->",
        "which name goes with which picture? [IMAGE:img,size=64|TEXT:cap] ->",
    ),
    "retrieval",
    captions.TASK.packages,
    "The rows of captions: emoji in four styles and their names. Each of the test pictures, drawn by OpenMoji, whose "
    "style is not in training, is looked for among all of them by its name, and each name by its picture; the figure "
    "is the share of first places, the mean of both ways.",
    captions.make,
    captions.TASK.rows,
    captions.TASK.digest,
    Figure(0.0006, "by lot"),
    Figure(0.0693, "the nearest drawing by 8 x 8 pixels"),
    settings={"micro_batch_size": 64},
    needs={"resvg_py": "gallery"},
)
