"""How finely an mp4 can say where its edit list ends: the ticks of its movie's clock, which are not those of its sound."""

from __future__ import annotations

import struct
from typing import BinaryIO

COARSEST = 1 / 600  # seconds of a tick, where the file does not say


def movie_tick(file: BinaryIO) -> float:
    """Seconds of a tick of the movie's clock. The file is left at its beginning."""
    try:
        place, kind, length = _box(file, 0)
        while kind != b"moov":
            place, kind, length = _box(file, place + length)
        place, kind, length = _box(file, place + 8)
        while kind != b"mvhd":
            place, kind, length = _box(file, place + length)
        file.seek(place + 8)
        version = file.read(1)
        file.seek(place + 8 + (20 if version == b"\1" else 12))
        (ticks,) = struct.unpack(">I", file.read(4))
        return 1 / ticks if ticks else COARSEST
    except (struct.error, ValueError, OverflowError):
        return COARSEST
    finally:
        file.seek(0)


def _box(file: BinaryIO, place: int) -> tuple[int, bytes, int]:
    """Place, kind and bytes of the box that begins there."""
    file.seek(place)
    length, kind = struct.unpack(">I4s", file.read(8))
    if length == 1:
        (length,) = struct.unpack(">Q", file.read(8))
    if length < 8:
        raise ValueError
    return place, kind, length
