"""Many instructions in one task: what is asked of a record is a text in the row, and the wordings of the test rows were
never read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random

from ofasys.gallery.tasks.split import parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits
from ofasys.gallery.tasks.topic import family, stanzas

NEEDED = 4  # names of other packages that a record shows
TAGS = 4  # of debtags
Record = Mapping[str, str | int]


def _needed(record: Record) -> list[str]:
    return [name for name in str(record["needs"]).split(", ") if name]


def _tag(facet: str) -> Callable[[Record], str | None]:
    def find(record: Record) -> str | None:
        found = [tag.partition("::")[2] for tag in str(record["tags"]).split(", ") if tag.startswith(f"{facet}::")]
        return found[0] if found else None

    return find


def _yes(right: object) -> str:
    return "yes" if right else "no"


# Wordings, of which the last is in test rows alone, and what each record's answer is; None where it has none.
ASKED: Mapping[str, tuple[tuple[str, ...], Callable[[Record], str | None]]] = {
    "name": (
        ("what is the package called?", "give the name of the package", "name it", "say the package's name"),
        lambda one: str(one["package"]),
    ),
    "section": (
        ("which section is it in?", "give the section", "where in the archive does it belong?", "its section, please"),
        lambda one: str(one["section"]),
    ),
    "version": (
        ("which version is it?", "give the version", "what is the number of this release?", "say which version it has"),
        lambda one: str(one["version"]),
    ),
    "size": (
        ("how big is it?", "give the size in kilobytes", "how many kilobytes does it take?", "say its size"),
        lambda one: str(one["size"]),
    ),
    "first": (
        (
            "which package does it need first?",
            "give the first package it needs",
            "what comes first in what it needs?",
            "say the first of those needed",
        ),
        lambda one: next(iter(_needed(one)), None),
    ),
    "last": (
        (
            "which package does it need last?",
            "give the last package it needs",
            "what comes last in what it needs?",
            "say the last of those needed",
        ),
        lambda one: next(iter(_needed(one)[::-1]), None),
    ),
    "many": (
        (
            "how many packages does it need?",
            "count what it needs",
            "give the number of packages it needs",
            "say how many are needed",
        ),
        lambda one: str(len(_needed(one))),
    ),
    "libc": (
        (
            "does it need libc6?",
            "is libc6 needed? yes or no",
            "yes or no: it needs libc6",
            "can it not do without libc6?",
        ),
        lambda one: _yes("libc6" in _needed(one)),
    ),
    "large": (
        (
            "is it larger than 1000 kilobytes?",
            "does it take more than 1000 kilobytes?",
            "yes or no: it is above 1000 kilobytes",
            "is its size more than 1000?",
        ),
        lambda one: _yes(int(one["size"]) > 1000),
    ),
    "role": (
        ("what is its role?", "give the tag of its role", "which role does it have?", "say the role"),
        _tag("role"),
    ),
    "written": (
        (
            "in which language is it written?",
            "give the language it is implemented in",
            "what is it implemented in?",
            "say which language it was written in",
        ),
        _tag("implemented-in"),
    ),
    "tags": (
        ("how many tags does it have?", "count the tags", "give the number of tags", "say how many tags there are"),
        lambda one: str(str(one["tags"]).count("::")),
    ),
    "place": (
        (
            "write section and name with a slash between",
            "give section/name",
            "join the section and the name by a slash",
            "say section, slash, name",
        ),
        lambda one: f"{one['section']}/{one['package']}",
    ),
    "capitals": (
        (
            "write the name in capital letters",
            "give the name, all letters large",
            "the name in capitals",
            "say the name in upper case",
        ),
        lambda one: str(one["package"]).upper(),
    ),
    "letter": (
        (
            "with which letter does the name begin?",
            "give the first letter of the name",
            "what is the first sign of the name?",
            "say the letter the name starts with",
        ),
        lambda one: str(one["package"])[0],
    ),
}


def records(packages: str) -> Iterator[tuple[str, dict[str, str | int]]]:
    """(family, record) of each package that has tags."""
    for one in stanzas(packages):
        if "Tag" in one and "Installed-Size" in one:
            needed = [each.strip().partition(" ")[0] for each in one.get("Depends", "").split(",")]
            yield (
                family(one),
                {
                    "package": one["Package"],
                    "version": one["Version"],
                    "section": one["Section"].rpartition("/")[2],
                    "size": int(one["Installed-Size"]),
                    "needs": ", ".join(dict.fromkeys(needed[:NEEDED])),
                    "tags": ", ".join(" ".join(one["Tag"].split()).split(", ")[:TAGS]),
                },
            )


def make(data: Data) -> Splits:
    """By source, of whatever version, whose packages are alike; of each package one thing is asked."""
    found = parted(
        ({"family": kin, "record": record} for kin, record in records(data.text("debian-index", "Packages"))),
        lambda row: str(row["family"]),
        ("record",),
    )
    return {split: [_asked(row["record"], split) for row in rows] for split, rows in found.items()}


def _asked(record: dict[str, str | int], split: str) -> Row:
    random = Random(f"instructions/{record['package']}")
    while True:
        wordings, answer = random.choice(tuple(ASKED.values()))
        said = wordings[-1] if split == "test" else random.choice(wordings[:-1])
        if (told := answer(record)) is not None:
            return {"record": [record], "ask": said, "answer": told}


TASK = GalleryTask(
    "instructions",
    "fifteen instructions over records, in wordings that were never read",
    (
        "[STRUCT:record] [TEXT:ask] -> [TEXT:answer]",
        "[TEXT:ask] [STRUCT:record] -> [TEXT:answer]",
        "of [STRUCT:record] it is asked: [TEXT:ask] -> [TEXT:answer]",
    ),
    "exact_match",
    ("debian-index",),
    "Name, version, section, size, needed packages and tags of each package of Debian 12 that has tags, one of fifteen "
    "instructions on what to do with them, and the answer. Each instruction has four wordings, of which one is in test "
    "rows alone; the splits are by source package, of whatever version.",
    make,
    (26_031, 1592, 2554),
    "13830e638dd14082",
    Figure(0.0865, "always 'no'"),
    Figure(0.1554, "the answer of the nearest row"),
    settings={"micro_batch_size": 16, "generate": {"max_length": 40}},
    steps=1500,
)
