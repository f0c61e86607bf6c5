"""Anything that holds a clip -> its frames, by number, one at a time.

Nothing here holds more than the frame at hand: a clip says when each of its frames begins, and gives those asked for.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ofasys.errors import DataError
from ofasys.modality.shared.array import as_array, holds_array
from ofasys.modality.shared.read_image import read_image
from ofasys.modality.video.animation import Animation
from ofasys.modality.video.film import Film
from ofasys.modality.video.moving import Video

EXPECTED = (
    "a path or bytes of a clip (mp4, webm, avi, gif ...), a list of pictures, an array (T, H, W, 3), "
    'or {"frames": ..., "rate": frames a second}'
)
BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx")  # pictures in a container of films


class Clip(Protocol):
    """times (n,): seconds at which each frame begins, the first at 0. duration: seconds in all."""

    times: np.ndarray
    duration: float

    def pick(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Image.Image]:
        """The frames with these numbers, which increase, upright and RGB."""
        ...


class Stack:
    """Frames that are at hand: a list of pictures, or an array (T, H, W, 3), (T, H, W, 4) or (T, H, W).

    rate: frames a second; without one, each lasts a second.
    """

    def __init__(self, frames: Any, root: str | Path | None, rate: float | None = None) -> None:
        self.frames, self.root = frames, root
        if not len(frames):
            raise DataError("the clip has no frame", expected="at least one")
        self.times = np.arange(len(frames)) / (rate or 1.0)
        self.duration = len(frames) / (rate or 1.0)

    def pick(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Image.Image]:
        """See `Clip`."""
        for number in numbers:
            yield read_image(self.frames[int(number)], self.root)


def opened(value: Any, root: str | Path | None = None, *, timed: bool = False) -> AbstractContextManager[Clip]:
    """The clip a value holds, to be used in a `with`.

    value: a path (relative ones start at `root`), bytes, a PIL image, frames (a list of anything IMAGE reads, or an
    array or tensor (T, H, W, 3), (T, H, W, 4) or (T, H, W)), a `Video` that was made, or a mapping with `frames` and
    `rate`, or with `bytes` or `path` as `datasets` gives. A still picture is a clip of one frame. timed: the seconds
    matter, so frames have to come with a rate, and an animated picture is read for the time each of its frames stands.
    Errors: DataError when it is none of these, has no frame, or is too large.
    """
    rate = None
    if isinstance(value, Video):
        value, rate = value.frames, value.rate
    elif isinstance(value, Mapping):
        if "frames" in value:
            value, rate = value["frames"], _rate(value.get("rate"))
        elif {"bytes", "path"} & value.keys():
            value = value.get("bytes") or value.get("path")
    if isinstance(value, (str, os.PathLike)):
        return _of_path(os.fspath(value), root, timed)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _of_file(io.BytesIO(bytes(value)), f"{len(value)} bytes", timed)
    if isinstance(value, Image.Image):
        return nullcontext(Animation(value, "the picture", timed))
    if not isinstance(value, (list, tuple)) or holds_array(value):
        value = _array(value)
    if timed and rate is None and len(value) > 1:
        raise DataError("frames without a rate, in a slot that takes so many a second", expected=EXPECTED)
    return nullcontext(Stack(value, root, rate))


def as_given(value: Any) -> Video:
    """All frames of a clip, at the rate beside them. Errors: DataError for no clip, or sizes that differ."""
    if isinstance(value, Video):
        return value
    rate = _rate(value.get("rate")) if isinstance(value, Mapping) else None
    with opened(value) as clip:
        frames = [np.asarray(frame) for frame in clip.pick(range(len(clip.times)))]
    if len(sizes := {frame.shape[1::-1] for frame in frames}) > 1:
        raise DataError(f"frames of {len(sizes)} sizes in one clip", expected="frames of one size")
    return Video(np.stack(frames), rate)


def _array(value: Any) -> np.ndarray:
    array = as_array(value, EXPECTED)
    if array.ndim == 3 and array.shape[2] in (3, 4):
        return array[None]
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3, 4)):
        hint = "; move the channels last" if array.ndim == 4 and array.shape[1] in (1, 3, 4) else ""
        raise DataError(
            f"got an array of shape {array.shape}{hint}", expected="(T, H, W, 3), (T, H, W, 4) or (T, H, W)"
        )
    return array


def _rate(rate: Any) -> float | None:
    if rate is None:
        return None
    try:
        number = float(rate)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < float("inf"):
        raise DataError(f"the clip's rate is {rate!r}", expected="frames a second, a number above 0")
    return number


def _of_path(text: str, root: str | Path | None, timed: bool) -> AbstractContextManager[Clip]:
    path = Path(root or ".", text)
    try:
        found = path.is_file()
    except (OSError, ValueError):  # no name of a file
        found = False
    if not found:
        raise DataError(f"no file {text[:200]!r}", expected=EXPECTED)
    return _of_file(path.open("rb"), str(path), timed)


def _of_file(file: Any, what: str, timed: bool) -> AbstractContextManager[Clip]:
    """A picture, animated or not, by Pillow; all else by PyAV. The file is closed with the clip."""
    try:
        head = file.read(16)
        file.seek(0)
        if not head:
            raise DataError(f"{what} hold nothing" if what.endswith("bytes") else f"{what} is empty", expected=EXPECTED)
        return Animation.of_file(file, what, timed) if _is_picture(file, head) else Film(file, what)
    except BaseException:
        file.close()
        raise


def _is_picture(file: Any, head: bytes) -> bool:
    signs = (b"GIF8", b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
    if head[4:8] == b"ftyp" and head[8:12] in BRANDS:
        return _pillow_reads(file)
    return head.startswith(signs) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _pillow_reads(file: Any) -> bool:
    try:
        Image.open(file)
        return True
    except Exception:  # a kind it was built without, or knows by a plugin alone
        return False
    finally:
        file.seek(0)
