"""Metrics of retrieval: is the other half of a pair found among all halves?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs, shown
from ofasys.metric.value import Key, key

if TYPE_CHECKING:
    import numpy as np

AT = (1, 5, 10)
BLOCK = 1024  # queries compared at once
NEAR = 1e-9  # similarities that differ by less are tied


def retrieval(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`recall@1`, `recall@5`, `recall@10`, 0..1, and `median_rank`, 1 and up: means of both directions.

    predictions: pairs (a, b) of vectors (D,). Each a is looked for among all b and each b among all a, by
    cosine; half i belongs to half i. `right_...` are the figures of a -> b alone, `left_...` of b -> a.

    references: what the halves are, a pair a row, or None. Halves whose references are equal texts or numbers are the
    same thing, and either is right: an image with the caption "a dog" may be found by any other "a dog".

    Ties are settled by lot, and the figures are what one expects of it: a model that embeds everything alike scores
    chance. Of n candidates with g nearer than the nearest right one, and t wrong and c right ones tied there, the rank
    is g + (t + c + 1) / (c + 1), and the recall at k the probability that a right one is among the first k.
    """
    import numpy as np

    scored = pairs(predictions, references)
    a, b = (_stack([pair for pair, _ in scored], side) for side in (0, 1))
    if a.shape != b.shape:
        raise DataError(f"vectors of {a.shape[1]} and {b.shape[1]} numbers", expected="pairs of equally long ones")
    figures: dict[str, float] = {}
    for name, queries, found, side in (("right", a, b, 1), ("left", b, a, 0)):
        same = _groups([truth for _, truth in scored], side)
        recalls, ranks = _search(queries, found, same)
        figures |= {f"{name}_recall@{k}": value for k, value in zip(AT, recalls, strict=True)}
        figures[f"{name}_median_rank"] = float(np.median(ranks))
    names = [f"recall@{k}" for k in AT] + ["median_rank"]
    return {name: (figures[f"left_{name}"] + figures[f"right_{name}"]) / 2 for name in names} | figures


def _search(queries: np.ndarray, found: np.ndarray, same: np.ndarray) -> tuple[list[float], np.ndarray]:
    """Mean recall at each of AT, and the expected rank of every query. same (n,): equal numbers are the same thing."""
    import numpy as np

    ranks: list[np.ndarray] = []
    recalls = [0.0] * len(AT)
    for start in range(0, len(queries), BLOCK):
        score = queries[start : start + BLOCK] @ found.T  # (q, n)
        right = same[start : start + BLOCK, None] == same[None]
        best = np.where(right, score, -np.inf).max(1, keepdims=True)
        tied = np.abs(score - best) <= NEAR
        nearer = ((score > best) & ~tied).sum(1)
        wrong, good = (tied & ~right).sum(1), (tied & right).sum(1)
        ranks.append(nearer + (wrong + good + 1) / (good + 1))
        for i, k in enumerate(AT):
            recalls[i] += math.fsum(map(_chance, (k - nearer).tolist(), wrong.tolist(), good.tolist()))
    return [value / len(queries) for value in recalls], np.concatenate(ranks)


def _chance(places: int, wrong: int, good: int) -> float:
    """The probability that `places` drawn of wrong + good hold a good one."""
    if places <= 0:
        return 0.0
    missed = 1.0
    for i in range(min(places, wrong + good)):
        missed *= max(0, wrong - i) / (wrong + good - i)
    return 1.0 - missed


def _groups(truths: list[Any], side: int) -> np.ndarray:
    """A number a row; equal where the references of that side are equal texts or numbers."""
    import numpy as np

    numbers: dict[Key, int] = {}
    found = []
    for i, truth in enumerate(truths):
        truth = list(truth) if getattr(truth, "ndim", 0) == 1 else truth
        half = truth[side] if isinstance(truth, list | tuple) and len(truth) == 2 else None
        single = isinstance(half, str | int | float | Decimal) or getattr(half, "ndim", 1) == 0
        found.append(numbers.setdefault(key(half) if single else ("row", i), len(numbers)))
    return np.array(found)


def _stack(found: list[Any], side: int) -> np.ndarray:
    """One half of all pairs as unit vectors (n, D)."""
    import numpy as np

    rows: list[np.ndarray] = []
    for i, pair in enumerate(found):
        try:
            row = np.asarray(pair[side], dtype=np.float64)
            if len(pair) != 2 or row.ndim != 1 or not row.size:
                raise TypeError
        except (TypeError, ValueError, IndexError, KeyError):
            raise DataError(f"not a pair of vectors: {shown(pair)}", expected="(a, b), each (D,)", sample=i) from None
        if not np.isfinite(row).all():
            raise DataError("a vector holds NaN or infinity", expected="finite numbers", sample=i)
        if rows and len(row) != len(rows[0]):
            raise DataError(f"a vector of {len(row)} numbers", expected=f"{len(rows[0])}, as the others", sample=i)
        rows.append(row / max(float(np.linalg.norm(row)), 1e-12))
    return np.stack(rows)
