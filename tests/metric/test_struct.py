"""Metrics of structures, by hand."""

import math

import numpy as np
import pytest

from ofasys.errors import DataError
from ofasys.metric import METRICS
from ofasys.metric.struct import grid_exact, table_exact, table_exact_any_order, triples_f1
from ofasys.modality.struct.notation import Malformed
from ofasys.modality.struct.table import Table, parse_table

TRUE = [{"name": "Ann", "age": 31}, {"name": "Bob", "age": None}]


def test_tables_cell_by_cell():
    # 4 cells each; 3 are (row, column, value) alike: 2 * 3 / 8
    found = table_exact([[{"name": "Ann", "age": 31}, {"name": "Bob", "age": 30}]], [TRUE])
    assert found == {"table_exact": 0, "cell_f1": 0.75}
    # a row less: 2 * 2 / (2 + 4)
    assert table_exact([TRUE[:1]], [TRUE])["cell_f1"] == pytest.approx(4 / 6)
    # a column less: 2 * 2 / (2 + 4)
    assert table_exact([{"name": ["Ann", "Bob"]}], [TRUE])["cell_f1"] == pytest.approx(4 / 6)
    # the mean of 1, 0.75 and 0
    three = [TRUE, [{"name": "Ann", "age": 31}, {"name": "Bob", "age": 30}], None]
    assert table_exact(three, [TRUE] * 3) == {"table_exact": 1 / 3, "cell_f1": pytest.approx(1.75 / 3)}


def test_rows_in_any_order():
    turned = TRUE[::-1]
    assert table_exact([turned], [TRUE]) == {"table_exact": 0, "cell_f1": 0}
    assert table_exact_any_order([turned], [TRUE]) == {"table_exact_any_order": 1, "cell_f1_any_order": 1}
    # a row twice is not a row once: 2 * 2 / (4 + 2)
    found = table_exact_any_order([TRUE[:1] * 2], [TRUE[:1]])
    assert found == {"table_exact_any_order": 0, "cell_f1_any_order": pytest.approx(4 / 6)}


@pytest.mark.parametrize(
    "form",
    [
        TRUE,
        [{"age": 31.0, "name": "Ann"}, {"age": math.nan, "name": "Bob"}],
        {"name": ["Ann", "Bob"], "age": [np.int64(31), None]},
        [["age", "name"], [31, "Ann"], [None, "Bob"]],
        parse_table(" name | age\n Ann | 31\n Bob |"),
    ],
)
def test_forms_of_a_table_are_alike(form):
    assert table_exact([form], [TRUE]) == {"table_exact": 1, "cell_f1": 1}
    assert table_exact([TRUE], [form]) == {"table_exact": 1, "cell_f1": 1}


@pytest.mark.parametrize(("one", "other"), [(31, "31"), (1, True), (None, ""), (None, "NULL"), ("a", "A")])
def test_cells_that_differ(one, other):
    assert table_exact([[{"a": one}]], [[{"a": other}]]) == {"table_exact": 0, "cell_f1": 0}


def test_tables_without_rows():
    empty, other = Table([], ["a", "b"]), Table([], ["a"])
    assert table_exact([Table([], ["b", "a"]), other], [empty, empty]) == {"table_exact": 0.5, "cell_f1": 0.5}


def test_the_best_of_several_tables_counts():
    assert table_exact([TRUE], [[Table(TRUE[:1]), Table(TRUE)]]) == {"table_exact": 1, "cell_f1": 1}
    assert grid_exact([[[1, 2]]], [[[[1, 1]], [[1, 2]]]]) == {"grid_exact": 1, "cell_accuracy": 1}
    ways = [[("a", "b", "c")] * 3, [("a", "b", "d")]]
    assert triples_f1([[("a", "b", "d")]], [ways])["triples_f1"] == 1


def test_grids():
    true = [[1, 2], [3, 4]]
    assert grid_exact([true, [[1, 2], [3, 5]]], [true, true]) == {"grid_exact": 0.5, "cell_accuracy": 7 / 8}
    assert grid_exact([np.array(true)], [np.array(true)]) == {"grid_exact": 1, "cell_accuracy": 1}
    for other in (None, Malformed("1 2\n3", "rows"), [[1, 2, 3, 4]], [[1, 2]], [[1, 2], [3]], [1, 2], 7):
        assert grid_exact([other], [true]) == {"grid_exact": 0, "cell_accuracy": 0}


def test_triples():
    true = [("Ann", "born in", "Oslo"), ("Ann", "age", 31)]
    assert triples_f1([true[::-1]], [[list(triple) for triple in true]])["triples_f1"] == 1
    found = triples_f1([[("Ann", "born  in", "Oslo"), ("Bob", "age", 31), ("Bob", "age", 31)]], [true])
    assert found == {"triples_f1": 0.5, "triples_precision": 0.5, "triples_recall": 0.5}
    # over all samples: 1 hit, 1 predicted, 3 true
    found = triples_f1([true[:1], None], [true, [("a", "b", "c")]])
    assert found == {"triples_f1": 0.5, "triples_precision": 1, "triples_recall": pytest.approx(1 / 3)}
    assert triples_f1([[("Ann", "age", "31")]], [true[1:]])["triples_f1"] == 0


def test_no_triples():
    assert set(triples_f1([[]], [[]]).values()) == {1}
    assert triples_f1([Malformed("x", "y")], [[("a", "b", "c")]]) == {
        "triples_f1": 0,
        "triples_precision": 0,
        "triples_recall": 0,
    }
    # an answer that is no list is no answer, also where there was nothing to say
    assert set(triples_f1([[], Malformed("x", "y"), None, []], [[]] * 4).values()) == {0.5}
    assert triples_f1([[("a", "b", "c")]], [[]]) == {"triples_f1": 0, "triples_precision": 0, "triples_recall": 0}


@pytest.mark.parametrize("metric", [table_exact, grid_exact, triples_f1])
@pytest.mark.parametrize("reference", [None, "text", 7, [1, 2], [[[1], 2]]])
def test_a_reference_that_is_none(metric, reference):
    with pytest.raises(DataError, match=r"the reference is .*sample 0.*expected a list"):
        metric([[]], [reference])


@pytest.mark.parametrize("name", ["table_exact", "table_exact_any_order", "grid_exact", "triples_f1"])
def test_they_are_known_by_name(name):
    metric, value = METRICS[name], [[1, 2, 3], [1, 2, 3]]
    assert metric([value], [value])[metric.main] == 1


def test_texts_in_structures_are_compared_as_everywhere():
    one, other = "Jose\u0301  Pérez", "José\u00a0Pérez"
    assert table_exact([[{one: one}]], [[{other: other}]]) == {"table_exact": 1, "cell_f1": 1}
    assert table_exact([[{"a": "दान"}]], [[{"a": "दीन"}]]) == {"table_exact": 0, "cell_f1": 0}
    assert triples_f1([[(one, one, 1)]], [[(other, other, 1.0)]])["triples_f1"] == 1
