"""CATEGORY: a label -> its pieces or its one token, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ofasys.errors import DataError, one_of
from ofasys.modality.category import HEAD
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.shared.label import label_text
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures


class Label(Concatenate):
    """A label, see `label_text`, that must be in its closed set."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.symbols = options, symbols

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """tokens (n,). Errors: DataError when the label is not in the set."""
        label, labels = self._label(value), context.labels or ()
        if label not in labels:
            raise DataError(
                f"label {label!r} is not in the closed set of {len(labels)}", expected=one_of(label, labels)
            )
        if self.options["adaptor"] == "head":
            tokens = [self.symbols.vocabulary.span(self.options[HEAD])[0] + labels.index(label)]
        else:
            tokens = self.symbols.encode(label)
        return SlotFeatures({"tokens": np.array(tokens, dtype=np.int64)}, len(tokens))

    def postprocess(self, tokens: np.ndarray, context: Context) -> str:
        """The label."""
        if self.options["adaptor"] == "head":
            return (context.labels or ())[int(tokens[0]) - self.symbols.vocabulary.span(self.options[HEAD])[0]]
        return self.symbols.label(tokens, context.labels or ())

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """The label as its set spells it."""
        return None if value is None else self._label(value)

    def _label(self, value: Any) -> str:
        label = label_text(value)
        return label.lower() if self.options["uncased"] else label
