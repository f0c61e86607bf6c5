"""Metrics of motions: joint positions over time, (frames, joints, 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs, shown

if TYPE_CHECKING:
    import numpy as np

EXPECTED = "joint positions (frames, joints, 3), or something with them as .positions"
MOST_PAIRS = 4096  # motions among which all distances are taken


def mpjpe(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`mpjpe_root` and `mpjpe`, in the motion's own unit: mean distance of a joint from where it should be.

    `mpjpe_root` places the root (joint 0) of both at the origin in each frame: the pose counts, not the path. A value
    is (frames, joints, 3), or anything with such `.positions`. Frame i is compared with frame i; what one has more than
    the other does not count. Mean over joints and frames, then over samples.
    """
    whole, rooted = [], []
    for i, (prediction, reference) in enumerate(pairs(predictions, references)):
        one, other = _positions(prediction, i), _positions(reference, i)
        if one.shape[1] != other.shape[1]:
            raise DataError(f"skeletons of {one.shape[1]} and {other.shape[1]} joints", expected="the same", sample=i)
        frames = min(len(one), len(other))
        one, other = one[:frames], other[:frames]
        whole.append(_distance(one, other))
        rooted.append(_distance(one - one[:, :1], other - other[:, :1]))
    return {"mpjpe_root": math.fsum(rooted) / len(rooted), "mpjpe": math.fsum(whole) / len(whole)}


def motion_frechet(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`motion_frechet`, 0 and up: how far the answers as a whole are from the references as a whole.

    `frechet_distance` of their features: a value that is a vector (D,) is its own; of a motion, `motion_features`.
    """
    scored = pairs(predictions, references)
    one, other = (_features([pair[side] for pair in scored]) for side in (0, 1))
    if one.shape[1] != other.shape[1]:
        raise DataError(f"features of {one.shape[1]} and {other.shape[1]} numbers", expected="the same number")
    return {"motion_frechet": frechet_distance(one, other)}


def motion_diversity(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`motion_diversity` of the answers, and `motion_diversity_reference`: mean distance of the features of two
    samples.

    Over all pairs of two (of the first 4096 samples), so it is no matter of chance. 0 for one sample. Features as of
    `motion_frechet`. Neither high nor low is good: near that of the references is.
    """
    scored = pairs(predictions, references)
    one, other = (_diversity(_features([pair[side] for pair in scored])) for side in (0, 1))
    return {"motion_diversity": one, "motion_diversity_reference": other}


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """(n, D), (m, D) -> |mu - mu'|^2 + tr(S + S' - 2 (S S')^(1/2)) (Dowson & Landau 1982; Heusel et al. 2017).

    The means and covariances (over n - 1) of the two sets. The trace of the root is the sum of the roots of the
    eigenvalues of S^(1/2) S' S^(1/2), which is symmetric, so covariances without full rank are no trouble. A set of one
    has covariance 0.
    """
    import numpy as np

    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    s1, s2 = _covariance(one), _covariance(other)
    root = _root(s1)
    inner = np.linalg.eigvalsh(root @ s2 @ root)
    cross = np.sqrt(np.clip(inner, 0, None)).sum()
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    return max(0.0, float(apart + np.trace(s1) + np.trace(s2) - 2 * cross))


def motion_features(positions: np.ndarray) -> np.ndarray:
    """(frames, joints, 3) -> (9 * joints + 3,): each joint relative to the root, its mean and its spread over time, and
    the spread of its velocity a frame; and the root's mean velocity. No learned network: comparable only with
    itself.
    """
    import numpy as np

    around = positions - positions[:, :1]
    moves = np.diff(positions, axis=0) if len(positions) > 1 else np.zeros_like(positions)
    parts = (around.mean(0), around.std(0), np.sqrt((moves**2).mean(0)), moves[:, 0].mean(0))
    return np.concatenate([part.reshape(-1) for part in parts])


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(((one - other) ** 2).sum(-1).__pow__(0.5).mean())


def _covariance(rows: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.atleast_2d(np.cov(rows, rowvar=False)) if len(rows) > 1 else np.zeros((rows.shape[1],) * 2)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The square root of a symmetric matrix without negative eigenvalues."""
    import numpy as np

    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def _diversity(rows: np.ndarray) -> float:
    import numpy as np

    rows = rows[:MOST_PAIRS]
    if len(rows) < 2:
        return 0.0
    total = math.fsum(np.sqrt(((row - rows[i + 1 :]) ** 2).sum(1)).sum() for i, row in enumerate(rows[:-1]))
    return float(total) / (len(rows) * (len(rows) - 1) / 2)


def _features(values: list[Any]) -> np.ndarray:
    import numpy as np

    rows = []
    for i, value in enumerate(values):
        array = _array(value, i)
        rows.append(array if array.ndim == 1 else motion_features(_positions(value, i)))
        if len(rows[-1]) != len(rows[0]):
            raise DataError(f"features of {len(rows[-1])} numbers", expected=f"{len(rows[0])}, as the others", sample=i)
    return np.stack(rows)


def _positions(value: Any, sample: int) -> np.ndarray:
    array = _array(value, sample)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DataError(f"a motion of shape {array.shape}", expected=EXPECTED, sample=sample)
    return array


def _array(value: Any, sample: int) -> np.ndarray:
    import numpy as np

    found = getattr(value, "positions", value)
    try:
        array = np.asarray(found() if callable(found) else found, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"not a motion: {shown(value)}", expected=EXPECTED, sample=sample) from None
    if array.ndim == 0 or not np.isfinite(array).all():
        raise DataError(f"not a motion: {shown(value)}", expected=EXPECTED, sample=sample)
    return array
