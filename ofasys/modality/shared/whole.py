"""Whether all of a file of sound or film is there, by what it is made of: chunks, pages, elements, boxes.

A length that a writer could not know, since it wrote to a pipe, says nothing: 0, or as much as the field can say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

UNKNOWN = 0x7F000000  # and above: a stream's. SoX writes this for AIFF and 0x7FFFF000 for WAVE, FFmpeg 0xFFFFFFFF
MOST_CHUNKS = 100_000  # that are looked at
PAGE = 65307  # bytes of the longest page of Ogg


def missing_part(file: BinaryIO, size: int) -> str | None:
    """What a file of `size` bytes lacks of what it began, in words; None where nothing does. It is left where it
    stands.
    """
    place = file.tell()
    try:
        head = _at(file, 0, 12)
        if len(head) < 12:
            return None
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
            return _of_wave(file, size, ">" if head[:4] == b"RIFX" else "<")
        if head[:4] == b"RIFF":
            return _beyond("bytes", struct.unpack("<I", head[4:8])[0] + 8, size)
        if head[:4] == b"riff":
            return _of_wave64(file, size)
        if head[:4] == b"FORM":
            return _beyond("bytes", struct.unpack(">I", head[4:8])[0] + 8, size)
        if head[:4] == b".snd":
            start, length = struct.unpack(">II", head[4:12])
            return _beyond("bytes of sound", length, size - start)
        if head[:4] == b"caff":
            return _of_caf(file, size)
        if head[:4] == b"OggS":
            return _of_ogg(file, size)
        if head[:4] == b"\x1aE\xdf\xa3":
            return _of_matroska(file, size)
        if head[:3] == b"FLV":
            return _of_flv(file, size)
        if head[4:8] in (b"ftyp", b"mdat", b"moov", b"wide"):
            return _of_mp4(file, size)
        return None
    finally:
        file.seek(place)


def holds_no_samples(file: BinaryIO, size: int) -> bool:
    """Whether a WAVE file says that it has no sound, and has none: what follows is other chunks, or nothing."""
    place = file.tell()
    try:
        head = _at(file, 0, 12)
        if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
            return False
        layout = (">" if head[:4] == b"RIFX" else "<") + "4sI"
        for kind, at, length in _chunks(file, size, 12, layout):
            if kind == b"data":
                return length == 0 and _is_chunks(file, size, at, layout)
        return False
    finally:
        file.seek(place)


def is_late_flac(file: BinaryIO) -> bool:
    """Whether the first frame of a FLAC file is not number 0, as where it was cut out of another. The file is left
    where it stands.
    """
    place = file.tell()
    try:
        at, last = 4, False
        while not last and len(head := _at(file, at, 4)) == 4:
            last = bool(head[0] & 128)
            at += 4 + int.from_bytes(head[1:], "big")
        frame = _at(file, at, 5)
        return frame[:1] == b"\xff" and frame[4:] not in (b"", b"\0")
    finally:
        file.seek(place)


def ogg_links(file: BinaryIO, size: int) -> list[tuple[int, int]]:
    """Where the streams of an Ogg file begin and end, which lie end to end where a broadcast was recorded.

    Streams that lie side by side, as of film and sound, are one. The file is left where it stands.
    """
    place = file.tell()
    try:
        tail = _at(file, max(0, size - PAGE), PAGE)
        last = tail[tail.rfind(b"OggS") :]
        if _at(file, 14, 4) == last[14:18]:  # one stream's number
            return [(0, size)]
        starts, at, begins = [], 0, False
        while len(head := _at(file, at, 27)) == 27 and head[:4] == b"OggS":
            if head[5] & 2 and not begins:
                starts.append(at)
            begins = bool(head[5] & 2)
            at += 27 + head[26] + sum(_at(file, at + 27, head[26]))
        return list(zip(starts, [*starts[1:], size], strict=True))
    finally:
        file.seek(place)


def _beyond(what: str, promised: int, there: int, most: int = UNKNOWN) -> str | None:
    return f"{there} of {promised} {what} are there" if there < promised < most else None


def _of_wave(file: BinaryIO, size: int, order: str) -> str | None:
    large = None
    for kind, at, length in _chunks(file, size, 12, order + "4sI"):
        if kind == b"ds64":
            large = struct.unpack(order + "Q", _at(file, at + 8, 8).ljust(8, b"\0"))[0]
        elif kind == b"data" and length == 0xFFFFFFFF and large is not None:
            return _beyond("bytes of sound", large, size - at, most=2**62)
        elif kind == b"data":
            return _beyond("bytes of sound", length, size - at)
    return None


def _of_wave64(file: BinaryIO, size: int) -> str | None:
    """Sony's: chunks are named by 16 bytes, their lengths count the head, and all begin at a multiple of 8."""
    at = 40
    for _ in range(MOST_CHUNKS):
        if len(head := _at(file, at, 24)) < 24:
            return None
        kind, length = struct.unpack("<4s12xQ", head)
        if kind == b"data":
            return _beyond("bytes of sound", length - 24, size - at - 24, most=2**62)
        at += max(24, length + -length % 8)
    return None


def _of_caf(file: BinaryIO, size: int) -> str | None:
    for kind, at, length in _chunks(file, size, 8, ">4sQ"):
        if kind == b"data":
            return _beyond("bytes of sound", length, size - at, most=2**62)
    return None


def _chunks(file: BinaryIO, size: int, at: int, layout: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and bytes of each chunk that begins in the file; one of odd length is followed by a byte."""
    head = struct.calcsize(layout)
    for _ in range(MOST_CHUNKS):
        if len(chunk := _at(file, at, head)) < head:
            return
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


def _of_ogg(file: BinaryIO, size: int) -> str | None:
    start = max(0, size - 2 * PAGE)
    tail = _at(file, start, size - start)
    page = tail.rfind(b"OggS")
    head = tail[page : page + 27] if page >= 0 else b""
    lengths = tail[page + 27 : page + 27 + head[26]] if len(head) == 27 else b""
    if len(head) < 27 or len(lengths) < head[26] or page + 27 + head[26] + sum(lengths) > len(tail):
        return "its last page is not whole"
    return None if head[5] & 4 else "its last page is not the end of a stream"


def _of_matroska(file: BinaryIO, size: int) -> str | None:
    """A header, then a segment that holds all else; where its length is not known, elements that say theirs."""
    at, inside = 0, False
    for _ in range(MOST_CHUNKS):
        head = _at(file, at, 12)
        if len(head) < 12:
            return None
        width = 9 - head[0].bit_length()
        length, more = _number(head[width:])
        open_ended = length == 2 ** (7 * more) - 1  # all ones: written to a pipe
        end = at + width + more + length
        if not open_ended and end > size:
            return _beyond("bytes", end, size, most=2**62)
        if head[:4] == b"\x18S\x80g" and not inside:
            inside = True
            if not open_ended:
                return None
            at += width + more
        elif open_ended:
            return None
        else:
            at = end
    return None


def _of_flv(file: BinaryIO, size: int) -> str | None:
    """Each tag is followed by its size: where that of the first is, that of the last has to be."""
    first = int.from_bytes(_at(file, 14, 3), "big") + 11
    if int.from_bytes(_at(file, 13 + first, 4), "big") != first:
        return None
    last = int.from_bytes(_at(file, size - 4, 4), "big")
    whole = 11 <= last < size - 4 and int.from_bytes(_at(file, size - 3 - last, 3), "big") == last - 11
    return None if whole else "its last tag is not whole"


def _of_mp4(file: BinaryIO, size: int) -> str | None:
    at = 0
    for _ in range(MOST_CHUNKS):
        if len(head := _at(file, at, 16)) < 8:
            return None
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        if length < 8:  # 0: to the end of the file
            return None
        at += length
        if at > size:
            return _beyond("bytes", at, size, most=2**62) if kind in (b"mdat", b"moov", b"moof") else None
    return None


def _number(data: bytes) -> tuple[int, int]:
    """A number of Matroska's, as long as its first byte says: its value, and its bytes."""
    width = 9 - data[0].bit_length() if data and data[0] else 8
    return int.from_bytes(data[:width], "big") & (2 ** (7 * width) - 1), width


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)
