"""Grids: a token a cell, where it stands in two dimensions, and back; what is no grid is an error that says so."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.modality import Context
from ofasys.modality.struct.notation import Malformed
from ofasys.modality.struct.options import CELLS
from ofasys.modality.struct.preprocess import Grids
from ofasys.modality.symbols import Symbols
from ofasys.modality.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def symbols(tiny):
    return Symbols(
        tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size(), "cells": CELLS + 1})
    )


def grids(symbols, values=10, rows=None, columns=None, max_length=None):
    return Grids({"values": values, "rows": rows, "columns": columns, "max_length": max_length}, symbols)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_grid_comes_back(symbols, data):
    h, w, values = data.draw(st.integers(1, 64)), data.draw(st.integers(1, 64)), data.draw(st.integers(2, CELLS))
    value = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, values, (h, w)).tolist()
    low, high = symbols.vocabulary.span("cells")
    for fixed in (True, False):
        made = grids(symbols, values, *((h, w) if fixed else (None, None)))
        piece = made.preprocess(value, Context())
        tokens = piece.tensors["tokens"]
        assert piece.length == len(tokens) == len(piece.grid) == h * w + (0 if fixed else h - 1)
        assert ((tokens >= low) & (tokens < (low + values if fixed else high))).all()
        assert made.postprocess(tokens, Context()) == value
        assert piece.orders == 1


def test_where_cells_stand(symbols):
    low, high = symbols.vocabulary.span("cells")
    piece = grids(symbols, rows=2, columns=3).preprocess([[1, 2, 3], [4, 5, 6]], Context())
    assert (piece.tensors["tokens"] - low).tolist() == [1, 2, 3, 4, 5, 6]
    assert piece.grid.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    piece = grids(symbols).preprocess([[1, 2, 3], [4, 5, 6]], Context())
    assert (piece.tensors["tokens"] - low).tolist() == [1, 2, 3, CELLS, 4, 5, 6]
    assert piece.tensors["tokens"][3] == high - 1
    assert piece.grid.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize(
    "value",
    [
        [[0, 1], [1, 0]],
        ((0, 1), (1, 0)),
        [np.array([0, 1]), np.array([1, 0])],
        np.array([[0, 1], [1, 0]], np.uint8),
        np.array([[False, True], [True, False]]),
        torch.tensor([[0, 1], [1, 0]]),
        "[[0, 1], [1, 0]]",
    ],
)
def test_forms_of_a_grid(symbols, value):
    assert grids(symbols).canonical(value) == [[0, 1], [1, 0]]
    expected = grids(symbols).preprocess([[0, 1], [1, 0]], Context()).tensors["tokens"]
    np.testing.assert_array_equal(grids(symbols).preprocess(value, Context()).tensors["tokens"], expected)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "got NoneType"),
        (7, "got int 7"),
        ("53..7", "got the text '53..7'"),
        ([], "the grid is 0 x 0"),
        ([[]], "the grid is 1 x 0"),
        ([1, 2], "row 0 of the grid is int 1"),
        (["12", "34"], "row 0 of the grid is str '12'"),
        ([[1, 2], [3]], "row 1 of the grid has 1 cells and row 0 2"),
        ([[1, "2"]], "row 0, column 1 of the grid holds '2'"),
        ([[1, 2.0]], r"row 0, column 1 of the grid holds 2\.0"),
        ([[1, None]], "row 0, column 1 of the grid holds None"),
        ([[1, [2]]], r"row 0, column 1 of the grid holds \[2\]"),
        ([[1, -1]], "row 0, column 1 of the grid holds -1"),
        ([[1], [10]], "row 1, column 0 of the grid holds 10; .*0 to 9; values= allows more"),
        ([[10**30]], "holds 1000000"),
        (np.zeros((2, 2)), "got an array of float64"),
        (np.zeros((2, 2, 2), int), r"of shape \(2, 2, 2\)"),
        (np.full((2, 2), 2**63, np.uint64), "row 0, column 0 of the grid holds 9223372036854775808"),
        ([[0] * 65], "row 0 of the grid has 65 cells"),
        ([[0]] * 65, "the grid has 65 rows"),
        (np.zeros((65, 1), int), "the grid is 65 x 1"),
    ],
)
def test_what_is_no_grid(symbols, value, says):
    with pytest.raises(DataError, match=says):
        grids(symbols).preprocess(value, Context())


def test_a_grid_of_another_shape(symbols):
    with pytest.raises(DataError, match="the grid is 3 x 2; expected 2 x 3"):
        grids(symbols, rows=2, columns=3).preprocess([[1, 2]] * 3, Context())
    assert grids(symbols, rows=3, columns=2).preprocess([[1, 2]] * 3, Context()).length == 6


def test_a_grid_is_never_cut(symbols):
    with pytest.raises(DataError, match="a grid of 3 x 3 takes 11 positions; expected at most max_length=10"):
        grids(symbols, max_length=10).preprocess([[1] * 3] * 3, Context())
    assert grids(symbols, max_length=11).preprocess([[1] * 3] * 3, Context()).length == 11


@pytest.mark.parametrize(
    ("cells", "text", "problem"),
    [
        ([1, 2, CELLS, 3], "1 2\n3", "rows of several lengths"),
        ([CELLS, 3], "\n3", "a row without cells"),
        ([], "", "a row without cells"),
        ([CELLS, CELLS], "\n\n", "a row without cells"),
        ([1, 12, CELLS, 3, 4], "1 12\n3 4", "a cell above 9"),
    ],
)
def test_cells_that_are_no_grid_are_given_back_as_text(symbols, cells, text, problem):
    low, _ = symbols.vocabulary.span("cells")
    found = grids(symbols).postprocess(np.array(cells, dtype=np.int64) + low, Context())
    assert isinstance(found, Malformed)
    assert found == text
    assert found.problem == problem
