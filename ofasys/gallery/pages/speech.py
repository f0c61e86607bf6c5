"""Spoken digits and letters, heard and said."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from ofasys.gallery.pages.page import Asked, Line, Page, Shown
from ofasys.gallery.rows import Rows
from ofasys.gallery.speech import DIGITS, NAMES, RATE, recording, spoken
from ofasys.modality.shared import media

if TYPE_CHECKING:
    from ofasys.task.task import Task

TEST = 144
SAID = tuple(NAMES.values())
HEAR = Line(
    "hear",
    f"[AUDIO:wav,rate={RATE},mels=40,criterion=ctc,ctc_target=said,weight=0.5] what is said? -> [TEXT:name,closed_set]",
    "accuracy",
)
SAY = Line("say", f"say [TEXT:name] -> [AUDIO:wav,rate={RATE},mels=40,reduction=4,max_length=24]", "mcd")


def heard(split: str, count: int, seed: int = 0) -> Rows:
    """{"wav", "name", "said"}: each recording as `spoken` changes it; no two rows alike."""
    return Rows(partial(_heard, split=split, seed=seed), count)


def _heard(index: int, *, split: str, seed: int) -> dict[str, Any]:
    if split == "test":  # each name as often
        name = SAID[(index + 7 * (index // len(SAID))) % len(SAID)]
    else:
        name = Random(f"{seed}/hear/{index}").choice(SAID)
    return {"wav": spoken([name], f"{seed}/hear/{split}/{index}"), "name": name, "said": name}


def to_say(names: Sequence[str]) -> list[dict[str, Any]]:
    """{"name", "wav"}: the recordings themselves."""
    return [{"name": name, "wav": recording(name)} for name in names]


def _tasks(asked: Asked) -> Sequence[Task]:
    hear = HEAR.task(
        heard("train", asked.some(20_000), asked.seed),
        test=heard("test", asked.some(TEST, 4), asked.seed),
        closed_set={"name": SAID},
        weight=1.5,
        micro_batch_size=asked.some(24, 4),
    )
    digits = to_say(DIGITS)
    say = SAY.task(digits, test=digits[: asked.some(len(digits), 2)], micro_batch_size=asked.some(10, 4))
    return [hear, say]


def _show(shown: Shown) -> str:
    hear, say = shown.tasks["hear"], shown.tasks["say"]
    cards = []
    for i in media.spread(len(hear.rows)):
        samples, rate = hear.rows[i]["wav"]
        answer = media.verdict(hear.predictions[i]["name"], hear.references[i]["name"])
        cards.append(media.card(answer, media.sound(samples, rate)))
    letters = sum(answer["said"] == row["name"] for answer, row in zip(hear.predictions, hear.rows, strict=True))
    parts = [
        "<p>Heard: the recordings of the test, and the answers. By alignment (CTC) alone "
        f"{letters / len(hear.rows):.1%} are right.</p>{media.row(cards)}"
    ]
    made = [answer["wav"] for answer in say.predictions]
    again = shown.model.inference(HEAR.instruction, data=[{"wav": (wav.samples, wav.rate)} for wav in made])
    cards = []
    for row, wav, back in zip(say.rows, made, again, strict=True):
        true, name = row["wav"], row["name"]
        how = (
            f"<span class='{'right' if back['name'] == name else 'wrong'}'>heard again as "
            f"{media.text(back['name'])}</span>"
        )
        cards.append(
            media.card(
                f"<b>{media.text(name)}</b> {how}",
                f"recorded {media.sound(*true)}",
                f"made {media.sound(wav.samples, wav.rate)}",
            )
        )
    right = sum(back["name"] == row["name"] for back, row in zip(again, say.rows, strict=True))
    parts.append(
        f"<p>Said: the recording, and what the model made of the word, {right} of {len(made)} of which the same model "
        f"hears as that word.</p>{media.row(cards)}"
    )
    return "".join(parts)


PAGE = Page(
    "speech",
    "Spoken digits and letters",
    "One voice, which said each of 36 names once (8 kHz, 8 bits). Heard: every row is a recording at another speed, "
    "pitch and loudness, in other noise; the test rows are "
    "changes that are not in training, of the same recordings. Said: the ten digits by heart, so the test is on what "
    "was learned; the figure is the mel-cepstral distortion, in dB, from "
    "the recording, and the trivial answer another digit.",
    (HEAR, SAY),
    _tasks,
    _show,
    minutes=1.3,
)
