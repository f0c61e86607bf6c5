"""Where on a map a region lies that is named."""

from __future__ import annotations

from ofasys.gallery.tasks import maps
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Splits


def make(data: Data) -> Splits:
    """The rows of maps."""
    return maps.rows(data)


TASK = GalleryTask(
    "map_regions",
    "where a region lies, on a map that was never seen",
    (
        "[IMAGE:img,size=128] find [TEXT:name] -> [BOX:box,bins=64]",
        "where is [TEXT:name] on [IMAGE:img,size=128]? -> [BOX:box,bins=64]",
        "[IMAGE:img,size=128] frame the region [TEXT:name] -> [BOX:box,bins=64]",
    ),
    "iou_accuracy",
    (maps.PACKAGE,),
    "The regions of the maps of KGeography, of at least five pixels on a map of 128 x 128, each with the box of its "
    "largest part that hangs together, by its exact colour. The splits are by map, those whose file names begin with "
    "the same word in one. Of the 528 test regions 28 have a name that is in a training map: this is hard.",
    make,
    (2607, 269, 528),
    "81c3f894c6ea3974",
    Figure(0.0057, "one of training at random"),
    Figure(0.0038, "the box of the nearest name"),
    settings={"micro_batch_size": 16},
)
