"""Cells as text: what is written is read back as the same value of the same kind, and other values are told apart."""

import contextlib
import datetime
import math
import pickle
from decimal import Decimal

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.modality.struct.notation import (
    Malformed,
    plain,
    read_line,
    shown,
    write_cell,
    write_line,
    write_name,
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
TRICKY = st.text(st.sampled_from('|"\\\n\r\t ,;:{}[]aN019.eE+-\u00a0\u2028éß漢🐶'), max_size=8)
LIKE = st.sampled_from(
    ["", " ", "NULL", "null", "None", "nan", "inf", "-inf", "true", "True", "1", "-0", "007", "1.0", "1e5"]
)
VALUE = st.one_of(
    TEXT,
    TRICKY,
    LIKE,
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
)


def same(one, other):
    """Equal, and of one kind; -0.0 and 0.0 apart."""
    return type(one) is type(other) and repr(one) == repr(other)


@given(st.lists(VALUE, min_size=1, max_size=6))
def test_a_line_reads_back(values):
    line = write_line([write_cell(value) for value in values])
    assert "\n" not in line
    assert len(back := read_line(line)) == len(values)
    assert all(map(same, back, values))


@given(st.lists(st.one_of(TEXT, TRICKY, LIKE), min_size=1, max_size=6))
def test_a_header_reads_back(names):
    assert read_line(write_line([write_name(name) for name in names]), names=True) == names


@given(st.text())
def test_any_line_is_read_or_refused(line):
    with contextlib.suppress(ValueError):
        assert all(cell is None or isinstance(cell, (str, int, float)) for cell in read_line(line))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Ann Lee", "Ann Lee"),
        (31, "31"),
        ("31", '"31"'),
        ("007", "007"),
        (2.5, "2.5"),
        (31.0, "31.0"),
        (None, ""),
        ("", '""'),
        ("NULL", "NULL"),
        (True, "true"),
        ("true", '"true"'),
        ("a|b", '"a|b"'),
        ("two\nlines", r'"two\nlines"'),
        (' "x" ', r'" \"x\" "'),
        ("C:\\new", "C:\\new"),
        ("狗 🐶", "狗 🐶"),
        (-math.inf, "-inf"),
    ],
)
def test_how_a_cell_is_written(value, written):
    assert write_cell(value) == written
    (back,) = read_line(write_line([written]))
    assert same(back, value)


def test_a_line_has_a_blank_before_each_cell_and_none_for_null():
    assert write_line([write_cell(v) for v in ("Ann", None, 3, None)]) == " Ann | | 3 |"
    assert read_line(" Ann | | 3 |") == ["Ann", None, 3, None]
    assert read_line("Ann||3|") == ["Ann", None, 3, None]
    assert read_line("") == [None]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (' "open | 3', "a quote is not closed"),
        (' "a" b | 3', "text follows a closing quote"),
        (r' "\q"', "not escaped as JSON is"),
        (r' "\ud800"', "half a character"),
    ],
)
def test_lines_that_cannot_be_read(line, says):
    with pytest.raises(ValueError, match=says):
        read_line(line)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int8(3), 3),
        (np.float32(0.1), 0.1),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (math.nan, None),
        (np.float32("nan"), None),
        (pandas.NA, None),
        (pandas.NaT, None),
        (np.datetime64("NaT"), None),
        (np.datetime64("2024-01-02"), "2024-01-02"),
        (pandas.Timestamp("2024-01-02 03:04:05"), "2024-01-02 03:04:05"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (Decimal("1.50"), 1.5),
        (Decimal("20"), 20),
        (Decimal("NaN"), None),
    ],
)
def test_kinds_of_a_value(value, expected):
    assert same(plain(value), expected)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1], r"a cell holds list \[1\]"),
        ({"a": 1}, "a cell holds dict"),
        (b"\0" * 1000, "a cell holds 1000 bytes"),
        (object(), "a cell holds object"),
        (10**400, "a cell holds int 1000"),
        (Decimal("1e1000000"), "a cell holds Decimal"),
        (np.array([1, 2]), "a cell holds ndarray"),
        (1 + 2j, "a cell holds complex"),
    ],
)
def test_what_is_no_cell(value, says):
    with pytest.raises(DataError, match=says) as error:
        plain(value)
    assert "a text, a number, a truth value, a date or None" in str(error.value)


def test_malformed_text_is_text_and_says_what_is_wrong():
    made = Malformed("| x", "a column has no name")
    assert made == "| x"
    assert made.problem == "a column has no name"
    back = pickle.loads(pickle.dumps(made))
    assert (back, back.problem) == (made, made.problem)


def test_what_is_shown_is_short():
    assert len(shown([["x" * 10**6] * 100] * 100)) <= 40
