"""Whether all of a file is there, by what it is made of: chunks, pages, elements.

A length that a writer could not know, since it wrote to a pipe, says nothing: 0, or as much as the field can say.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from ofasys.errors import DataError

UNKNOWN = 0x7F000000  # and above: a stream's. SoX writes this for AIFF and 0x7FFFF000 for WAVE, FFmpeg 0xFFFFFFFF
PAGE = 65307  # bytes of the longest page of Ogg


def check_whole(file: BinaryIO, size: int, name: str) -> None:
    """Errors: DataError where a file of `size` bytes ends before what it began. It is left where it stands."""
    place = file.tell()
    try:
        head = _at(file, 0, 12)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
            _check_wave(file, size, name, ">" if head[:4] == b"RIFX" else "<")
        elif head[:4] == b"RIFF":
            _check(name, "bytes", struct.unpack("<I", head[4:8])[0] + 8, size)
        elif head[:4] == b"FORM":
            _check(name, "bytes", struct.unpack(">I", head[4:8])[0] + 8, size)
        elif head[:4] == b".snd" and len(head) == 12:
            start, length = struct.unpack(">II", head[4:12])
            _check(name, "bytes of sound", length, size - start)
        elif head[:4] == b"caff":
            for kind, at, length in _chunks(file, size, 8, ">4sQ"):
                if kind == b"data" and length < 2**63:
                    _check(name, "bytes of sound", length, size - at, most=2**63)
        elif head[:4] == b"OggS":
            _check_pages(file, size, name)
        elif head[:4] == b"\x1aE\xdf\xa3":
            _check_segment(file, size, name)
    finally:
        file.seek(place)


def cut_short(name: str, what: str) -> DataError:
    """The error for a file that ends before it should."""
    return DataError(f"{name} is cut short: {what}", expected="a whole file")


def _check(name: str, what: str, promised: int, there: int, most: int = UNKNOWN) -> None:
    if there < promised < most:
        raise cut_short(name, f"{there} of {promised} {what} are there")


def _check_wave(file: BinaryIO, size: int, name: str, order: str) -> None:
    large = None
    for kind, at, length in _chunks(file, size, 12, order + "4sI"):
        if kind == b"ds64":
            large = struct.unpack(order + "Q", _at(file, at + 8, 8).ljust(8, b"\0"))[0]
        if kind != b"data":
            continue
        if length == 0 and _is_chunks(file, size, at, order + "4sI"):
            raise DataError(f"{name} holds no samples", expected="at least a few milliseconds of sound")
        if length == 0xFFFFFFFF and large is not None:
            _check(name, "bytes of sound", large, size - at, most=2**62)
        else:
            _check(name, "bytes of sound", length, size - at)
        return


def _chunks(file: BinaryIO, size: int, at: int, layout: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and bytes of each chunk that begins in the file; one of odd length is followed by a byte."""
    head = struct.calcsize(layout)
    while len(chunk := _at(file, at, head)) == head:
        kind, length = struct.unpack(layout, chunk)
        yield kind, at + head, length
        at += head + length + (length % 2 if head == 8 else 0)
        if at > size:
            return


def _is_chunks(file: BinaryIO, size: int, at: int, layout: str) -> bool:
    """Whether chunks, or nothing, fill the file from here on."""
    end = at
    for kind, begin, length in _chunks(file, size, at, layout):
        if not kind.isalnum() and not kind.strip().isalnum():
            return False
        end = begin + length + length % 2
    return end in (size, size + 1)


def _check_pages(file: BinaryIO, size: int, name: str) -> None:
    start = max(0, size - 2 * PAGE)
    tail = _at(file, start, size - start)
    page = tail.rfind(b"OggS")
    head = tail[page : page + 27] if page >= 0 else b""
    lengths = tail[page + 27 : page + 27 + head[26]] if len(head) == 27 else b""
    if len(head) < 27 or len(lengths) < head[26] or page + 27 + head[26] + sum(lengths) > len(tail):
        raise cut_short(name, "its last page is not whole")
    if not head[5] & 4:
        raise cut_short(name, "its last page is not the end of a stream")


def _check_segment(file: BinaryIO, size: int, name: str) -> None:
    """Matroska: a header, then a segment that holds all else."""
    head = _at(file, 4, 8)
    length, width = _number(head)
    start = 4 + width + length
    segment = _at(file, start, 12)
    if segment[:4] != b"\x18S\x80g" or len(segment) < 12:
        return
    length, width = _number(segment[4:])
    if length != 2 ** (7 * width) - 1:  # all ones: written to a pipe
        _check(name, "bytes", start + 4 + width + length, size, most=2**62)


def _number(data: bytes) -> tuple[int, int]:
    """A number of Matroska's, as long as its first byte says: its value, and its bytes."""
    width = 9 - data[0].bit_length() if data and data[0] else 8
    return int.from_bytes(data[:width], "big") & (2 ** (7 * width) - 1), width


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place, os.SEEK_SET)
    return file.read(count)
