"""Sudoku of 9 x 9, easy and hard: made by rule, and nothing is fetched."""

from __future__ import annotations

from random import Random

from ofasys.gallery.sudoku import Board, full_board, puzzle
from ofasys.gallery.tasks.split import SPLITS
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

SIZE, BOX = 9, 3
GIVENS = (36, 64)  # of 81 cells, the fewest and the most
BOARDS = {"train": 400, "valid": 50, "test": 200}
SHUFFLED = 30  # training puzzles of each board


class Shuffle:
    """One of the ways to write a sudoku anew: its digits renamed, rows and columns within their bands and the bands
    themselves in another order, and rows for columns. It has as many solutions as before.
    """

    def __init__(self, random: Random) -> None:
        self.rows, self.columns = self._lines(random), self._lines(random)
        self.digits = [0, *random.sample(range(1, SIZE + 1), SIZE)]
        self.turned = random.random() < 0.5

    @staticmethod
    def _lines(random: Random) -> list[int]:
        bands = random.sample(range(BOX), BOX)
        return [band * BOX + line for band in bands for line in random.sample(range(BOX), BOX)]

    def of(self, board: Board) -> Board:
        """A board written so."""
        found = [[self.digits[board[y][x]] for x in self.columns] for y in self.rows]
        return [list(line) for line in zip(*found, strict=True)] if self.turned else found


def make(data: Data) -> Splits:
    """By board: each is of one split, however it is written. Of a training board many puzzles, each written anew."""
    random, rows = Random("sudoku"), dict[str, list[Row]]()
    for split in SPLITS:
        rows[split] = []
        for _ in range(BOARDS[split]):
            solution = full_board(random, SIZE)
            hardest = puzzle(random, solution, GIVENS[0])
            for _ in range(SHUFFLED if split == "train" else 1):
                shuffle = Shuffle(random)
                board = _filled(hardest, solution, random)
                rows[split].append({"puzzle": shuffle.of(board), "solution": shuffle.of(solution)})
    return rows


def _filled(board: Board, solution: Board, random: Random) -> Board:
    """With more cells given, so that as many are as are drawn; it has no more solutions than before."""
    found = [list(line) for line in board]
    empty = [(y, x) for y in range(SIZE) for x in range(SIZE) if not board[y][x]]
    many = random.randint(*GIVENS) - (SIZE * SIZE - len(empty))
    for y, x in random.sample(empty, max(0, many)):
        found[y][x] = solution[y][x]
    return found


GRID = "preprocess=grid,rows=9,columns=9,values=10"
TASK = GalleryTask(
    "sudoku",
    "a sudoku of 9 x 9",
    (
        f"[STRUCT:puzzle,{GRID}] -> [STRUCT:solution,{GRID}]",
        f"solve [STRUCT:puzzle,{GRID}] -> [STRUCT:solution,{GRID}]",
        f"fill the empty cells of [STRUCT:puzzle,{GRID}] -> [STRUCT:solution,{GRID}]",
    ),
    "grid_exact",
    (),
    "Boards made by rule, of which 36 to 64 cells are given, as many easy as hard, and each puzzle has one solution. "
    "Training boards are shown thirty times, with other cells given, digits renamed, and rows and columns in other "
    "orders; no board of a test row is one of them, however it is written.",
    make,
    (12_000, 50, 200),
    "a9e605937317d400",
    Figure(0, "always the commonest grid"),
    Figure(1, "single choices, by rule"),
    settings={"micro_batch_size": 16},
    steps=2000,
)
