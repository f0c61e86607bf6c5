"""What a Russian sentence says: 100 minutes of one speaker, heard by CTC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from ofasys.gallery.tasks.split import folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

FOLDER = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"


def transcripts(listed: str) -> dict[str, str]:
    """Recording -> what is said, without the marks of stress, of `( NAME "TEXT" )` lines."""
    return {name: text.replace("+", "") for name, text in re.findall(r'^\( (\w+) "(.*)" \)', listed, re.MULTILINE)}


def letters(text: str) -> str:
    """A text in small letters, without punctuation."""
    return folded(re.sub(r"[^\w\s-]|(?<!\w)-|-(?!\w)", " ", text))


def recordings(data: Data) -> Iterator[tuple[str, bytes, str]]:
    """(name, WAV file, what is said) of each recording."""
    archive = data.archive("festvox-ru")
    said = transcripts(archive.read(f"{FOLDER}/etc/txt.done.data").decode("utf8"))
    for file, wav in archive.files(f"{FOLDER}/wav/*.wav"):
        name = PurePosixPath(file).stem
        yield name, wav, letters(said[name])


def make(data: Data) -> Splits:
    """By what is said."""
    rows: list[Row] = [{"wav": wav, "text": said} for _, wav, said in recordings(data)]
    return parted(rows, lambda row: row["text"])


HEARD = "[AUDIO:wav,mels=40,criterion=ctc,ctc_target=text]"
TASK = GalleryTask(
    "dictation",
    "what a Russian sentence says",
    (
        f"{HEARD} write down what is said ->",
        f"what is said in {HEARD}? ->",
        f"take this down: {HEARD} ->",
    ),
    "cer",
    ("festvox-ru",),
    "Sentences of a novel read by one speaker, 4 to 18 seconds each, and their text in small letters without "
    "punctuation, which CTC learns without times. The splits are by the text. The figure is the share of wrong signs.",
    make,
    (527, 40, 53),
    "1696ad2128eb3ad3",
    Figure(0.9437, "one of training at random"),
    Figure(0.7311, "linear discriminants a frame and pairs of signs"),
    settings={"micro_batch_size": 8},
    needs={"soundfile": "audio"},
    text_pieces=300,
)
