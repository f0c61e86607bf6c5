"""Metrics of single values: is the answer the right one?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs


def accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`accuracy`, 0..1: the share of answers equal to their reference (or one of its alternatives).

    Values are labels: texts, numbers, truth values. None is "no answer" and wrong. A number equals the text that writes
    it, since a label travels through the model as text.
    """
    scored = pairs(predictions, references)
    hits = 0
    for i, (prediction, reference) in enumerate(scored):
        ways = _ways(reference)
        for value in (prediction, *ways):
            if not isinstance(_plain(value), str | int | float | None):
                kind = type(value).__name__
                raise DataError(f"a {kind} is not a label: {value!r:.80}", expected="a text or a number", sample=i)
        if not ways or None in ways:
            raise DataError("the reference is missing", expected="a text or a number", sample=i)
        hits += any(_same(prediction, way) for way in ways)
    return {"accuracy": hits / len(scored)}


def exact_match(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`exact_match`, 0..1: the share of answers equal to their reference (or one of its alternatives).

    Values of any kind: texts (blanks at the ends and the length of runs of blanks do not count, case does), numbers,
    lists. A list as prediction is compared with the reference as a whole.
    """
    scored = pairs(predictions, references)
    hits = 0
    for prediction, reference in scored:
        whole = isinstance(_plain(prediction), list)
        hits += any(_same(prediction, way) for way in ([reference] if whole else _ways(reference)))
    return {"exact_match": hits / len(scored)}


def _ways(reference: Any) -> list[Any]:
    reference = _plain(reference)
    return reference if isinstance(reference, list) else [reference]


def _plain(value: Any) -> Any:
    """Arrays and numpy numbers as Python values, tuples as lists."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, tuple) else value


def _same(one: Any, other: Any) -> bool:
    one, other = _plain(one), _plain(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if one is None or other is None:
        return False
    if isinstance(one, str) or isinstance(other, str):
        return " ".join(str(one).split()) == " ".join(str(other).split())
    return bool(one == other)
