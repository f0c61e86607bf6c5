"""What an emoji is called in German, French and Italian, from its English name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ofasys.gallery.tasks import translation
from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

_WHO = re.compile(r"\b(man|woman|men|women|person|people|boy|girl|facing right)\b|[:,]")


def names(content: bytes) -> dict[str, str]:
    """The code points of each emoji -> its name, of a language's data."""
    return {one["hexcode"]: one["label"] for one in json.loads(content) if "group" in one}


def pairs(english: Mapping[str, str], others: Mapping[str, Mapping[str, str]]) -> Iterator[Row]:
    """{"en", "language", "other"} of each emoji that has a name in both."""
    for code, language in translation.LANGUAGES.items():
        for emoji, name in english.items():
            if other := others[code].get(emoji):
                yield {"en": name, "language": language, "other": other}


def family(name: str) -> str:
    """What names of emoji share that tell who does the same thing, and to which side."""
    return " ".join(_WHO.sub(" ", folded(name)).split()) or folded(name)


def make(data: Data) -> Splits:
    """By what the emoji shows, whoever does it; a name stands once in each language."""
    codes = {f"package/{code}/data.json": code for code in ("en", *translation.LANGUAGES)}
    files = {codes[name]: names(content) for name, content in data.archive("emojibase-data").files(*codes)}
    once = first_of(pairs(files["en"], files), lambda row: f"{row['language']} {folded(row['en'])}")
    return parted(once, lambda row: family(row["en"]))


TASK = GalleryTask(
    "emoji_names",
    "the name of an emoji in three languages",
    (
        "what is the emoji [TEXT:en] called in [TEXT:language]? -> [TEXT:other]",
        "the [TEXT:language] name of [TEXT:en] -> [TEXT:other]",
        "[TEXT:en] is in [TEXT:language] -> [TEXT:other]",
    ),
    "chrf",
    ("emojibase-data",),
    "The English names of emoji, and those in German, French and Italian, as Unicode's CLDR has them. The splits are "
    "by what an emoji shows, so that a name is in one split in all languages, and a man, a woman and a person who do "
    "the same are together.",
    make,
    (4899, 324, 546),
    "0455584c232d31c2",
    Figure(7.8142, "one of training at random"),
    Figure(37.5773, "the nearest name that was translated"),
    Figure(30.65, "1500 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28"),
    settings={"micro_batch_size": 32, "generate": {"max_length": 40}},
    steps=1500,
)
