"""Which phones a Russian phrase is made of: what stands between two pauses of a sentence, heard by CTC."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import PurePosixPath

from ofasys.gallery.tasks.dictation import FOLDER, recordings
from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

PAUSE = "pau"
LEAST = 3  # phones of a phrase
MARGIN = 0.05  # seconds of pause that are kept around it
VOWELS = "aa a|a ɐ|ay ə|ae ɘ|ee ɛ|e e|ii i|i ɪ|oo o|uu u|u ʊ|ur ʉ|yy ɨ|y ɯ"  # doubled: stressed
HARD = "b d f g h k l m n p r s t v z"
SOFT = "ʲ"
OTHERS = "j j|c t͡s|ch t͡ɕ|sh ʂ|zh ʐ|sch ɕː"
IPA = {
    **dict(pair.split() for pair in f"{VOWELS}|{OTHERS}".split("|")),
    **{phone: {"g": "ɡ", "h": "x"}.get(phone, phone) for phone in HARD.split()},
    **{2 * phone: {"g": "ɡ", "h": "x"}.get(phone, phone) + SOFT for phone in HARD.split()},
}
"""Label -> one sign of the IPA, each another."""


def phrases(labels: str) -> Iterator[tuple[float, float, list[str]]]:
    """(begin, end, phones) of what stands between pauses, in seconds, of `END NUMBER PHONE` lines."""
    begin, before, phones = 0.0, 0.0, list[str]()
    for line in [*labels.splitlines(), f"inf 0 {PAUSE}"]:
        match line.split():
            case [end, _, phone] if phone != PAUSE:
                begin = begin if phones else before
                phones.append(phone)
                before = float(end)
            case [end, _, _]:
                if phones:
                    yield begin, before, phones
                before, phones = float(end), []


def cut(wav: bytes, begin: float, end: float) -> bytes:
    """A WAV file of the seconds from begin to end of another, and MARGIN around them."""
    made = io.BytesIO()
    with wave.open(io.BytesIO(wav)) as whole, wave.open(made, "wb") as piece:
        rate, frames = whole.getframerate(), whole.getnframes()
        first = max(0, round((begin - MARGIN) * rate))
        whole.setpos(min(first, frames))
        piece.setparams(whole.getparams())
        piece.writeframes(whole.readframes(max(0, round((end + MARGIN) * rate) - first)))
    return made.getvalue()


def make(data: Data) -> Splits:
    """By the sentence a phrase is of, as those of `dictation` are."""
    files = data.archive("festvox-ru").files(f"{FOLDER}/lab/*.lab")
    labels = {PurePosixPath(file).stem: content.decode("utf8") for file, content in files}
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for name, wav, said in recordings(data):
        for begin, end, phones in phrases(labels[name]):
            if len(phones) >= LEAST:
                row = {"wav": cut(wav, begin, end), "phones": " ".join(IPA[phone] for phone in phones)}
                rows[part(said)].append(row)
    return rows


HEARD = "[AUDIO:wav,mels=40,criterion=ctc,ctc_target=phones,ctc_as=PHONE]"
TASK = GalleryTask(
    "phones",
    "which phones a Russian phrase is made of",
    (
        f"{HEARD} which phones are said? ->",
        f"the phones of {HEARD} are ->",
        f"write {HEARD} in phonetic signs ->",
    ),
    "per",
    ("festvox-ru",),
    "The phrases of the sentences of `dictation`, from pause to pause, of at least three phones, and the labels of "
    "their phones, each as a sign of the IPA: 50, the stressed vowels apart. A phrase is in the split of its sentence.",
    make,
    (2391, 174, 249),
    "d8242e47e1097e49",
    Figure(0.9655, "always 'vʲ ɛ dʲ'"),
    Figure(0.5392, "linear discriminants a frame and pairs of signs"),
    Figure(0.518, "500 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28", ("trainer.max_steps=500",)),
    settings={"settings": {"phones.inventory": "ipa"}, "micro_batch_size": 24},
    needs={"soundfile": "audio"},
    text_pieces=300,
)
