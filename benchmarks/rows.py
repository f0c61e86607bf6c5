"""Made-up rows of every modality, seeded, for benchmarks of how fast they are read and made."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
from PIL import Image

COUNT = 256
WORDS = ["".join(random.Random(i).choice("abcdefghijklmnoprstuvw") for _ in range(3 + i % 6)) for i in range(2000)]


def text(i: int, words: int = 60) -> str:
    """So many words."""
    return " ".join(random.Random(i).choices(WORDS, k=words))


def picture(i: int, size: int = 256) -> bytes:
    """A PNG of soft noise."""
    small = np.random.default_rng(i).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def clip(i: int, frames: int = 24, size: int = 96) -> np.ndarray:
    """(frames, size, size, 3): a square that moves."""
    out = np.full((frames, size, size, 3), 40, dtype=np.uint8)
    for t in range(frames):
        x = (5 + i + 2 * t) % (size - 20)
        out[t, 30:50, x : x + 20] = (200, 30 + i % 200, 60)
    return out


def sound(i: int, seconds: float = 4.0, rate: int = 16000) -> tuple[np.ndarray, int]:
    """(samples, rate): a chirp."""
    t = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (200 + 20 * (i % 30)) * t * (1 + 0.1 * t))).astype(np.float32), rate


def motion(i: int, frames: int = 60, joints: int = 15) -> np.ndarray:
    """(frames, joints, 3): joints that swing."""
    t = np.arange(frames)[:, None, None] / 10
    phase = np.arange(joints)[None, :, None] * 0.4 + i
    rest = np.stack([np.arange(joints) % 3, np.arange(joints), np.zeros(joints)], -1)
    return (rest[None] + 0.2 * np.sin(t + phase + np.array([0, 1, 2]))).astype(np.float32)


def table(i: int, rows: int = 20) -> list[dict[str, Any]]:
    """Rows of five columns."""
    g = random.Random(i)
    return [
        {"name": g.choice(WORDS), "year": g.randint(1900, 2020), "kind": g.choice("abc"), "a": g.random(), "b": None}
        for _ in range(rows)
    ]


def grid(i: int) -> list[list[int]]:
    """9 x 9."""
    return np.random.default_rng(i).integers(0, 10, (9, 9)).tolist()


PHONES = "HH AH L OW W ER L D K AE T D AO G".split()  # noqa: SIM905

LINES: dict[str, tuple[str, Any]] = {
    "TEXT": ("[TEXT:x] -> [TEXT:y]", lambda i: {"x": text(i), "y": text(i + 1, 20)}),
    "IMAGE": ("[IMAGE:x] what? -> [TEXT:y]", lambda i: {"x": picture(i), "y": text(i, 8)}),
    "BOX": (
        "[IMAGE:x] where is [TEXT:t]? -> [BOX:y]",
        lambda i: {"x": picture(i), "t": text(i, 3), "y": [10, 20, 100 + i % 50, 90]},
    ),
    "CATEGORY": ("[TEXT:x] -> [CATEGORY:y]", lambda i: {"x": text(i), "y": WORDS[i % 40]}),
    "PHONE": ("[TEXT:x] -> [PHONE:y]", lambda i: {"x": text(i, 4), "y": random.Random(i).choices(PHONES, k=20)}),
    "STRUCT table": ("[STRUCT:x] [TEXT:q] -> [TEXT:y]", lambda i: {"x": table(i), "q": text(i, 8), "y": text(i, 2)}),
    "STRUCT grid": (
        "[STRUCT:x,preprocess=grid,rows=9,columns=9] -> [STRUCT:y,preprocess=grid,rows=9,columns=9]",
        lambda i: {"x": grid(i), "y": grid(i + 1)},
    ),
    "AUDIO source": ("[AUDIO:x] -> [TEXT:y]", lambda i: {"x": sound(i), "y": text(i, 8)}),
    "AUDIO target": ("[TEXT:x] -> [AUDIO:y]", lambda i: {"x": text(i, 8), "y": sound(i)}),
    "VIDEO": ("[VIDEO:x] -> [TEXT:y]", lambda i: {"x": clip(i), "y": text(i, 8)}),
    "MOTION source": ("[MOTION:x,fps=20] -> [TEXT:y]", lambda i: {"x": motion(i), "y": text(i, 8)}),
    "MOTION target": ("[TEXT:x] -> [MOTION:y,fps=20]", lambda i: {"x": text(i, 8), "y": motion(i)}),
    "IMAGE codes": (
        "[TEXT:x] -> [IMAGE:y,size=64,patch=4,fit_steps=20]",
        lambda i: {"x": text(i, 8), "y": picture(i, 64)},
    ),
}


def rows(name: str, count: int = COUNT) -> list[dict[str, Any]]:
    """The rows of one line."""
    make = LINES[name][1]
    return [make(i) for i in range(count)]
