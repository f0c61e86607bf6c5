"""One-line descriptions from English into German, French and Italian."""

from __future__ import annotations

from collections.abc import Iterator

from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits
from ofasys.gallery.tasks.topic import family, stanzas

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
    """By the source of the first package that has the English line, whose packages are alike; a line stands once in
    each language.
    """
    english = synopses(data.text("debian-index", "Translation-en"), "en")
    others = {code: synopses(data.text("debian-translations", f"Translation-{code}"), code) for code in LANGUAGES}
    families = families_of(data.text("debian-index", "Packages"), english)
    once = first_of(pairs(english, others), lambda row: f"{row['language']} {folded(row['en'])}")
    return parted(once, lambda row: families.get(folded(row["en"]), str(row["en"])))


def families_of(packages: str, english: dict[str, str]) -> dict[str, str]:
    """English line -> the family of the first package that has it."""
    found: dict[str, str] = {}
    for one in stanzas(packages):
        found.setdefault(folded(english.get(one.get("Description-md5", ""), "")), family(one))
    return found


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
    "splits are by source package, of whatever version, so that a line is in one split in all languages, with those of "
    "the packages that are built with it.",
    make,
    (67_043, 4241, 6733),
    "a7289b75922698eb",
    Figure(13.2037, "one of training at random"),
    Figure(40.8293, "the nearest line that was translated"),
    Figure(28.29, "1000 steps, seed 0, the last checkpoint, bfloat16", "2026-11-29", ("trainer.max_steps=1000",)),
    settings={"micro_batch_size": 32, "generate": {"max_length": 60}},
    text_pieces=8000,
)
