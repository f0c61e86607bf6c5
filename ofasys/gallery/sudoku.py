"""Sudoku of any box size, made from a seed: 4 x 4 in boxes of 2 x 2, 9 x 9 in boxes of 3 x 3. Each has one solution."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

Board = list[list[int]]  # 0 is an empty cell


def puzzles(count: int, *, size: int = 4, givens: int | None = None, seed: int = 0) -> list[dict[str, Board]]:
    """`count` puzzles that differ, each {"puzzle": board, "solution": board}; the same for the same arguments.

    size: 4 or 9 (a square number). givens: cells that are filled, by default half of them; more where the puzzle would
    otherwise have two solutions. ValueError where so many different puzzles are not found.
    """
    random, found, stale = Random(f"{size} {givens} {seed}"), dict[str, dict[str, Board]](), 0
    while len(found) < count:
        solution = full_board(random, size)
        board = puzzle(random, solution, size * size // 2 if givens is None else givens)
        stale = stale + 1 if str(board) in found else 0
        found.setdefault(str(board), {"puzzle": board, "solution": solution})
        if stale > 300:
            raise ValueError(f"only {len(found)} different puzzles of size {size} with {givens} givens were found")
    return list(found.values())


def full_board(random: Random, size: int = 4) -> Board:
    """A random solved board."""
    (board,) = solve([[0] * size for _ in range(size)], random=random)
    return board


def puzzle(random: Random, solution: Board, givens: int) -> Board:
    """The solution with cells taken away, in random order, as long as it stays the only one and `givens` are left."""
    size = len(solution)
    board = [list(row) for row in solution]
    places = [(y, x) for y in range(size) for x in range(size)]
    random.shuffle(places)
    left = size * size
    for y, x in places:
        if left <= givens:
            break
        value, board[y][x] = board[y][x], 0
        if len(solve(board, 2)) == 1:
            left -= 1
        else:
            board[y][x] = value
    return board


def solve(board: Sequence[Sequence[int]], most: int = 1, random: Random | None = None) -> list[Board]:
    """Up to `most` solutions, by search from the cell with the fewest choices; in random order if `random` is given.

    Errors: ValueError for a board that is not square or whose side is no square number.
    """
    search = _Search(board, most, random)
    if search.begin(board):
        search.fill()
    return search.found


class _Search:
    """A board that is being filled. What a row, column or box has is a number: its bit v - 1 is the value v."""

    def __init__(self, board: Sequence[Sequence[int]], most: int, random: Random | None) -> None:
        self.size, self.most, self.random = len(board), most, random
        self.box = round(self.size**0.5)
        if self.box**2 != self.size or any(len(row) != self.size for row in board):
            raise ValueError(f"a board of {self.size} rows is no sudoku; it has 4, 9, 16 ... rows of as many cells")
        self.cells: Board = [[0] * self.size for _ in range(self.size)]
        self.rows, self.columns, self.boxes = [0] * self.size, [0] * self.size, [0] * self.size
        self.empty: list[tuple[int, int]] = []
        self.found: list[Board] = []

    def begin(self, board: Sequence[Sequence[int]]) -> bool:
        """Put down what is given; whether it goes together."""
        for y, row in enumerate(board):
            for x, value in enumerate(row):
                if not value:
                    self.empty.append((y, x))
                elif self.free(y, x) >> (value - 1) & 1:
                    self.cells[y][x] = value
                    self.turn(y, x, value)
                else:
                    return False
        return True

    def free(self, y: int, x: int) -> int:
        """The values that may stand in a cell, as bits."""
        taken = self.rows[y] | self.columns[x] | self.boxes[y // self.box * self.box + x // self.box]
        return ((1 << self.size) - 1) & ~taken

    def turn(self, y: int, x: int, value: int) -> None:
        """Take the value of a cell, or give it back."""
        bit = 1 << (value - 1)
        self.rows[y] ^= bit
        self.columns[x] ^= bit
        self.boxes[y // self.box * self.box + x // self.box] ^= bit

    def fewest(self) -> tuple[int, int]:
        """Which of the empty cells has the fewest choices, and these as bits."""
        best, choices = -1, 0
        for i, (y, x) in enumerate(self.empty):
            free = self.free(y, x)
            if best < 0 or free.bit_count() < choices.bit_count():
                best, choices = i, free
                if free.bit_count() <= 1:
                    break
        return best, choices

    def fill(self) -> None:
        """Fill the empty cells in every way, until there are enough solutions."""
        if not self.empty:
            self.found.append([list(row) for row in self.cells])
            return
        best, choices = self.fewest()
        y, x = self.empty.pop(best)
        values = [value for value in range(1, self.size + 1) if choices >> (value - 1) & 1]
        if self.random is not None:
            self.random.shuffle(values)
        for value in values:
            self.cells[y][x] = value
            self.turn(y, x, value)
            self.fill()
            self.turn(y, x, value)
            if len(self.found) >= self.most:
                break
        self.cells[y][x] = 0
        self.empty.insert(best, (y, x))
