"""How finely an mp4 can say where its edit list ends: the ticks of its movie's clock, which are not those of its
sound.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

COARSEST = 1 / 600  # seconds of a tick, where the file does not say
MOST_BOXES = 10_000  # that are looked at


def movie_tick(file: BinaryIO) -> float:
    """Seconds of a tick of the movie's clock. The file is left where it stands."""
    stands = file.tell()
    try:
        header = _box(file, b"mvhd", _box(file, b"moov", 0) + 8) + 8
        file.seek(header)
        file.seek(header + (20 if file.read(1) == b"\1" else 12))
        (ticks,) = struct.unpack(">I", file.read(4))
        return 1 / ticks if ticks else COARSEST
    except (struct.error, ValueError, OverflowError):
        return COARSEST
    finally:
        file.seek(stands)


def _box(file: BinaryIO, wanted: bytes, place: int) -> int:
    """Where the first box of a kind begins, from a box on. Errors: ValueError where none is found soon."""
    for _ in range(MOST_BOXES):
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == wanted:
            return place
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        if length < 8:
            break
        place += length
    raise ValueError
