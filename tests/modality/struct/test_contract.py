"""STRUCT keeps the contract of a modality with each of its preprocessors."""

import sqlite3

import numpy as np
import pytest

from ofasys.errors import PlanError
from ofasys.modality.struct import STRUCT
from ofasys.planner import explain, plan
from ofasys.testing import check_modality

TABLES = {
    "values": [
        [{"name": "Ann", "age": 31}, {"name": "Bob", "age": None}],
        {"a | b": ["", "NULL", "31"]},
        [["x", "y"], [True, 1.5]],
        [["no", "rows"]],
    ],
    "bad": [7, [], [["a", "a"]], [["a", "b"], [1]], [{"a": [1]}], "nowhere.csv"],
    "extreme": [{"a": ["x" * 5000]}, {"a": range(100_000)}, [["a" * 3000]], [[f"c{i}" for i in range(300)]]],
}
TRIPLES = {
    "values": [[("Ann", "born in", "Oslo")], [("a", "is", 1), ("b | c", "is", "1")], []],
    "bad": [7, "Ann", [("a", "b")], [("a", "b", None)], {"a": 1}],
    "extreme": [[("a", "b", "c" * 5000)], [("a", "b", i) for i in range(1000)]],
    "source": "[STRUCT:x,preprocess=triples] what is it? -> [TEXT:answer]",
    "target": "what is [TEXT:question]? -> [STRUCT:x,preprocess=triples]",
}
SQUARES = {
    "values": [[[1, 2], [3, 4]], np.eye(2, dtype=int), ((9, 9), (0, 0))],
    "bad": [7, [], [[1, 2, 3], [4, 5, 6]], [[1, 10], [0, 0]], [[1, 2], [3]], "1234"],
    "extreme": [[[0]], [[0] * 1000] * 1000],
    "source": "[STRUCT:x,preprocess=grid,rows=2,columns=2] what is it? -> [TEXT:answer]",
    "target": "what is [TEXT:question]? -> [STRUCT:x,preprocess=grid,rows=2,columns=2]",
}
SHAPES = {
    "values": [[[1, 2], [3, 4]], [[0]], [[1], [2], [3]], [[5] * 9]],
    "bad": [7, [], [[1, 10]], [[1, 2], [3]], "1234", [[0] * 65]],
    "extreme": [[[0] * 64] * 10, [[0] * 1000] * 1000],
    "source": "[STRUCT:x,preprocess=grid] what is it? -> [TEXT:answer]",
    "target": "what is [TEXT:question]? -> [STRUCT:x,preprocess=grid]",
}


@pytest.mark.filterwarnings("ignore:.* left out:UserWarning")
@pytest.mark.parametrize("arguments", [TABLES, TRIPLES, SQUARES, SHAPES], ids=["table", "triples", "grid", "grids"])
def test_the_contract(arguments):
    same = (lambda one, back: np.asarray(one).tolist() == back) if arguments in (SQUARES, SHAPES) else None
    report = check_modality(STRUCT, **arguments, same=same)
    assert not report.left_out


def test_a_database_is_asked_and_not_made(tmp_path):
    for number in range(2):
        connection = sqlite3.connect(tmp_path / f"{number}.db")
        connection.execute(f"CREATE TABLE t{number}(a INTEGER PRIMARY KEY, b TEXT)")
        connection.close()
    text = "[STRUCT:db,preprocess=database] [TEXT:question] -> [TEXT:sql]"
    shown = explain(plan(text))
    assert "preprocess  database (attribute): an SQLite database's schema and a few of its values, as text" in shown
    assert "max_length=1024, samples=3" in shown
    with pytest.raises(PlanError, match="a database is read, not generated"):
        plan("[TEXT:question] -> [STRUCT:db,preprocess=database]")
    plan("-> [STRUCT:db,preprocess=database,no_loss] [TEXT:sql]")


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ("preprocess=grid,rows=4", "rows and columns go together"),
        ("preprocess=grid,columns=4", "rows and columns go together"),
        ("rows=4,columns=4", "rows does not reach this slot|columns does not reach this slot"),
        ("preprocess=tables", "no preprocess 'tables' for STRUCT; did you mean table"),
        ("closed_set", "STRUCT does not take closed_set"),
    ],
)
def test_attributes_that_cannot_be(attributes, says):
    with pytest.raises(PlanError, match=says):
        plan(f"[TEXT:t] -> [STRUCT:s,{attributes}]")


def test_how_positions_are_planned():
    for text, where, expected in (
        ("[STRUCT:s] -> [TEXT:t]", "1-D", 128),
        ("[STRUCT:s,max_length=9] -> [TEXT:t]", "1-D", 9),
        ("[STRUCT:s,preprocess=grid,rows=3,columns=5] -> [TEXT:t]", "2-D", 15),
        ("[STRUCT:s,preprocess=grid] -> [TEXT:t]", "2-D (y, x)", 100),
        ("[TEXT:t] -> [STRUCT:s,preprocess=grid]", "1-D", 100),
        ("[TEXT:t] -> [STRUCT:s,preprocess=grid,rows=3,columns=5]", "2-D", 15),
    ):
        slot = next(slot for slot in plan(text).slots if slot.modality == "STRUCT")
        assert (slot.positions, slot.expected) == (where, expected)
