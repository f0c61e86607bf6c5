"""How a body moves, made of what the move is called: the animations of a game."""

from __future__ import annotations

import re
import struct
from pathlib import PurePosixPath

import numpy as np

from ofasys.errors import DataError
from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

FOLDER = "usr/share/games/lugaru/Animations"
RATE = 20  # frames a second
MOST = 60  # frames
HIPS = 8
LEFT_OUT = ("Tempanim",)
HELD_OUT = 20  # of a hundred: there are few


def keyframes(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The positions (F, J, 3) of a file's keyframes, y up, and seconds (F,) from each to the next. Errors: DataError.

    Numbers are big-endian: how many frames and joints; then a frame each, its positions, a twist and a byte (whether it
    stands on the ground) a joint, and how many such frames would pass in a second.
    """
    frames, joints = struct.unpack_from(">2i", content)
    size = 17 * joints + 4
    if not (frames > 0 and joints > 0 and 8 + frames * size <= len(content)):
        raise DataError(f"{frames} frames of {joints} joints in {len(content)} bytes", expected="as many as it says")
    places, seconds = [], []
    for at in range(8, 8 + frames * size, size):
        places.append(np.frombuffer(content, ">f4", 3 * joints, at).reshape(joints, 3))
        (speed,) = struct.unpack_from(">f", content, at + size - 4)
        seconds.append(1 / max(speed, 0.1))
    return np.stack(places).astype(np.float64), np.array(seconds)


def moved(places: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Keyframes -> (n, J, 3) at RATE, each joint on the line between; at most MOST frames."""
    times = np.concatenate([[0.0], np.cumsum(seconds)[:-1]])
    asked = np.arange(min(MOST, int(times[-1] * RATE) + 1)) / RATE
    flat = places.reshape(len(places), -1)
    return np.stack([np.interp(asked, times, column) for column in flat.T], 1).reshape(-1, *places.shape[1:])


def called(name: str) -> str:
    """ "SpinKickCaught" -> "spin kick caught"."""
    return " ".join(re.findall(r"[A-Z][a-z]+", name)).lower()


def make(data: Data) -> Splits:
    """By the name; the hips come first, which the others hang on."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for file, content in data.archive("lugaru-data").files(f"{FOLDER}/*"):
        name = PurePosixPath(file).name
        if name not in LEFT_OUT:
            places = moved(*keyframes(content))
            order = [HIPS, *(joint for joint in range(places.shape[1]) if joint != HIPS)]
            motion = {"positions": places[:, order].round(3).tolist(), "fps": float(RATE)}
            rows[part(name, HELD_OUT)].append({"what": called(name), "motion": motion})
    return rows


MADE = f"[MOTION:motion,skeleton=lugaru,fps={RATE},frames={MOST},stride=2,steps=25]"
TASK = GalleryTask(
    "moves",
    "how a body moves",
    (
        f"a body is to [TEXT:what] -> {MADE}",
        f"show [TEXT:what] -> {MADE}",
        f"[TEXT:what] -> {MADE}",
    ),
    "mpjpe",
    ("lugaru-data",),
    "The animations of the game Lugaru, a body of 20 joints, three seconds at most, and what each is called. A fifth "
    "are test rows, by the name. There are a hundred: it shows how text becomes motion, and little of how well it can. "
    "The figure is the mean distance of joints with the hips in one place, in units of the game; a body is 8 high.",
    make,
    (88, 3, 17),
    "939f921246962b71",
    Figure(2.0123, "one of training at random"),
    Figure(1.3614, "what has the nearest name"),
    Figure(1.513, "300 steps, seed 0, the last checkpoint", "2026-11-28", ("trainer.max_steps=300",)),
    settings={"micro_batch_size": 16},
    steps=1000,
    optimizer="adamw",  # by Muon 1.92 after 1000 steps, and 2.47 after 300
    text_pieces=300,
)
