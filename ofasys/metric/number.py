"""Metrics of numbers: how far answers are from the truth, and whether their spread says how far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs, shown

if TYPE_CHECKING:
    import numpy as np

INTERVALS = (0.5, 0.9, 0.95)  # the shares of truths that are looked for within as wide an interval
LEVELS = 19  # probabilities at which calibration is compared: 0.05, 0.1, ... 0.95


def rmse(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`rmse`, 0 and up, in the numbers' own unit: the root of the mean squared error."""
    return {"rmse": _root_mean_square(_errors(predictions, references))}


def mae(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`mae`, 0 and up, in the numbers' own unit: the mean absolute error; and `median_ae`, their median."""
    import numpy as np

    errors = np.abs(_errors(predictions, references))
    return {"mae": float(errors.mean()), "median_ae": float(np.median(errors))}


def r2(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`r2`, up to 1: the share of the references' variance that the answers explain; 0 is as good as always their mean.

    1 - sum of squared errors / sum of squares about the mean, as scikit-learn's `r2_score`. Of references that are all
    the same 1 if every answer is right, else 0; of a single one NaN.
    """
    answers, truths = _read(predictions, references)
    if len(truths) < 2:
        return {"r2": math.nan}
    missed, about = _root_mean_square(answers - truths), _root_mean_square(truths - truths.mean())
    if about == 0.0 or (truths == truths[0]).all():
        return {"r2": float(missed == 0.0)}
    return {"r2": 1.0 - (missed / about) ** 2}


def calibration(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`calibration_error`, 0 to 1, and what it comes from; answers are numbers with a `.spread`, as NUMBER gives them.

    An answer says that the truth is below some number with some probability. `calibration_error` is the mean distance
    of such a probability from the share of truths that are below, over probabilities 0.05, 0.1, ... 0.95 (Kuleshov et
    al., 2018). `within_50`, `within_90`, `within_95`: the share of truths inside the middle interval of that
    probability. `nll`: mean negative log-density of the truth; `crps`: continuous ranked probability score (Gneiting &
    Raftery, 2007), in the numbers' unit; `spread`: the mean of the spreads. The distribution is normal, or log-normal
    where an answer has a `.log_spread`.
    """
    import numpy as np

    answers, truths = _read(predictions, references)
    spreads = np.array([_spread(value, i) for i, value in enumerate(predictions)])
    logs = np.array([float(getattr(value, "log_spread", None) or math.nan) for value in predictions])
    log = ~np.isnan(logs)
    answers = np.array([float(getattr(value, "center", value)) for value in predictions])  # not held between bounds
    z = (truths - answers) / spreads
    with np.errstate(divide="ignore", invalid="ignore"):
        z[log] = (np.log(np.maximum(truths[log], 0.0)) - np.log(answers[log])) / logs[log]
    below = np.array([_below(one) for one in z])
    levels = np.arange(1, LEVELS + 1) / (LEVELS + 1)
    found = {"calibration_error": float(np.mean([abs(float((below <= p).mean()) - p) for p in levels]))}
    for share in INTERVALS:
        found[f"within_{round(100 * share)}"] = float((np.abs(below - 0.5) <= share / 2).mean())
    scores = [_scores(*row) for row in zip(answers, spreads, logs, z, truths, strict=True)]
    nll, crps = np.array(scores).mean(0)
    return found | {"nll": float(nll), "crps": float(crps), "spread": float(spreads.mean())}


def _scores(answer: float, spread: float, log: float, z: float, truth: float) -> tuple[float, float]:
    """(negative log-density, CRPS) of one truth. Log-normal: Baran & Lerch (2015)."""
    density = 0.5 * z * z + 0.5 * math.log(2 * math.pi)
    if math.isnan(log):
        bell = math.exp(-0.5 * min(z * z, 1400.0)) / math.sqrt(2 * math.pi)
        return density + math.log(spread), spread * (z * (2 * _below(z) - 1) + 2 * bell - 1 / math.sqrt(math.pi))
    if truth <= 0:
        density = math.inf
    else:
        density += math.log(log) + math.log(truth)
    mean = answer * math.exp(min(0.5 * log * log, 700.0))
    crps = truth * (2 * _below(z) - 1) - 2 * mean * (_below(z - log) + _below(log / math.sqrt(2)) - 1)
    return density, crps


def _below(z: float) -> float:
    """The probability that a standard normal number is below z."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _read(predictions: Sequence[Any], references: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (n,)."""
    import numpy as np

    scored = pairs(predictions, references)
    answers = [_number(prediction, "prediction", i) for i, (prediction, _) in enumerate(scored)]
    truths = [_number(reference, "reference", i) for i, (_, reference) in enumerate(scored)]
    return np.array(answers, dtype=np.float64), np.array(truths, dtype=np.float64)


def _number(value: Any, what: str, sample: int) -> float:
    try:
        found = math.nan if isinstance(value, (str, bytes, bool)) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or type(value).__name__ in ("bool_", "bool"):
        raise DataError(f"the {what} is no number: {shown(value)}", expected="a finite number", sample=sample)
    return found


def _spread(value: Any, sample: int) -> float:
    spread = getattr(value, "spread", None)
    if spread is None:
        raise DataError(
            f"the prediction has no spread: {shown(value)}",
            expected="a number with the spread of its error as .spread, as a target NUMBER is answered",
            sample=sample,
        )
    found = _number(spread, "spread", sample)
    if found <= 0:
        raise DataError(f"the spread of a prediction is {found:g}", expected="a spread above 0", sample=sample)
    return found


def _errors(predictions: Sequence[Any], references: Sequence[Any]) -> np.ndarray:
    answers, truths = _read(predictions, references)
    return answers - truths


def _root_mean_square(numbers: np.ndarray) -> float:
    """Of numbers whose squares no float holds too."""
    import numpy as np

    largest = float(np.abs(numbers).max())
    return 0.0 if largest == 0.0 else largest * math.sqrt(float(((numbers / largest) ** 2).mean()))
