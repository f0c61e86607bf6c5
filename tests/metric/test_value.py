"""When two values are the same, whichever library they come from."""

import math
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
import torch
from PIL import Image

from ofasys.metric import accuracy, exact_match, f1, grid_exact, iou_accuracy, retrieval, table_exact, triples_f1
from ofasys.metric.value import key, label, plain

SAME = [
    (1, 1.0),
    (1, np.int8(1)),
    (1, np.uint64(1)),
    (0.5, np.float32(0.5)),
    (0.5, np.longdouble(0.5)),
    (1, torch.tensor(1)),
    (1, Decimal("1.00")),
    (0.1, Decimal("0.1")),
    (10**30, Decimal(10**30)),
    (True, np.True_),
    ("a b", np.str_("a\u00a0b ")),
    ("é", "e\u0301"),
    (b"a", np.bytes_(b"a")),
    ([1, 2], (1, 2)),
    ([1, 2], np.array([1, 2])),
    ([[1, 2], [3, 4]], [np.array([1, 2]), torch.tensor([3, 4])]),
    ({"a": [1, None]}, {"a": (1.0, None)}),
]
APART = [
    (20240131, 20240201),
    (2**53, 2**53 + 1),
    (2**53 + 1, float(2**53)),
    (10**30, 10**30 + 1),
    (0.1, 0.1 + 1e-12),
    (Decimal("0.12345678901234567891"), Decimal("0.12345678901234567892")),
    (1, True),
    (0, False),
    (0, np.False_),
    ("a", b"a"),
    ("a", "A"),
    ([1, 2], [2, 1]),
    ([1, 2], [1, 2, 3]),
    ({"a": 1}, {"b": 1}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same(one, other):
    assert key(one) == key(other)
    assert hash(key(one)) == hash(key(other))
    assert exact_match([one, other], [other, one]) == exact_match([plain(one)], [plain(other)]) == {"exact_match": 1}
    if not isinstance(one, (bytes, dict)) and np.ndim(one) == 0:
        assert accuracy([one], [other]) == accuracy([other], [one]) == {"accuracy": 1}
        assert f1([one, 7], [other, 7])["f1"] == 1
        assert table_exact([[{"a": one}]], [{"a": [other]}]) == {"table_exact": 1, "cell_f1": 1}
        assert triples_f1([[("s", "r", one)]], [[("s", "r", other)]])["triples_f1"] == 1
        assert grid_exact([[[one, one]]], [[[one, other]]]) == {"grid_exact": 1, "cell_accuracy": 1}


@pytest.mark.parametrize(("one", "other"), APART)
def test_apart(one, other):
    assert key(one) != key(other)
    assert exact_match([one, other], [other, one]) == {"exact_match": 0}
    if not isinstance(one, (bytes, dict)) and not isinstance(other, bytes) and np.ndim(one) == 0:
        assert accuracy([one], [other]) == {"accuracy": 0}
        assert table_exact([[{"a": one}]], [{"a": [other]}]) == {"table_exact": 0, "cell_f1": 0}
        assert triples_f1([[("s", "r", one)]], [[("s", "r", other)]])["triples_f1"] == 0
        assert grid_exact([[[one, one]]], [[[one, other]]]) == {"grid_exact": 0, "cell_accuracy": 0.5}


def test_nothing_is_the_same_as_nothing_inside_a_value():
    assert key(None) == key(math.nan) == key(np.float32("nan"))
    assert exact_match([[1, None]], [[1, None]]) == {"exact_match": 1}
    assert exact_match([None, math.nan], [None, 1]) == {"exact_match": 0}  # as an answer it is none


@pytest.mark.parametrize(
    ("text", "number", "right"),
    [
        ("1", 1, True),
        ("1", 1.0, True),
        ("1.0", 1.0, True),
        ("1.0", 1, False),
        ("007", 7, False),
        ("1e3", 1000, False),
        ("12e4", 120000.0, False),
        ("20240131", 20240201, False),
        ("1.10", Decimal("1.10"), True),
        ("True", True, True),
        ("1", True, False),
        (" 1\u00a0", 1, True),
    ],
)
def test_a_number_equals_the_text_that_writes_it(text, number, right):
    assert accuracy([text, number], [number, text]) == {"accuracy": right}
    assert exact_match([text, number], [[number], [text]]) == {"exact_match": right}
    assert f1([text, "x"], [number, "x"])["f1_micro"] == (1 if right else 0.5)


def test_a_number_longer_than_python_writes():
    number = 10**5000 + 1
    text = "1" + "0" * 4999 + "1"
    assert accuracy([text, number, number], [number, number, number + 1]) == {"accuracy": pytest.approx(2 / 3)}
    assert f1([text, "x"], [number, "x"])["f1"] == 1


def test_labels_as_texts():
    assert [label(value) for value in (1, 1.0, 1e20, 0.5, True, " a\u3000b", Decimal("2.0"))] == [
        "1",
        "1",
        "100000000000000000000",
        "0.5",
        "True",
        "a b",
        "2",
    ]


def test_values_of_other_kinds():
    assert exact_match([date(2024, 1, 31)], ["2024-01-31"]) == {"exact_match": 1}
    one, other = Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2))
    assert exact_match([one], [other]) == {"exact_match": 1}
    other.putpixel((0, 0), (1, 0, 0))
    assert exact_match([one], [other]) == {"exact_match": 0}


def test_tables_and_grids_of_arrays():
    true = {"name": ["a", "b"], "n": [1, 2]}
    for form in (
        {"name": np.array(["a", "b"]), "n": torch.tensor([1, 2])},
        [np.array(["name", "n"]), np.array(["a", 1], dtype=object), ("b", 2)],
        [{np.str_("name"): np.str_("a"), "n": np.int64(1)}, {"name": "b", "n": 2.0}],
    ):
        assert table_exact([form], [true]) == table_exact([true], [form]) == {"table_exact": 1, "cell_f1": 1}
    rows = [np.array([1, 2]), torch.tensor([3, 4])]
    assert grid_exact([rows], [[[1, 2], (3, 4)]]) == {"grid_exact": 1, "cell_accuracy": 1}
    assert triples_f1([np.array([["a", "b", "c"]])], [[("a", "b", "c")]])["triples_f1"] == 1


@pytest.mark.parametrize("form", [list, tuple, np.array, torch.tensor])
def test_boxes_of_any_kind(form):
    assert iou_accuracy([form([0, 0, 2, 2])], [(0, 0, 2, 2)])["mean_iou"] == 1
    assert iou_accuracy([(0, 0, 2, 2)], [form([0, 0, 2, 2])])["mean_iou"] == 1
    assert iou_accuracy([(0, 0, 2, 2)], [[form([5, 5, 6, 6]), form([0, 0, 2, 2])]])["mean_iou"] == 1
    assert iou_accuracy([(0, 0, 2, 2)], [form([[5, 5, 6, 6], [0, 0, 2, 2]])])["mean_iou"] == 1


@pytest.mark.parametrize(
    ("one", "other"), [("a", np.str_("a")), (1, np.int64(1)), (1, 1.0), ("é", "e\u0301"), ("a b", "a\u00a0b")]
)
def test_halves_that_are_the_same_thing(one, other):
    vectors = [((1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (1.0, 0.0))]
    assert retrieval(vectors, [("x", one), ("y", other)])["right_recall@1"] == 1
    assert retrieval(vectors, [("x", "a"), ("y", "b")])["right_recall@1"] == 0
    assert retrieval(vectors, [("x", 1), ("y", True)])["right_recall@1"] == 0
