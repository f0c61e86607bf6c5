"""Which of seven exercises of the shoulder an arm does, by the watch it wears."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

FILE = "seglearn/data/watch_dataset.npy"
KINDS = {
    **{"PEN": "pendulum", "ABD": "abduction", "FEL": "forward elevation", "IR": "internal rotation"},
    **{"ER": "external rotation", "TRAP": "trapezius extension", "ROW": "upright row"},
}
TEST, VALID = (3, 8, 10), (5,)  # of ten people
RATE, STEP = 50, 2  # measures a second; of which each second one is taken
WINDOW = 100  # of those: four seconds
_KNOWN = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")


class _Arrays(pickle.Unpickler):
    """Reads arrays, lists and texts; what would run anything else is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN or (module in _MULTIARRAY and name in ("_reconstruct", "scalar")):
            return super().find_class(module, name)
        raise DataError(f"{FILE} asks for {module}.{name}", expected="arrays, lists and texts alone")


def recordings(content: bytes) -> dict[str, Any]:
    """Of a NumPy file of one object: `X`, arrays (n, 6) of acceleration and speed of turning; `y`, `y_labels`,
    `subject`.
    """
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise DataError(f"{FILE} is of another version of NumPy's format", expected="1.0")
    np.lib.format.read_array_header_1_0(file)
    return dict(_Arrays(file, encoding="latin1").load().item())


def windows(signals: np.ndarray) -> list[np.ndarray]:
    """(n, 6) at RATE -> pieces (WINDOW, 2, 3), one after the other: acceleration, and speed of turning."""
    thinned = signals[: len(signals) // STEP * STEP].reshape(-1, STEP, 2, 3).mean(1).round(3)
    return [thinned[i : i + WINDOW] for i in range(0, len(thinned) - WINDOW + 1, WINDOW)]


def make(data: Data) -> Splits:
    """By the person."""
    found = recordings(data.archive("seglearn").read(FILE))
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for signals, kind, person in zip(found["X"], found["y"], found["subject"], strict=True):
        split = "test" if person in TEST else "valid" if person in VALID else "train"
        for piece in windows(np.asarray(signals)):
            motion = {"positions": piece.tolist(), "fps": RATE / STEP}
            rows[split].append({"motion": motion, "kind": KINDS[found["y_labels"][int(kind)]]})
    return rows


FELT = f"[MOTION:motion,skeleton=watch,fps={RATE // STEP},frames={WINDOW},stride=4,start=world]"
TASK = GalleryTask(
    "exercises",
    "which exercise an arm does, by the watch it wears",
    (
        f"{FELT} which exercise is it? -> [TEXT:kind,closed_set]",
        f"what does the arm do in {FELT}? -> [TEXT:kind,closed_set]",
        f"name the exercise: {FELT} -> [TEXT:kind,closed_set]",
    ),
    "accuracy",
    ("seglearn",),
    "Ten people at seven exercises of physiotherapy for the shoulder, with a watch on either arm: four seconds each, "
    "25 times a second, acceleration and speed of turning as two points. Three people are test rows and one is valid "
    "rows, so that nobody of the test was ever seen.",
    make,
    (708, 122, 319),
    "fddb28060cd83792",
    Figure(0.1693, "always 'forward elevation'"),
    Figure(0.768, "a forest on means and deviations"),
    Figure(0.8621, "600 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28", ("trainer.max_steps=600",)),
    settings={"closed_set": tuple(KINDS.values()), "micro_batch_size": 32},
    text_pieces=300,
)
