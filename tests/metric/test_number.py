"""Metrics of numbers against scikit-learn and scipy."""

import math

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.metrics import mean_absolute_error, median_absolute_error, r2_score, root_mean_squared_error

from ofasys.errors import DataError
from ofasys.metric import calibration, mae, r2, rmse
from ofasys.modality.number.number import Number

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.normal(10, 3, 60)
SAID = TRUE + RANDOM.normal(0, 1, 60)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9])
def test_errors_are_those_of_scikit_learn(unit):
    said, true = (SAID * unit).tolist(), (TRUE * unit).tolist()
    assert rmse(said, true)["rmse"] == pytest.approx(root_mean_squared_error(true, said), rel=1e-12)
    assert mae(said, true)["mae"] == pytest.approx(mean_absolute_error(true, said), rel=1e-12)
    assert mae(said, true)["median_ae"] == pytest.approx(median_absolute_error(true, said), rel=1e-12)
    assert r2(said, true)["r2"] == pytest.approx(r2_score(true, said), rel=1e-12)


@pytest.mark.parametrize(
    ("said", "true"), [([1, 1], [1, 1]), ([1, 2], [1, 1]), ([5, 5, 5], [1, 2, 3]), ([2, 2], [1, 3])]
)
def test_r2_of_odd_lists_is_that_of_scikit_learn(said, true):
    assert r2(said, true)["r2"] == pytest.approx(r2_score(true, said))


def test_r2_of_one_is_not_there():
    assert math.isnan(r2([1.0], [2.0])["r2"])


def test_squares_that_no_float_holds():
    assert rmse([1e200, -1e200], [0, 0])["rmse"] == 1e200
    assert rmse([1e-200], [0])["rmse"] == 1e-200
    assert r2([1e200, -1e200, 0], [1e200, -1e200, 0])["r2"] == 1.0


def numbers(means, spreads, logs=None):
    return [Number(*row) for row in zip(means, spreads, logs if logs is not None else [None] * len(means), strict=True)]


@pytest.mark.slow
def test_a_spread_that_is_right_is_calibrated():
    random = np.random.default_rng(1)
    spreads = random.uniform(0.5, 3, 20_000)
    truths = random.normal(5, spreads)
    found = calibration(numbers([5.0] * 20_000, spreads), truths.tolist())
    assert found["calibration_error"] < 0.01
    for share in (50, 90, 95):
        assert found[f"within_{share}"] == pytest.approx(share / 100, abs=0.01)
    assert found["spread"] == pytest.approx(spreads.mean())
    narrow = calibration(numbers([5.0] * 20_000, spreads / 10), truths.tolist())
    assert narrow["calibration_error"] > 0.15
    assert narrow["within_90"] < 0.2
    assert narrow["crps"] > found["crps"]
    assert narrow["nll"] > found["nll"]


def test_likelihood_and_crps_are_those_of_their_distributions():
    means, spreads, truths = RANDOM.normal(3, 1, 9), RANDOM.uniform(0.2, 2, 9), RANDOM.normal(3, 2, 9)
    found = calibration(numbers(means, spreads), truths.tolist())
    assert found["nll"] == pytest.approx(-stats.norm(means, spreads).logpdf(truths).mean())
    expected = [crps(stats.norm(m, s), t) for m, s, t in zip(means, spreads, truths, strict=True)]
    assert found["crps"] == pytest.approx(np.mean(expected), rel=1e-5)
    logs, truths = RANDOM.uniform(0.1, 1, 9), RANDOM.lognormal(1, 1, 9)
    medians = np.exp(means / 3)
    found = calibration(numbers(medians, spreads, logs), truths.tolist())
    distributions = [stats.lognorm(log, scale=median) for log, median in zip(logs, medians, strict=True)]
    pairs = list(zip(distributions, truths, strict=True))
    assert found["nll"] == pytest.approx(-np.mean([one.logpdf(t) for one, t in pairs]))
    assert found["crps"] == pytest.approx(np.mean([crps(one, t) for one, t in pairs]), rel=1e-5)
    inside = [one.cdf(t) for one, t in pairs]
    assert found["within_50"] == pytest.approx(np.mean([0.25 <= p <= 0.75 for p in inside]))


def crps(distribution, truth):
    """By its definition: the integral of (F(x) - [x >= truth])^2."""
    low, high = distribution.ppf([1e-9, 1 - 1e-9])
    below = integrate.quad(lambda x: distribution.cdf(x) ** 2, min(low, truth), truth, limit=200)[0]
    above = integrate.quad(lambda x: distribution.sf(x) ** 2, truth, max(high, truth), limit=200)[0]
    return below + above


@pytest.mark.parametrize("metric", [rmse, mae, r2, calibration])
@pytest.mark.parametrize(
    ("said", "true", "says"),
    [
        (["a"], [1.0], r"the prediction is no number: 'a' \(sample 0\); expected a finite number"),
        ([Number(1.0, 1.0), None], [1.0, 2.0], r"the prediction is no number: None \(sample 1\)"),
        ([Number(1.0, 1.0)], [float("nan")], "the reference is no number: nan"),
        ([Number(1.0, 1.0)], [True], "the reference is no number: True"),
        ([Number(1.0, 1.0)], [np.bool_(True)], "the reference is no number"),
        ([Number(1.0, 1.0)], [[1.0]], "the reference is no number"),
        ([Number(1.0, 1.0)], ["3"], "the reference is no number: '3'"),
    ],
)
def test_what_is_no_number(metric, said, true, says):
    with pytest.raises(DataError, match=says):
        metric(said, true)


def test_what_has_no_spread():
    with pytest.raises(DataError, match=r"the prediction has no spread: 1.0 \(sample 1\); expected a number with"):
        calibration([Number(1.0, 1.0), 1.0], [1.0, 1.0])
    with pytest.raises(DataError, match="the spread of a prediction is 0"):
        calibration([Number(1.0, 0.0)], [1.0])
