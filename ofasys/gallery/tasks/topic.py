"""Which of Debian's sections a package belongs to, by its description: 58 of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

WORDS = 60  # of a description, at most


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a control file: field -> value, of several lines as they stand."""
    for paragraph in text.split("\n\n"):
        fields = re.findall(r"^(\S+?):[ ]?(.*(?:\n .*)*)", paragraph, re.MULTILINE)
        if fields:
            yield dict(fields)


def described(packages: str, translation: str, language: str = "en") -> Iterator[Row]:
    """{"family", "section", "synopsis", "description"} of each package, each description once.

    packages, translation: what apt's lists of these names hold.
    """
    texts = {}
    for one in stanzas(translation):
        synopsis, _, body = one[f"Description-{language}"].partition("\n")
        texts[one["Description-md5"]] = synopsis.strip(), _plain(body)
    for one in stanzas(packages):
        if (text := texts.pop(one.get("Description-md5", ""), None)) is not None:
            section = one["Section"].rpartition("/")[2]
            yield {"family": family(one), "section": section, "synopsis": text[0], "description": text[1]}


def family(package: dict[str, str]) -> str:
    """What a package shares with those like it: the source it is built of, of whatever version."""
    source = package.get("Source", package["Package"]).partition(" ")[0]
    return re.sub(r"[\d.]+", "", source)


def _plain(body: str) -> str:
    """The body of a description without its marks: a dot alone is an empty line."""
    return " ".join(" ".join(line for line in body.split("\n") if line.strip() != ".").split())


def make(data: Data) -> Splits:
    """By source, of whatever version, whose packages are alike; a text that several have stands once."""
    found = described(data.text("debian-index", "Packages"), data.text("debian-index", "Translation-en"))
    about = ({**row, "about": _begin(row)} for row in found if row["description"])
    once = first_of(about, lambda row: folded(row["about"]))
    return parted(once, lambda row: str(row["family"]), ("about", "section"))


def _begin(row: Row) -> str:
    return " ".join(f"{row['synopsis']}. {row['description']}".split()[:WORDS])


TASK = GalleryTask(
    "topic",
    "which section of Debian a package is in",
    (
        "which section does a package belong to? [TEXT:about] -> [TEXT:section,closed_set]",
        "[TEXT:about] what is this about? -> [TEXT:section,closed_set]",
        "file this under a topic: [TEXT:about] -> [TEXT:section,closed_set]",
    ),
    "accuracy",
    ("debian-index",),
    "The synopsis and the first words of the description of each package of Debian 12, 60 words in all; repeated "
    "texts are left out, and the splits are by source package, of "
    "whatever version.",
    make,
    (52_246, 3058, 5476),
    "4e002792dadd1b3b",
    Figure(0.0944, "always 'libs'"),
    Figure(0.7874, "TF-IDF and a linear SVM"),
    Figure(0.6925, "1000 steps, seed 0, the last checkpoint, bfloat16", "2026-11-29", ("trainer.max_steps=1000",)),
    settings={"micro_batch_size": 16},
    text_pieces=8000,
)
