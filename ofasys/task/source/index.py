"""What a pass over a large file found, kept for the next run: where its records begin, its labels, its lengths.

It lies in a folder `.ofasys` beside the file, or, where that cannot be written, in the user's folder for caches. It is
a sum over what follows, the size of a header, the header in JSON, and arrays, which are mapped into memory. It is read
only where size, time and content of the file are those it was made of, and is data alone: nothing in it can run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.caches import user_cache
from ofasys.task.source.watch import Watch

LEAST_BYTES = 16 * 2**20  # a smaller file is read anew in less time than is noticed
FOLDER = ".ofasys"
_FORM = b"ofasys 1"  # other bytes where what is kept, or how a file is read, is another than before
_HEAD = len(_FORM) + 8  # and the sum of what follows, and the size of the header
_ALIGNED = 64
_PARTS = 16  # of the file, evenly spread, which tell it from another of its size and time
_PART_BYTES = 2**18
_SUMMED_BYTES = 2**22


@dataclass(frozen=True)
class Found:
    """What a pass found."""

    arrays: Mapping[str, np.ndarray]
    """Of one axis each."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """As JSON has them."""


def load(watch: Watch, what: str) -> Found | None:
    """What was kept of a file under that name; None where there is nothing, or nothing that fits it.

    Its arrays are mapped, and cannot be written to.
    """
    if watch.size < LEAST_BYTES:
        return None
    stamp = _stamp(watch)
    for path in _places(watch.path, what):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if (found := _read(path, stamp)) is not None:
                return found
    return None


def keep(watch: Watch, what: str, found: Found) -> Found:
    """Keep what was found of a file. The same, mapped where it was kept; of a small file, or where nothing can be
    written, as it is.
    """
    if watch.size < LEAST_BYTES:
        return found
    stamp = _stamp(watch)
    for path in _places(watch.path, what):
        with contextlib.suppress(OSError, ValueError):
            _write(path, stamp, found)
            return _read(path, stamp) or found
    return found


def _places(path: Path, what: str) -> Iterator[Path]:
    """Where it may lie: beside the file, or among the user's caches."""
    yield path.parent / FOLDER / f"{path.name}.{what}"
    with contextlib.suppress(RuntimeError):  # a user without a home
        place = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
        yield user_cache("index") / f"{place}-{path.name}.{what}"


def _stamp(watch: Watch) -> list[Any]:
    """By which a file is known again by another process: size, time of change, and a sum over parts of it."""
    sum_of = hashlib.blake2b(digest_size=16)
    with watch:
        for start in np.linspace(0, max(0, watch.size - _PART_BYTES), _PARTS, dtype=np.int64).tolist():
            sum_of.update(watch.part(start, _PART_BYTES))
    return [*watch.stamp[:2], sum_of.hexdigest()]


def _read(path: Path, stamp: list[Any]) -> Found | None:
    """Errors: OSError, ValueError, KeyError or TypeError where it is not there, or damaged."""
    data = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    head = data[:_HEAD].tobytes()
    known, size = int.from_bytes(head[-8:-4], "little"), int.from_bytes(head[-4:], "little")
    if not head.startswith(_FORM) or known != _sum([data[_HEAD - 4 :]]):
        return None
    header = json.loads(data[_HEAD : _HEAD + size].tobytes())
    if header["stamp"] != stamp:
        return None
    arrays, start = {}, _aligned(_HEAD + size)
    for name, kind, count in header["arrays"]:
        end = start + count * np.dtype(kind).itemsize
        arrays[name] = data[start:end].view(kind)
        start = _aligned(end)
    return Found(arrays, header["facts"])


def _write(path: Path, stamp: list[Any], found: Found) -> None:
    """Put it there whole, or not at all. Errors: OSError."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.name == FOLDER:
            (path.parent / ".gitignore").write_text("*\n")
    parts = _parts(stamp, found)
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(new, "xb") as file:
            file.write(_FORM + _sum(parts).to_bytes(4, "little"))
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def _parts(stamp: list[Any], found: Found) -> list[Any]:
    """What follows the sum, as objects of bytes."""
    arrays = [(name, np.ascontiguousarray(array)) for name, array in found.arrays.items()]
    told = [[name, array.dtype.str, len(array)] for name, array in arrays]
    header = json.dumps({"stamp": stamp, "arrays": told, "facts": found.facts}).encode()
    parts: list[Any] = [len(header).to_bytes(4, "little"), header]
    at = _HEAD + len(header)
    for _, array in arrays:
        parts += [bytes(_aligned(at) - at), array.view(np.uint8).data]
        at = _aligned(at) + array.nbytes
    return parts


def _aligned(at: int) -> int:
    return -(-at // _ALIGNED) * _ALIGNED


def _sum(parts: list[Any]) -> int:
    """In pieces, so that a large mapping need not be in memory at once."""
    found = 0
    for part in parts:
        for start in range(0, len(part), _SUMMED_BYTES):
            found = zlib.crc32(part[start : start + _SUMMED_BYTES], found)
    return found
