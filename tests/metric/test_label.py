import numpy as np
import pytest

from ofasys.errors import DataError
from ofasys.metric import accuracy, exact_match


def test_accuracy():
    assert accuracy(["yes", "no", "no"], ["yes", "no", "yes"]) == {"accuracy": pytest.approx(2 / 3)}
    assert accuracy([1, 2], [1, 3]) == {"accuracy": 0.5}
    assert accuracy(["1", "True"], [np.int64(1), True]) == {"accuracy": 1.0}
    assert accuracy(["4", "five"], [["3", "4"], ["6"]]) == {"accuracy": 0.5}
    assert accuracy([None, "a"], ["a", "a"]) == {"accuracy": 0.5}


def test_accuracy_refuses_what_is_no_label():
    with pytest.raises(DataError, match=r"a dict is not a label.*sample 0"):
        accuracy([{"a": 1}], ["a"])
    with pytest.raises(DataError, match="the reference is missing"):
        accuracy(["a"], [None])
    with pytest.raises(DataError, match="2 predictions and 1 references"):
        accuracy(["a", "b"], ["a"])


def test_exact_match():
    assert exact_match([" a  b", "A"], ["a b", "a"]) == {"exact_match": 0.5}
    assert exact_match(["x"], [["y", "x"]]) == {"exact_match": 1.0}
    assert exact_match([[1, 2], (1, 2)], [[1, 2], [2, 1]]) == {"exact_match": 0.5}
    assert exact_match([["cat", "dog"]], [["cat", "dog"]]) == {"exact_match": 1.0}
    assert exact_match([np.array([1, 2])], [[1, 2]]) == {"exact_match": 1.0}
    assert exact_match([None], [None]) == {"exact_match": 0.0}
    with pytest.raises(DataError, match="nothing to score"):
        exact_match([], [])
