"""What a preprocessor gives is checked for every row, so a check that finds nothing must cost little."""

import numpy as np
import pytest

from ofasys.errors import PluginError
from ofasys.modality.plugin import check_features
from ofasys.types import SlotFeatures


class Value:
    def __init__(self) -> None:
        self.shown = 0

    def __repr__(self) -> str:
        self.shown += 1
        return "a large value"


def test_a_value_is_shown_only_in_an_error() -> None:
    value, good = Value(), SlotFeatures({"tokens": np.array([1, 2])}, 2)
    check_features("IMAGE:a", Value.__repr__, good, value, ids=8)
    assert value.shown == 0
    with pytest.raises(PluginError, match="tokens from 1 to 2 for a large value"):
        check_features("IMAGE:a", Value.__repr__, good, value, ids=2)
    assert value.shown == 1
