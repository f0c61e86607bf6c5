"""Which syllable of Mandarin was said: 1,200 of them, each recorded by two voices, written in zhuyin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

FOLDER = "usr/share/gcin-voice"
HELD_OUT = 20  # of a hundred syllables
VOICES = ("3", "5")  # what the recordings of each are called


def recordings(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, Row]]:
    """(voice, {"wav", "said"}) of each recording: a folder is called as its syllable is written, a file as its
    voice.
    """
    for name, content in files:
        *_, syllable, file = name.split("/")
        yield file.removesuffix(".ogg"), {"wav": content, "said": syllable}


def make(data: Data) -> Splits:
    """By syllable and voice; the other recording of a syllable that is held out is in training."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    found = list(recordings(data.archive("gcin-voice").files("*.ogg")))
    voices = Counter(row["said"] for _, row in found)
    for voice, row in found:
        held = voices[row["said"]] == len(VOICES) and voice == held_out(row["said"])
        rows[part(row["said"], HELD_OUT) if held else "train"].append(row)
    return rows


def held_out(syllable: str) -> str:
    """The voice whose recording of a syllable may be held out: either as often as the other."""
    return VOICES[part(f"voice/{syllable}", test=50) == "test"]


TASK = GalleryTask(
    "syllables",
    "which syllable of Mandarin a voice says",
    (
        "[AUDIO:wav] which syllable is said? -> [TEXT:said]",
        "write down [AUDIO:wav] -> [TEXT:said]",
        "what does the voice say in [AUDIO:wav]? -> [TEXT:said]",
    ),
    "cer",
    ("gcin-voice",),
    "Each syllable of Mandarin, its tone with it, said by two voices and written in zhuyin. Of a fifth of the "
    "syllables one recording, of either voice, is a test row, of a twentieth a valid row; what the other voice says is "
    "in training, so each syllable is known, and none in this voice. The figure is the share of wrong signs.",
    make,
    (2080, 53, 225),
    "4954ca6ea1a3cc94",
    Figure(0.9456, "one of training at random"),
    Figure(0.4134, "the nearest recording by cepstra"),
    settings={"micro_batch_size": 16, "generate": {"max_length": 8}},
    needs={"soundfile": "audio"},
    text_pieces=300,
)
