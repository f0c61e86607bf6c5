"""Anything that holds a motion -> Motion."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.motion.bvh import MOST_BYTES, read_bvh
from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.skeleton import Skeleton
from ofasys.modality.shared.array import as_array, holds_array

EXPECTED = (
    "a BVH file's path, text or bytes, a Motion, joint positions (frames, joints, 3), or a mapping that has "
    "`positions` "
    "and may have `fps`, `parents`, `names`"
)


class Files:
    """Motions of the files read last, so that one read again and again is parsed once: up to `most` bytes of
    numbers.
    """

    def __init__(self, most: int = 64 * 2**20) -> None:
        self.most, self.held = most, 0
        self.motions: OrderedDict[tuple[str, int, int], Motion] = OrderedDict()

    def __reduce__(self) -> tuple[type[Files], tuple[int]]:
        return Files, (self.most,)

    def read(self, path: Path, shown: str) -> Motion:
        """The motion in a file; parsed anew when the file changed. Errors: DataError that names the file."""
        try:
            status = path.stat() if path.is_file() else None
        except (OSError, ValueError):  # too long for a file's name, or a NUL in it
            status = None
        if status is None:
            raise DataError(f"no file {shown[:200]!r}", expected=EXPECTED)
        if status.st_size > MOST_BYTES:
            raise DataError(
                f"{shown[:200]!r} has {status.st_size:,} bytes", expected=f"a BVH file of at most {MOST_BYTES:,}"
            )
        key = (str(path), status.st_mtime_ns, status.st_size)
        if key in self.motions:
            self.motions.move_to_end(key)
            return self.motions[key]
        try:
            motion = _from_bytes(path.read_bytes())
        except OSError as error:
            raise DataError(f"{shown[:200]!r} cannot be read: {error.strerror}", expected=EXPECTED) from None
        except DataError as error:
            error.message = f"{shown[:200]}: {error.message}"
            raise
        self.motions[key] = motion
        self.held += motion.values.nbytes
        while self.held > self.most:
            self.held -= self.motions.popitem(last=False)[1].values.nbytes
        return motion


def read_motion(value: Any, root: str | Path | None = None, fps: float = 20.0, files: Files | None = None) -> Motion:
    """value: see EXPECTED; relative paths start at `root`; positions without a rate have `fps`. files: read before.

    What `Motion.to_dict` gave is read too, and a mapping with `bytes` or `path`, as `datasets` gives. Errors:
    DataError.
    """
    if isinstance(value, Motion):
        return value
    if isinstance(value, Mapping):
        return _from_mapping(value, root, fps, files)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(value))
    if isinstance(value, str) and value[:200].lstrip("\ufeff \t\r\n").upper().startswith("HIERARCHY"):
        return read_bvh(value)
    if isinstance(value, (str, os.PathLike)):
        return (files or Files()).read(Path(root or ".", os.fspath(value)), os.fspath(value))
    if holds_array(value) or isinstance(value, (list, tuple)):
        return _from_array(value, fps)
    raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected=EXPECTED)


def _from_mapping(value: Mapping[str, Any], root: str | Path | None, fps: float, files: Files | None) -> Motion:
    if value.get("bytes") is not None or value.get("path") is not None:
        return read_motion(value["bytes"] if value.get("bytes") is not None else value["path"], root, fps, files)
    if "positions" in value:
        known = {"positions", "fps", "parents", "names"}
        if more := sorted(str(key) for key in set(value) - known):
            raise DataError(f"a mapping with {more[0]!r} beside `positions`", expected=EXPECTED)
        rate = value.get("fps")
        return _from_array(value["positions"], fps if rate is None else rate, value.get("parents"), value.get("names"))
    if {"skeleton", "values", "frame_time"} <= value.keys():
        skeleton = Skeleton.from_dict(value["skeleton"])
        try:
            return Motion(skeleton, np.asarray(value["values"], dtype=np.float64), float(value["frame_time"]))
        except (TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"no motion: {error}", expected=EXPECTED) from None
    raise DataError(f"a mapping of {', '.join(map(repr, list(value)[:6])) or 'nothing'}", expected=EXPECTED)


def _from_array(value: Any, fps: Any, parents: Any = None, names: Any = None) -> Motion:
    try:
        places = as_array(value, EXPECTED)
        rate = float(fps)
        above = None if parents is None else [int(parent) for parent in parents]
        called = None if names is None else [str(name) for name in names]
    except (TypeError, ValueError) as error:
        what = error.message if isinstance(error, DataError) else error
        raise DataError(f"no joint positions: {what}", expected=EXPECTED) from None
    if places.dtype.kind not in "iuf":
        raise DataError(f"got {type(value).__name__} of {places.dtype}", expected=EXPECTED)
    return Motion.from_positions(places, rate, above, called)


def _from_bytes(data: bytes) -> Motion:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # names of joints only; the numbers are ASCII
    return read_bvh(text)
