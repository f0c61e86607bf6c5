"""What a package is, from its record in the index of Debian: a table in, a line of text out."""

from __future__ import annotations

from collections.abc import Iterator

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits
from ofasys.gallery.tasks.topic import family, stanzas

NEEDED = 4  # names of other packages that a record shows
TAGS = 6  # of debtags


def records(packages: str) -> Iterator[Row]:
    """{"family", "record", "text"} of each package that has tags: its record as a table of one line."""
    for one in stanzas(packages):
        if "Tag" not in one or not one.get("Description"):
            continue
        needed = [each.strip().partition(" ")[0] for each in one.get("Depends", "").split(",")]
        record = {
            "package": one["Package"],
            "section": one["Section"].rpartition("/")[2],
            "needs": ", ".join(needed[:NEEDED]),
            "tags": ", ".join(" ".join(one["Tag"].split()).split(", ")[:TAGS]),
        }
        yield {
            "family": family(one),
            "record": [record],
            "text": one["Description"].partition("\n")[0],
        }


def make(data: Data) -> Splits:
    """By source, of whatever version, whose packages are alike; a line that several have stands once."""
    once = first_of(records(data.text("debian-index", "Packages")), lambda row: folded(row["text"]))
    return parted(once, lambda row: str(row["family"]), ("record", "text"))


TASK = GalleryTask(
    "record_text",
    "a record of a table in words",
    (
        "what does this package do? [STRUCT:record] -> [TEXT:text]",
        "[STRUCT:record] in words: -> [TEXT:text]",
        "describe the package of [STRUCT:record] -> [TEXT:text]",
    ),
    "chrf",
    ("debian-index",),
    "Name, section, needed packages and tags of each package of Debian 12 that has tags, as a table of one line, and "
    "its synopsis; a synopsis that several have stands once, and the splits are by source package, of "
    "whatever version.",
    make,
    (24_762, 1560, 2474),
    "204dc8223b9a8f6a",
    Figure(14.4677, "always 'Real-time strategy game of ancient warfare'"),
    Figure(26.3409, "the text of the nearest record"),
    settings={"micro_batch_size": 16, "generate": {"max_length": 40}},
    text_pieces=8000,
)
