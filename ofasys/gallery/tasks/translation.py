"""One-line descriptions from English into German, French and Italian."""

from __future__ import annotations

from collections.abc import Iterator

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits
from ofasys.gallery.tasks.topic import stanzas

LANGUAGES = {"de": "German", "fr": "French", "it": "Italian"}


def synopses(translation: str, language: str) -> dict[str, str]:
    """The checksum of each English description -> its first line in a language."""
    field = f"Description-{language}"
    return {
        one["Description-md5"]: one[field].partition("\n")[0].strip() for one in stanzas(translation) if field in one
    }


def pairs(english: dict[str, str], others: dict[str, dict[str, str]]) -> Iterator[Row]:
    """{"en", "language", "other"} of each line that is translated, and is not left as it was."""
    for code, language in LANGUAGES.items():
        for checksum, line in others[code].items():
            before = english.get(checksum)
            if before and line and folded(before) != folded(line):
                yield {"en": before, "language": language, "other": line}


def make(data: Data) -> Splits:
    """By the English line, so that it is in one split in all languages; a line stands once in each."""
    english = synopses(data.text("debian-index", "Translation-en"), "en")
    others = {code: synopses(data.text("debian-translations", f"Translation-{code}"), code) for code in LANGUAGES}
    once = first_of(pairs(english, others), lambda row: f"{row['language']} {folded(row['en'])}")
    return parted(once, lambda row: _stem(row["en"]))


def _stem(line: str) -> str:
    """What is the same in the lines of packages that are made of one source: what stands before a bracket or a dash."""
    return folded(line.partition(" (")[0].partition(" - ")[0])


TASK = GalleryTask(
    "translation",
    "a line from English into three languages",
    (
        "what is [TEXT:en] in [TEXT:language]? -> [TEXT:other]",
        "translate into [TEXT:language]: [TEXT:en] -> [TEXT:other]",
        "[TEXT:en] say it in [TEXT:language] -> [TEXT:other]",
    ),
    "chrf",
    ("debian-index", "debian-translations"),
    "The synopses of packages of Debian 12 and what its translators made of them in German, French and Italian. The "
    "splits are by the English line without what stands in brackets or behind a dash, so that no line is translated "
    "into one language in training and asked for in another.",
    make,
    (66_597, 3601, 7819),
    "87dc67578319938a",
    Figure(13.0824, "one of training at random"),
    Figure(46.9418, "the nearest line that was translated"),
    settings={"micro_batch_size": 32, "generate": {"max_length": 60}},
    text_pieces=8000,
)
