"""The one line that sums up what a package of Debian is, from its long description."""

from __future__ import annotations

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits
from ofasys.gallery.tasks.topic import described

SHORTEST, LONGEST = 30, 120  # words of a description; of a longer one the first


def make(data: Data) -> Splits:
    """By source, of whatever version, whose packages are alike; a text that several have stands once."""
    found = described(data.text("debian-index", "Packages"), data.text("debian-index", "Translation-en"))
    long = (
        {**row, "text": " ".join(words[:LONGEST]), "summary": row["synopsis"]}
        for row in found
        if len(words := _words(row)) >= SHORTEST
    )
    once = first_of(long, lambda row: folded(row["text"]))
    return parted(once, lambda row: str(row["family"]), ("text", "summary"))


def _words(row: Row) -> list[str]:
    return str(row["description"]).split()


TASK = GalleryTask(
    "summary",
    "a description in one line",
    (
        "sum up: [TEXT:text] -> [TEXT:summary]",
        "[TEXT:text] what is it, in one line? -> [TEXT:summary]",
        "write a short description of [TEXT:text] -> [TEXT:summary]",
    ),
    "rouge_l",
    ("debian-index",),
    "Descriptions of at least 30 words of the packages of Debian 12, at most their first 120, and the synopsis that "
    "their maintainer wrote; repeated texts are left out, and the splits are by source package, of "
    "whatever version.",
    make,
    (37_641, 2245, 4025),
    "7eaafcbb97f93481",
    Figure(0.0443, "one of training at random"),
    Figure(0.256, "the first sentence"),
    settings={"micro_batch_size": 8, "generate": {"max_length": 40}},
    text_pieces=8000,
)
