"""Splits that are a function of the rows alone: the same on every machine, whatever the order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from ofasys.gallery.tasks.task import Row

SPLITS = ("train", "valid", "test")
TEST, VALID = 10, 5  # of a hundred


def folded(text: str) -> str:
    """A text as it is compared with others: in small letters, its blanks one each."""
    return " ".join(text.casefold().split())


def part(key: str, test: int = TEST) -> str:
    """The split of all that shares a key: by the SHA-256 of it, `test` % test, 5 % valid, the rest train."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    return "test" if place < test else "valid" if place < test + VALID else "train"


def parted(rows: Iterable[Row], key: Callable[[Row], str], columns: Sequence[str] = ()) -> dict[str, list[Row]]:
    """Rows by split, in the order they came; those of one key in one split. columns: what is kept of a row; all for
    none.
    """
    found: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for row in rows:
        found[part(key(row))].append({column: row[column] for column in columns or row})
    return found


def first_of(rows: Iterable[Row], key: Callable[[Row], str]) -> list[Row]:
    """Of rows of one key the first."""
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(key(row), row)
    return list(found.values())
