"""Where on a map a region lies that is named."""

from __future__ import annotations

from ofasys.gallery.tasks import map_names, maps
from ofasys.gallery.tasks.task import Figure, GalleryTask

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
    map_names.TASK.about,
    maps.rows,
    map_names.TASK.rows,
    map_names.TASK.digest,
    Figure(0.0057, "one of training at random"),
    Figure(0.0038, "the box of the nearest name"),
    settings={"micro_batch_size": 16},
)
