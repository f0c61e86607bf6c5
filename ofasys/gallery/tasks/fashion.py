"""Fashion-MNIST: which of ten kinds of clothing a picture shows."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from ofasys.errors import DataError
from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

KINDS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FOLDER = "usr/share/datasets/fashion-mnist"


def idx(content: bytes) -> np.ndarray:
    """What an IDX file of bytes holds: magic number, the length of each axis, then values. Errors: DataError."""
    if content[:3] != b"\0\0\x08":
        raise DataError("a file is not IDX of bytes", expected="one that begins with 0, 0, 8 and how many axes it has")
    shape = np.frombuffer(content, ">i4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def png(picture: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) bytes -> a PNG file."""
    return png_of(Image.fromarray(picture))


def png_of(picture: Image.Image) -> bytes:
    """A picture -> a PNG file."""
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


def rows(files: dict[str, bytes], name: str) -> Iterator[tuple[Row, str]]:
    """{"img", "kind"} of the set called `name`, and the picture in hexadecimal."""
    pictures, kinds = (idx(gzip.decompress(files[f"{FOLDER}/{name}-{end}.gz"])) for end in ENDS)
    for picture, kind in zip(pictures, kinds, strict=True):
        yield {"img": png(picture), "kind": KINDS[kind]}, picture.tobytes().hex()


ENDS = ("images-idx3-ubyte", "labels-idx1-ubyte")


def make(data: Data) -> Splits:
    """The test set is the published one; a twentieth of the other is valid."""
    files = dict(data.archive("dataset-fashion-mnist").files(f"{FOLDER}/*.gz"))
    found: dict[str, list[Row]] = {"train": [], "valid": [], "test": [row for row, _ in rows(files, "t10k")]}
    for row, key in rows(files, "train"):
        found["valid" if part(key) == "valid" else "train"].append(row)
    return found


TASK = GalleryTask(
    "fashion",
    "which of ten kinds of clothing a picture shows",
    (
        "[IMAGE:img,size=28,patch=4,shift=2,mirror] what is it? -> [TEXT:kind,closed_set]",
        "which piece of clothing is on [IMAGE:img,size=28,patch=4,shift=2,mirror]? -> [TEXT:kind,closed_set]",
        "name this: [IMAGE:img,size=28,patch=4,shift=2,mirror] -> [TEXT:kind,closed_set]",
    ),
    "accuracy",
    ("dataset-fashion-mnist",),
    "Fashion-MNIST: 28 x 28 pixels in grey. The test rows are the 10,000 of the published set, so that published "
    "figures compare; of its 60,000 training pictures a twentieth, by the picture itself, are valid rows.",
    make,
    (56_989, 3011, 10_000),
    "0e392a117504ab60",
    Figure(0.1, "always 'bag'"),
    Figure(0.8878, "HOG and a linear SVM"),
    Figure(0.8487, "1000 steps, seed 0, the last checkpoint, bfloat16", "2026-11-29", ("trainer.max_steps=1000",)),
    settings={"closed_set": KINDS, "micro_batch_size": 64},
    text_pieces=300,
)
