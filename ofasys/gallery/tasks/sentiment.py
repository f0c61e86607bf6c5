"""Whether a sentence of a review is glad or not: 3,000 of them, of three sites."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

MOODS = ("negative", "positive")
SITES = ("amazon", "imdb", "yelp")


def sentences(archive: dict[str, bytes]) -> Iterable[Row]:
    """{"sentence", "mood"} of each site's file."""
    for site in SITES:
        for one in json.loads(archive[f"package/test/fixtures/{site}.json"]):
            if one["text"]:  # each file ends in an empty one
                yield {"sentence": " ".join(one["text"].split()), "mood": MOODS[one["class"]]}


def make(data: Data) -> Splits:
    """Sentences that are given twice stand once."""
    files = dict(data.archive("sentiment").files(*(f"package/test/fixtures/{site}.json" for site in SITES)))

    def key(row: Row) -> str:
        return folded(row["sentence"])

    return parted(first_of(sentences(files), key), key)


TASK = GalleryTask(
    "sentiment",
    "whether a sentence of a review is glad",
    (
        "what is the mood of [TEXT:sentence]? -> [TEXT:mood,closed_set]",
        "[TEXT:sentence] is this positive or negative? -> [TEXT:mood,closed_set]",
        "does the writer like it? [TEXT:sentence] -> [TEXT:mood,closed_set]",
    ),
    "accuracy",
    ("sentiment",),
    "Sentences of reviews of Amazon, IMDb and Yelp, as many glad as not; repeated sentences are left out, and the "
    "splits are by the sentence.",
    make,
    (2517, 136, 326),
    "0bf4365d3709633e",
    Figure(0.5123, "always 'negative'"),
    Figure(0.8405, "TF-IDF and a linear SVM"),
    Figure(0.7699, "600 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28"),
    settings={"closed_set": MOODS, "micro_batch_size": 32},
    steps=600,
)
