"""The lower half of a piece of clothing, drawn code by code from the upper half."""

from __future__ import annotations

import io

from PIL import Image

from ofasys.gallery.tasks import fashion
from ofasys.gallery.tasks.fashion import png_of
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

EACH = {"train": 3, "valid": 6, "test": 10}  # of so many pictures one is taken


def make(data: Data) -> Splits:
    """The splits of fashion, fewer of them."""
    made = fashion.make(data)
    return {split: [_halves(row) for row in rows[:: EACH[split]]] for split, rows in made.items()}


def _halves(row: Row) -> Row:
    with Image.open(io.BytesIO(row["img"])) as picture:
        width, height = picture.size
        upper = picture.crop((0, 0, width, height // 2))
        lower = picture.crop((0, height // 2, width, height))
    return {"upper": png_of(upper), "lower": png_of(lower), "kind": row["kind"]}


TASK = GalleryTask(
    "fashion_halves",
    "the lower half of a piece of clothing, of its upper half",
    (
        "[IMAGE:upper,size=28,patch=4] what is below? -> [IMAGE:lower,size=28,patch=4]",
        "go on with [IMAGE:upper,size=28,patch=4] -> [IMAGE:lower,size=28,patch=4]",
        "the upper half is [IMAGE:upper,size=28,patch=4], draw the lower -> [IMAGE:lower,size=28,patch=4]",
    ),
    "psnr",
    ("dataset-fashion-mnist",),
    "Each third training picture of Fashion-MNIST, each sixth valid and each tenth test picture in two halves of 28 x "
    "14 pixels; splits are those of fashion. A half is drawn as a square, and compared with the true half at its size.",
    make,
    (18997, 502, 1000),
    "334aa287f2e78aa4",
    Figure(10.6062, "the mean picture"),
    Figure(14.2574, "the lower half of the nearest upper half"),
    settings={"micro_batch_size": 16},
    text_pieces=300,
)
