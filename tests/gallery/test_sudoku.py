"""Sudoku: every puzzle has one solution, which is a solved board; the same seed gives the same puzzles."""

from random import Random

import pytest

from ofasys.gallery.sudoku import full_board, puzzles, solve


def solved(board):
    size = len(board)
    box = round(size**0.5)
    groups = [*board, *zip(*board, strict=True)]
    groups += [[board[y // box * box + i // box][y % box * box + i % box] for i in range(size)] for y in range(size)]
    return all(sorted(group) == list(range(1, size + 1)) for group in groups)


@pytest.mark.parametrize(("size", "count", "givens"), [(4, 50, None), (4, 20, 4), (9, 3, 36)])
def test_puzzles_have_one_solution(size, count, givens):
    rows = puzzles(count, size=size, givens=givens, seed=1)
    assert len({str(row["puzzle"]) for row in rows}) == count
    for row in rows:
        assert solved(row["solution"])
        assert solve(row["puzzle"], 2) == [row["solution"]]
        assert sum(cell > 0 for line in row["puzzle"] for cell in line) >= (givens or size * size // 2)


def test_the_same_seed_gives_the_same_puzzles():
    assert puzzles(5, seed=3) == puzzles(5, seed=3)
    assert puzzles(5, seed=3) != puzzles(5, seed=4)


def test_there_are_288_boards_of_four():
    assert len(solve([[0] * 4 for _ in range(4)], 1000)) == 288
    assert solved(full_board(Random(0), 9))


def test_boards_without_a_solution():
    assert solve([[1, 1, 0, 0], [0] * 4, [0] * 4, [0] * 4]) == []
    assert solve([[9, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4]) == []
    with pytest.raises(ValueError, match="a board of 5 rows is no sudoku"):
        solve([[0] * 5] * 5)
    with pytest.raises(ValueError, match="different puzzles of size 4 with 16 givens"):
        puzzles(289, size=4, givens=16)
