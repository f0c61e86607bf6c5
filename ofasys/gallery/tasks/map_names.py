"""What a region is called that is framed on a map."""

from __future__ import annotations

from ofasys.gallery.tasks import maps
from ofasys.gallery.tasks.task import Figure, GalleryTask

TASK = GalleryTask(
    "map_names",
    "what a framed region is called, on a map that was never seen",
    (
        "[IMAGE:img,size=128] what is in [BOX:box,bins=64]? -> [TEXT:name]",
        "name the region [BOX:box,bins=64] of the map [IMAGE:img,size=128] -> [TEXT:name]",
        "the region at [BOX:box,bins=64] on [IMAGE:img,size=128] is called -> [TEXT:name]",
    ),
    "chrf",
    (maps.PACKAGE,),
    "The regions of the maps of KGeography, of at least five pixels on a map of 128 x 128, each with the box of its "
    "largest part that hangs together, by its exact colour. The splits are by map, those whose file names begin with "
    "the same word in one. Of the 528 test regions 28 have a name that is in a training map: this is hard.",
    maps.rows,
    (2607, 269, 528),
    "81c3f894c6ea3974",
    Figure(7.1894, "always 'Central'"),
    Figure(5.0965, "the nearest map by 8 x 8 pixels, and its nearest box"),
    settings={"micro_batch_size": 16},
)
