"""What kind of sound a short recording is: the samples of Sonic Pi."""

from __future__ import annotations

from pathlib import PurePosixPath

from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

FOLDER = "usr/share/sonic-pi/samples"
KINDS = {
    **{"ambi": "ambience", "bass": "bass", "bd": "bass drum", "drum": "drum kit", "elec": "electronic"},
    **{"loop": "loop", "perc": "percussion", "tabla": "tabla"},
}
"""How the name of a file begins -> what kind of sound it is; kinds of fewer than nine are left out."""
HELD_OUT = 25  # of a hundred: there are few


def make(data: Data) -> Splits:
    """By the name of the sound without its number, in which variants of one differ."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for file, content in data.archive("sonic-pi-samples").files(f"{FOLDER}/*.flac"):
        name = PurePosixPath(file).stem
        if kind := KINDS.get(name.partition("_")[0]):
            rows[part(name.rstrip("0123456789"), HELD_OUT)].append({"wav": content, "kind": kind})
    return rows


HEARD = "[AUDIO:wav,mels=40,normalise=fixed,window=16]"
TASK = GalleryTask(
    "samples",
    "what kind of sound a recording is",
    (
        f"{HEARD} what kind of sound is it? -> [TEXT:kind,closed_set]",
        f"which instrument plays {HEARD}? -> [TEXT:kind,closed_set]",
        f"sort {HEARD} -> [TEXT:kind,closed_set]",
    ),
    "accuracy",
    ("sonic-pi-samples",),
    "The samples of Sonic Pi of eight kinds, up to 20 seconds long. A quarter are test rows, by the name without its "
    "number, so that variants of a sound are in one split. There are few: an answer more or less is a few hundredths.",
    make,
    (88, 20, 23),
    "580651e66f18b5d9",
    Figure(0.1304, "one of training at random"),
    Figure(0.5217, "a forest on cepstra"),
    Figure(0.3478, "600 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28"),
    settings={"closed_set": tuple(KINDS.values()), "micro_batch_size": 8},
    needs={"soundfile": "audio"},
    steps=600,
    text_pieces=300,
)
