"""What a label may be, and the text that writes it: what CATEGORY and every slot with a closed set share."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ofasys.errors import DataError


class ClosedSet(tuple[str, ...]):
    """Labels, each once, in order, among which a label is found at once however many there are.

    spelled: a label's ids -> the label, for the tokenizer of the model the set belongs to; None until it is known.
    """

    spelled: dict[tuple[int, ...], str] | None = None

    @cached_property
    def places(self) -> dict[str, int]:
        """Label -> its place."""
        return {label: place for place, label in enumerate(self)}

    def __contains__(self, label: object) -> bool:
        return label in self.places

    def index(self, label: str, *bounds: Any) -> int:
        """The place of a label. Errors: ValueError for what is none."""
        if bounds or label not in self.places:
            return super().index(label, *bounds)
        return self.places[label]

    def __reduce__(self) -> tuple[Any, ...]:
        return ClosedSet, (tuple(self),)


EXPECTED = "a label: a str or an integer, True or False"


def label_text(value: Any) -> str:
    """A str as it is; True and False as these words; a whole number in digits, 2.0 like 2. numpy's and torch's as
    Python's.

    Errors: DataError for what is no label: an empty text, a fraction, a list.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a number of numpy or torch
        value = value.item()
    if isinstance(value, float | np.floating):
        value = float(value)
        value = int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, str) and value.strip():
        return str(value)
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # Python writes no number of more than 4300 digits
            raise DataError(f"a whole number of {value.bit_length()} bits", expected=EXPECTED) from None
    raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected=EXPECTED)
