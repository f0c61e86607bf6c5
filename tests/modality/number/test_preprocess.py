"""NUMBER: what is read as a number, on which scale, and how it comes back."""

import copy
import json
import math
import pickle
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ofasys.errors import DataError
from ofasys.metric.number import calibration
from ofasys.modality import Context
from ofasys.modality.number.number import Number
from ofasys.modality.number.preprocess import Scaled
from ofasys.modality.number.read_number import read_number

PLAIN = {"scale": "linear", "mean": None, "std": None, "lo": None, "hi": None}
HERE = Context()


def fit(values, **options):
    found = Scaled.fit(((value, HERE) for value in values), PLAIN | options, 0)
    return float(found["middle"][0]), float(found["unit"][0])


def scaled(values, **options):
    fitted = Scaled.fit(((value, HERE) for value in values), PLAIN | options, 0)
    return Scaled(PLAIN | options | {"fitted": fitted}, None)


def place(made, value):
    return float(made.preprocess(value, HERE).tensors["frames"][0, 0])


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (2.5, 2.5),
        (-0.0, 0.0),
        (2**53, 2.0**53),
        (2**60, 2.0**60),
        (np.int8(-3), -3.0),
        (np.uint64(2**63), 2.0**63),
        (np.float16(0.5), 0.5),
        (np.array(4), 4.0),
        (torch.tensor(1.5), 1.5),
        (torch.tensor(2, dtype=torch.int8), 2.0),
        (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
        (pa.scalar(7), 7.0),
        (pa.scalar("7.5"), 7.5),
        (Decimal("1.10"), 1.1),
        (Fraction(1, 4), 0.25),
        ("3.5", 3.5),
        (" -1e3\n", -1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+7", 7.0),
        ("007", 7.0),
        (np.str_("2"), 2.0),
    ],
)
def test_what_is_a_number(value, number):
    assert read_number(value) == number


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (True, "got the truth value True; expected a number: give 1 or 0, or read it with CATEGORY"),
        (np.bool_(False), "got the truth value False"),
        (torch.tensor(True), "got the truth value True"),
        ("True", "got str 'True'; expected .*; read other text with TEXT"),
        ("", "the text is blank; .*leave out rows without one"),
        (" \t", "the text is blank"),
        ("1,234", "write it without commas, '1234'"),
        ("-1,234,567.5", "write it without commas, '-1234567.5'"),
        ("3,5", "write it with a point, '3.5'"),
        ("1_000", "read other text with TEXT"),
        ("0x10", "got str '0x10'"),
        ("3 4", "read other text with TEXT"),
        ("$3.50", "write it without its unit"),
        ("12 kg", "write it without its unit"),
        ("50%", "write it without its unit"),
        ("٣", "got str"),
        ("nan", "leave out rows without one"),
        ("N/A", "leave out rows without one"),
        ("inf", "got str 'inf'"),
        ("1e400", "got str '1e400', beyond what a float holds"),
        (float("nan"), r"the value is missing \(NaN\)"),
        (np.float32("nan"), r"the value is missing \(NaN\)"),
        (Decimal("NaN"), r"the value is missing \(NaN\)"),
        (Decimal("sNaN"), "which no float holds"),
        (float("-inf"), "got float '-inf', beyond what a float holds"),
        (Decimal("1e400"), "beyond what a float holds"),
        (Fraction(10**400), "which no float holds"),
        (pytest.param(10**5000, "a whole number of 16610 bits, too large for a float", id="huge")),
        (2**53 + 1, r"the whole number 9007199254740993, which no float holds exactly .*read it with TEXT"),
        (np.int64(2**62 + 1), "which no float holds exactly"),
        (1j, "got complex '1j'"),
        (b"3", "got bytes"),
        ([3], "got list"),
        ({"x": 3}, "got dict"),
        (None, "got NoneType"),
        (np.array([3.0]), r"float64 and shape \(1,\); expected one number"),
        (torch.zeros(2), r"float32 and shape \(2,\)"),
        (pa.scalar(None, pa.int64()), "the value is missing"),
        (date(2026, 1, 1), "got date '2026-01-01', a time; expected a number: give what counts of it"),
        (datetime(2026, 1, 1, tzinfo=UTC), "a time; expected .*timestamp"),
        (timedelta(hours=1), "got timedelta '1:00:00', a time"),
        (np.datetime64("2026-01-01"), "a time"),
        (np.timedelta64(1, "s"), "a time"),
    ],
)
def test_what_is_none(value, says):
    with pytest.raises(DataError, match=says) as caught:
        read_number(value)
    assert "\n" not in str(caught.value)
    assert caught.value.expected


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_a_number_comes_back(number, std):
    made = scaled([], mean=1.0, std=std)
    try:
        piece = made.preprocess(number, HERE)
    except DataError:
        assert abs(number - 1.0) / std > 1e6 * (1 - 1e-9)
        return
    back = made.postprocess(piece.tensors["frames"], HERE)
    assert math.isclose(back, number, rel_tol=1e-6, abs_tol=1e-6 * std + 1e-7 * abs(number - 1.0))
    assert piece.length == 1
    assert piece.tensors["frames"].dtype == np.float32


# --- scales ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9, 1e300, 1e-300])
def test_the_scale_is_that_of_the_bulk(unit):
    numbers = np.random.default_rng(0).normal(5, 2, 5000)
    middle, spread = fit((numbers * unit).tolist())
    assert middle == pytest.approx(5 * unit, rel=0.02)
    assert spread == pytest.approx(2 * unit, rel=0.05)
    far = fit([*(numbers * unit).tolist(), 1e7 * unit, -1e7 * unit])
    assert far == pytest.approx((middle, spread), rel=0.01)  # two that are far out change nothing


@pytest.mark.parametrize(
    ("numbers", "middle", "unit"),
    [
        ([7.0], 7.0, 7.0),
        ([1e9] * 50, 1e9, 1e9),
        ([0.0] * 50, 0.0, 1.0),
        ([-1e-6] * 50, -1e-6, 1e-6),
        ([0] * 80 + [1] * 20, 0.0, 1 / 4.653),  # most are one number: by hundredths
        ([0] * 999 + [1], 0.0, 0.0316),  # nearly all: by deviation
    ],
)
def test_the_scale_of_a_column_of_few_numbers(numbers, middle, unit):
    assert fit(numbers) == pytest.approx((middle, unit), rel=0.01)


def test_bad_values_are_left_out_of_the_scale():
    assert fit(["1", 2, "x", None, float("nan"), 3]) == fit([1, 2, 3])
    assert fit([1, 2, 3, 99], hi=10) == fit([1, 2, 3])
    with pytest.raises(DataError, match="no number to learn the scale from; the first value: got str 'x'"):
        fit(["x", "y"])
    with pytest.raises(DataError, match="no number to learn the scale from; expected at least one"):
        fit([])


def test_a_scale_that_is_given_needs_no_values():
    assert fit([], mean=3.0, std=2.0) == (3.0, 2.0)
    assert place(scaled([], mean=3.0, std=2.0), 7) == 2.0


def test_logarithms():
    made = scaled([math.exp(m) for m in (1, 2, 3, 4, 5)], scale="log")
    assert made.middle == pytest.approx(3)
    assert place(made, math.exp(3 + made.unit)) == pytest.approx(1, abs=1e-6)
    for bad in (0, -1):
        with pytest.raises(DataError, match=f"the number {bad} has no logarithm; expected .*above 0"):
            made.preprocess(bad, HERE)
    back = made.postprocess(np.array([[0.5, 0.1]]), HERE)
    median, log_spread = math.exp(3 + 0.5 * made.unit), 0.1 * made.unit
    assert back == pytest.approx(median)
    assert back.log_spread == pytest.approx(log_spread)
    assert back.spread == pytest.approx(stats.lognorm(log_spread, scale=median).std())
    assert back.interval(0.9) == pytest.approx(stats.lognorm(log_spread, scale=median).interval(0.9))


def test_bounds():
    made = scaled([0, 5, 10], lo=0.0, hi=10.0)
    with pytest.raises(DataError, match="the number -1 is below lo=0; expected 0 or more"):
        made.preprocess(-1, HERE)
    with pytest.raises(DataError, match="the number 11 is above hi=10; expected 10 or less"):
        made.preprocess("11", HERE)
    assert made.postprocess(np.array([[99.0, 1.0]]), HERE) == 10.0
    assert made.postprocess(np.array([[-99.0, 1.0]]), HERE) == 0.0


def test_a_number_out_of_all_proportion():
    made = scaled(np.random.default_rng(0).normal(size=100).tolist())
    with pytest.raises(DataError, match=r"the number 1e\+12 is more than 1e\+06 times the spread .*scale=log"):
        made.preprocess(1e12, HERE)


def test_what_the_model_made_is_finite_and_so_is_the_answer():
    made = scaled([], mean=0.0, std=1e300)
    assert made.postprocess(np.array([[1e10, 1e10]]), HERE) == 1.7976931348623157e308
    logs = scaled([], mean=0.0, std=100.0, scale="log")
    assert math.isfinite(logs.postprocess(np.array([[50.0, 50.0]]), HERE).spread)
    with pytest.raises(DataError, match="the model made NaN or infinity"):
        made.postprocess(np.array([[np.nan, 1.0]]), HERE)


# --- the answer ------------------------------------------------------------------------------------------------------


def test_an_answer_is_a_float_that_knows_its_spread():
    made = Number(2.5, 0.5)
    assert isinstance(made, float)
    assert (made.spread, made.log_spread) == (0.5, None)
    assert json.dumps({"x": made}) == '{"x": 2.5}'
    assert str(made) == repr(made) == "2.5"
    assert made.interval() == pytest.approx(stats.norm(2.5, 0.5).interval(0.9))
    assert type(made + 1) is float
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), copy.copy(made)):
        assert (again, again.spread, type(again)) == (2.5, 0.5, Number)
    with pytest.raises(ValueError, match=r"share is 1.5; give a probability above 0 and below 1"):
        made.interval(1.5)


def test_canonical():
    made = scaled([1, 2, 3])
    assert made.canonical("1e3") == 1000.0
    assert made.canonical("x") == "x"
    assert made.canonical(None) is None


def test_an_answer_held_between_bounds_keeps_what_the_model_said():
    """The interval is of the distribution, cut at the bounds; calibration reads its centre."""
    made = Number(-2.0, 4.0, None, (0.0, 10.0))
    assert (float(made), made.center, made.bounds) == (0.0, -2.0, (0.0, 10.0))
    free = Number(-2.0, 4.0)
    low, high = made.interval(0.9)
    assert (low, high) == (0.0, free.interval(0.9)[1])
    assert Number(30.0, 1.0, None, (0.0, 10.0)).interval() == (10.0, 10.0)
    assert pickle.loads(pickle.dumps(made)).interval(0.9) == made.interval(0.9)
    truths = [0.5, 1.0, 3.0, 7.0]
    assert calibration([made] * 4, truths)["calibration_error"] == calibration([free] * 4, truths)["calibration_error"]
