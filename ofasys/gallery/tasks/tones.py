"""Which of five tones a syllable of Mandarin is said in."""

from __future__ import annotations

from ofasys.gallery.tasks.split import parted
from ofasys.gallery.tasks.syllables import recordings
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Splits

TONES = {"": "high", "1": "neutral", "2": "rising", "3": "low", "4": "falling"}
"""Its number, which the first tone has not -> a tone."""


def make(data: Data) -> Splits:
    """By the syllable without its tone, so that all tones and both voices of it are in one split."""
    rows = []
    for _, row in recordings(data.archive("gcin-voice").files("*.ogg")):
        syllable = row["said"].strip("".join(TONES))
        mark = row["said"].replace(syllable, "")
        rows.append({"wav": row["wav"], "tone": TONES[mark], "syllable": syllable})
    return parted(rows, lambda row: row["syllable"], ("wav", "tone"))


HEARD = "[AUDIO:wav,mels=40]"
TASK = GalleryTask(
    "tones",
    "which tone a syllable of Mandarin is said in",
    (
        f"{HEARD} which tone is it? -> [TEXT:tone,closed_set]",
        f"does the voice rise or fall in {HEARD}? -> [TEXT:tone,closed_set]",
        f"the tone of {HEARD} is -> [TEXT:tone,closed_set]",
    ),
    "accuracy",
    ("gcin-voice",),
    "The recordings of `syllables`, and the tone each is said in. The splits are by the syllable without its tone: of "
    "those of the test neither voice was heard in any tone.",
    make,
    (2034, 97, 227),
    "b5854745b8fc096a",
    Figure(0.2687, "always 'falling'"),
    Figure(0.8899, "a forest on the course of the pitch"),
    Figure(0.8502, "300 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28", ("trainer.max_steps=300",)),
    settings={"closed_set": tuple(TONES.values()), "micro_batch_size": 24},
    needs={"soundfile": "audio"},
    text_pieces=300,
)
