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
    """Up to `most` solutions, by search from the cell with the fewest choices; in random order if `random` is given."""
    size = len(board)
    box = round(size**0.5)
    if box * box != size or any(len(row) != size for row in board):
        raise ValueError(f"a board of {size} rows is no sudoku; it has 4, 9, 16 ... rows of as many cells")
    everything = (1 << size) - 1
    rows, columns, boxes = [0] * size, [0] * size, [0] * size  # bit v-1: the value v is there already
    cells = [list(row) for row in board]
    empty = []
    for y in range(size):
        for x in range(size):
            if value := cells[y][x]:
                bit, at = 1 << (value - 1), y // box * box + x // box
                if (rows[y] | columns[x] | boxes[at]) & bit:
                    return []
                rows[y], columns[x], boxes[at] = rows[y] | bit, columns[x] | bit, boxes[at] | bit
            else:
                empty.append((y, x))
    found: list[Board] = []

    def fill() -> None:
        if not empty:
            found.append([list(row) for row in cells])
            return
        best, choices = -1, 0
        for i, (y, x) in enumerate(empty):
            free = everything & ~(rows[y] | columns[x] | boxes[y // box * box + x // box])
            if best < 0 or free.bit_count() < choices.bit_count():
                best, choices = i, free
                if free.bit_count() <= 1:
                    break
        y, x = empty.pop(best)
        at = y // box * box + x // box
        values = [v for v in range(1, size + 1) if choices >> (v - 1) & 1]
        if random is not None:
            random.shuffle(values)
        for value in values:
            bit = 1 << (value - 1)
            cells[y][x] = value
            rows[y], columns[x], boxes[at] = rows[y] | bit, columns[x] | bit, boxes[at] | bit
            fill()
            rows[y], columns[x], boxes[at] = rows[y] & ~bit, columns[x] & ~bit, boxes[at] & ~bit
            if len(found) >= most:
                break
        cells[y][x] = 0
        empty.insert(best, (y, x))

    fill()
    return found
