"""What every metric asks of its two lists: one reference, or one list of alternatives, for each prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ofasys.errors import DataError


def pairs(predictions: Iterable[Any], references: Iterable[Any]) -> list[tuple[Any, Any]]:
    """The (prediction, reference) pairs, checked: two lists, equally long, not empty."""
    for name, values in (("predictions", predictions), ("references", references)):
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            raise DataError(f"the {name} are one {type(values).__name__}", expected="a list with one entry a sample")
    left, right = list(predictions), list(references)
    if len(left) != len(right):
        raise DataError(f"{len(left)} predictions and {len(right)} references", expected="one reference a prediction")
    if not left:
        raise DataError("there is nothing to score: no predictions", expected="at least one sample")
    return list(zip(left, right, strict=True))


def text_pairs(predictions: Iterable[Any], references: Iterable[Any]) -> list[tuple[str, list[str]]]:
    """The pairs with every prediction a string and every reference a list of one or more strings."""
    return [(_text(p, i), _alternatives(r, i)) for i, (p, r) in enumerate(pairs(predictions, references))]


def shown(value: Any) -> str:
    """A value in a message: on one line, and short."""
    return f"{' '.join(repr(value).split()):.80}"


def _text(prediction: Any, sample: int) -> str:
    if not isinstance(prediction, str):
        kind = type(prediction).__name__
        raise DataError(f"the prediction is a {kind}: {prediction!r:.80}", expected="a string", sample=sample)
    return prediction


def _alternatives(reference: Any, sample: int) -> list[str]:
    if isinstance(reference, str):
        return [reference]
    found = list(reference) if isinstance(reference, Iterable) and not isinstance(reference, bytes | Mapping) else []
    if not found or not all(isinstance(one, str) for one in found):
        message = f"the reference is {reference!r:.80}"
        raise DataError(message, expected="a string, or a list of at least one string", sample=sample)
    return found
