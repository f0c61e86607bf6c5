"""A syllable of Mandarin, said by one voice: speech made of text."""

from __future__ import annotations

from ofasys.gallery.tasks.split import parted
from ofasys.gallery.tasks.syllables import VOICES, recordings
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Splits


def make(data: Data) -> Splits:
    """By the syllable, each tone of it one of its own."""
    found = recordings(data.archive("gcin-voice").files("*.ogg"))
    return parted((row for voice, row in found if voice == VOICES[0]), lambda row: row["said"], ("said", "wav"))


SOUND = "[AUDIO:wav,mels=40,reduction=4,max_length=24]"
TASK = GalleryTask(
    "saying",
    "a syllable of Mandarin, said",
    (
        f"say [TEXT:said] -> {SOUND}",
        f"how does [TEXT:said] sound? -> {SOUND}",
        f"[TEXT:said] aloud -> {SOUND}",
    ),
    "mcd",
    ("gcin-voice",),
    "Each syllable of Mandarin as one voice says it, written in zhuyin with its tone. The splits are by the syllable "
    "with its tone: what is to be said was never heard, while its parts, and mostly the same in another tone, were. "
    "The figure is the distance of cepstra in dB.",
    make,
    (1017, 58, 125),
    "e3c6abc93984f18d",
    Figure(7.922, "one of training at random"),
    Figure(4.4671, "what has the nearest syllable"),
    Figure(4.757, "200 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28", ("trainer.max_steps=200",)),
    settings={"micro_batch_size": 16},
    needs={"soundfile": "audio"},
    text_pieces=300,
)
