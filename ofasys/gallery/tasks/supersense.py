"""Which of WordNet's 45 kinds of meaning a definition is of."""

from __future__ import annotations

from collections.abc import Iterator

from ofasys.gallery.tasks import wordnet
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


def definitions(text: str) -> Iterator[Row]:
    """{"kind", "gloss"} of each meaning of a data file of WordNet; the gloss without its examples."""
    for told, _, gloss in wordnet.synsets(text):
        yield {"kind": KINDS[int(told[1])], "gloss": gloss.partition('; "')[0].strip()}


def make(data: Data) -> Splits:
    """A definition that several meanings have stands once."""
    found = (row for text in wordnet.texts(data, PARTS) for row in definitions(text))

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
    (wordnet.PACKAGE,),
    "The definitions of WordNet 3.1, without their examples, and the file of the lexicographers that each is in; a "
    "definition that is given twice stands once, and the splits are by the definition.",
    make,
    (99_302, 5775, 11_842),
    "2a2b5716dc289654",
    Figure(0.1245, "always 'adj.all'"),
    Figure(0.7775, "TF-IDF and a linear SVM"),
    Figure(0.5523, "600 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28"),
    settings={"closed_set": KINDS, "micro_batch_size": 32},
    text_pieces=8000,
    steps=600,
)
