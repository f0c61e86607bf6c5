"""How long a frame of MPEG audio is (layers 1 to 3, of MPEG 1, 2 and 2.5), and whether a file counts its frames."""

from __future__ import annotations

from typing import BinaryIO

RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version
KBITS = {  # a second, by whether it is MPEG 1, and layer
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def frame_bytes(head: bytes) -> int:
    """Bytes of the frame that begins with these 4; 0 where none begins, or where it does not say its length."""
    word = int.from_bytes(head[:4], "big")
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    bits, rate, padding = word >> 12 & 15, word >> 10 & 3, word >> 9 & 1
    if len(head) < 4 or word >> 21 != 0x7FF or version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return 0
    kbits, hertz = KBITS[version == 3, layer][bits - 1], RATES[version][rate]
    if layer == 1:
        return (12 * 1000 * kbits // hertz + padding) * 4
    samples = 1152 if layer == 2 or version == 3 else 576
    return samples // 8 * 1000 * kbits // hertz + padding


def is_free(head: bytes) -> bool:
    """Whether a frame of layer 3 in free format begins here, of a bit rate that no table holds, as only
    libsndfile reads.
    """
    word = int.from_bytes(head[:4], "big")
    return (
        word >> 21 == 0x7FF
        and word >> 19 & 3 != 1
        and word >> 17 & 3 == 1
        and not word >> 12 & 15
        and word >> 10 & 3 != 3
    )


def is_counted(file: BinaryIO, size: int) -> bool:
    """Whether the first frame (Xing's, or LAME's Info) counts frames and bytes, and the bytes are all those of the
    file.

    The file is left at its beginning.
    """
    start = 0
    head = file.read(10)
    while head[:3] == b"ID3" and len(head) == 10:
        start += 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        file.seek(start)
        head = file.read(10)
    file.seek(start)
    frame = file.read(64)
    file.seek(max(0, size - 128))
    end = size - 128 if file.read(3) == b"TAG" else size
    file.seek(0)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if (
        not (frame_bytes(frame[:4]) or is_free(frame))
        or place < 0
        or frame[place + 7 : place + 8] not in (b"\3", b"\7", b"\x0b", b"\x0f")
    ):
        return False
    return int.from_bytes(frame[place + 12 : place + 16], "big") == end - start
