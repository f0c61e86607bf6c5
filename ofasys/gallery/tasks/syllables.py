"""Which syllable of Mandarin was said: 1,200 of them, each recorded by two voices."""

from __future__ import annotations

from collections.abc import Iterator

from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

FOLDER = "usr/share/gcin-voice"
LEARNED, HELD_OUT = "3", "5"  # what the recordings of the two voices are called


def recordings(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, Row]]:
    """(voice, {"wav", "phones"}) of each recording: a folder is called as its syllable is written, a file as its
    voice.
    """
    for name, content in files:
        *_, syllable, file = name.split("/")
        yield file.removesuffix(".ogg"), {"wav": content, "phones": syllable}


def make(data: Data) -> Splits:
    """One voice to learn from, one to be tested by, of which a tenth is valid."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for voice, row in recordings(data.archive("gcin-voice").files("*.ogg")):
        held = "valid" if part(row["phones"]) == "test" else "test"
        rows["train" if voice == LEARNED else held].append(row)
    return rows


TASK = GalleryTask(
    "syllables",
    "which syllable of Mandarin a voice says",
    (
        "[AUDIO:wav] which syllable is said? -> [PHONE:phones,inventory=zhuyin]",
        "listen to [AUDIO:wav] -> [PHONE:phones,inventory=zhuyin]",
        "what is said in [AUDIO:wav]? -> [PHONE:phones,inventory=zhuyin]",
    ),
    "per",
    ("gcin-voice",),
    "Each syllable of Mandarin, its tone with it, said by two voices. Training rows are of one voice, test rows of the "
    "other, which is never heard in training; a tenth of its syllables are valid rows.",
    make,
    (0, 0, 0),
    "",
    Figure(0.0, ""),
    Figure(0.0, ""),
    settings={"micro_batch_size": 16, "generate": {"max_length": 8}},
    needs={"soundfile": "audio"},
    text_pieces=300,
)
