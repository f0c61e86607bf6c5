"""A board of 4 x 4, solved."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache, partial
from itertools import permutations
from random import Random
from typing import TYPE_CHECKING

from ofasys.gallery.pages.page import Asked, Line, Page, Shown
from ofasys.gallery.rows import Rows
from ofasys.gallery.sudoku import Board, puzzle, solve
from ofasys.modality.shared import media

if TYPE_CHECKING:
    from ofasys.task.task import Task

Puzzle = tuple[Board, Board]  # with its solution
TEST = 200
GIVEN = 8  # of 16 cells
GRID = "preprocess=grid,rows=4,columns=4,values=5"
LINE = Line("sudoku", f"[STRUCT:puzzle,{GRID}] -> [STRUCT:solution,{GRID}]", "grid_exact")
RENAMED = tuple(permutations((1, 2, 3, 4)))


def rows(split: str, count: int, seed: int = 0) -> Rows:
    """{"puzzle", "solution"}: no puzzle of `test` is one of `train`, whatever its digits are called.

    count: of `train` a multiple of 24: each puzzle with its digits called in every way.
    """
    made = _made(count if split == "test" else TEST, -(-count // 24) if split == "train" else 0, seed)
    return Rows(partial(_row, made=made[0] if split == "test" else made[1]), count)


@cache
def _made(test: int, train: int, seed: int) -> tuple[tuple[Puzzle, ...], tuple[Puzzle, ...]]:
    """Puzzles with their solutions, no two alike: `test` and `train` of them. The first row of each solution is 1 2 3
    4.
    """
    boards = solve([[1, 2, 3, 4], *([[0] * 4] * 3)], most=100)
    random = Random(f"sudoku/{seed}")
    found: dict[str, Puzzle] = {}
    while len(found) < test + train:
        solution = random.choice(boards)
        made = puzzle(random, solution, GIVEN)
        found.setdefault(str(made), (made, solution))
    every = tuple(found.values())
    return every[:test], every[test:]


def _row(index: int, *, made: tuple[Puzzle, ...]) -> dict[str, Board]:
    digits = (0, *RENAMED[(index % len(made) + index // len(made)) % 24])
    empty, full = ([[digits[digit] for digit in line] for line in board] for board in made[index % len(made)])
    return {"puzzle": empty, "solution": full}


def _tasks(asked: Asked) -> Sequence[Task]:
    return [
        LINE.task(
            rows("train", asked.some(24_000, 24), asked.seed),
            test=rows("test", asked.some(TEST), asked.seed),
            micro_batch_size=asked.some(16, 4),
        )
    ]


def drawn(board: Board, given: Board, truth: Board | None = None) -> str:
    """A board as a table: what was given in bold; of the rest, where the truth is told, what is right green and what is
    wrong red.
    """
    lines = []
    for y, line in enumerate(board):
        cells = []
        for x, digit in enumerate(line):
            edges = ["edge-right"] * (x == 1) + ["edge-below"] * (y == 1)
            told = "" if truth is None or given[y][x] else ("right" if digit == truth[y][x] else "wrong")
            shown = f"<b>{digit}</b>" if given[y][x] else f"<span class='{told}'>{digit or ''}</span>"
            cells.append(f"<td class='{' '.join(edges)}'>{shown}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table class='board'>{''.join(lines)}</table>"


def _show(shown: Shown) -> str:
    judged = shown.tasks["sudoku"]
    cards = []
    for i in media.spread(len(judged.rows)):
        puzzle, truth, made = judged.rows[i]["puzzle"], judged.references[i]["solution"], judged.predictions[i]
        answer = made["solution"]
        right = drawn(answer, puzzle, truth) if isinstance(answer, list) else html.escape(str(answer))
        cards.append(media.card(drawn(puzzle, puzzle) + right))
    cells = judged.figures["cell_accuracy"]
    return f"<p>{judged.value:.1%} of the boards are right throughout, {cells:.1%} of all cells.</p>{media.row(cards)}"


PAGE = Page(
    "sudoku",
    "A sudoku of 4 x 4",
    "8 of 16 cells are given, and they leave one solution. No puzzle of the test is in training, whatever its digits "
    "are called; there are only 288 solved boards, so those are. "
    "What was given is in bold; of the answer, green cells are right and red ones wrong. The figure is the share of "
    "boards right throughout.",
    (LINE,),
    _tasks,
    _show,
    lr=1.2e-3,
    minutes=1.5,
)
