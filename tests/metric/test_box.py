import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.metric import detection, iou, iou_accuracy

A, B, C = (0, 0, 10, 10), (20, 20, 30, 40), (0, 0, 10, 5)
corner = st.integers(0, 20)
boxes = st.tuples(corner, corner, corner, corner).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]) + 1, max(c[1], c[3]) + 1)
)


def test_iou():
    assert iou(A, A) == 1
    assert iou(A, B) == 0
    assert iou(A, C) == 0.5
    assert iou((5, 5, 5, 5), (5, 5, 5, 5)) == 0


@given(boxes, boxes)
def test_iou_is_a_symmetric_share(one, other):
    assert 0 <= iou(one, other) == iou(other, one) <= 1
    assert (iou(one, other) == 1) == (one == other)


def test_iou_accuracy():
    found = iou_accuracy([C, B, None, np.array(A)], [A, A, A, A])
    assert found == {"iou_accuracy@0.5": 0.5, "mean_iou": pytest.approx(1.5 / 4)}
    assert iou_accuracy([B], [[A, B]])["mean_iou"] == 1
    assert iou_accuracy([(10, 10, 0, 0)], [A])["mean_iou"] == 0  # an answer that is no area is only wrong


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        ((0, 0, 1), A, "not a box"),
        ("0 0 1 1", A, "not a box"),
        ((0, 0, float("nan"), 1), A, "four finite numbers"),
        (A, (5, 5, 5, 9), "the reference box .* is empty"),
        (A, None, "the reference box is missing"),
        (A, [], "the reference box is missing"),
    ],
)
def test_bad_boxes_say_what(prediction, reference, message):
    with pytest.raises(DataError, match=message):
        iou_accuracy([A, prediction], [A, reference])


def test_detection_all_right_and_all_wrong():
    truth = [([A, B], ["cat", "dog"]), ([], [])]
    assert detection(truth, truth) == {"f1@0.5": 1, "map": pytest.approx(1), "map@0.5": pytest.approx(1)}
    assert detection([([], []), ([], [])], truth) == {"f1@0.5": 0, "map": 0, "map@0.5": 0}
    swapped = [([A, B], ["dog", "cat"]), ([], [])]
    assert detection(swapped, truth) == {"f1@0.5": 0, "map": 0, "map@0.5": 0}


def test_f1_matches_each_reference_once():
    found = detection([([A, A, B], ["cat", "cat", "bird"])], [([A, B], ["cat", "dog"])])
    assert found["f1@0.5"] == pytest.approx(2 * 1 / 5)


def test_scores_order_the_precision_curve():
    truth = [([A], ["cat"])]
    sure = detection([([A, B], ["cat", "cat"], [0.9, 0.1])], truth)
    unsure = detection([([A, B], ["cat", "cat"], [0.1, 0.9])], truth)
    assert sure["map@0.5"] == pytest.approx(1)
    assert unsure["map@0.5"] == pytest.approx(0.5)
    assert sure["f1@0.5"] == unsure["f1@0.5"]


def test_map_counts_tighter_overlaps():
    found = detection([([(0, 0, 10, 7.6)], ["cat"])], [([A], ["cat"])])
    assert found["map@0.5"] == pytest.approx(1)
    assert found["map"] == pytest.approx(0.6)  # 0.5, 0.55 ... 0.75 of ten thresholds


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (([A], []), ([A], ["cat"]), "differ in number: 1, 0"),
        (([A], ["cat"], [float("nan")]), ([A], ["cat"]), "score of a box is NaN"),
        ([A], ([A], ["cat"]), "not a list of boxes with its labels"),
        (([A], ["cat"]), ([A], ["cat"], [1.0]), r"expected \(boxes, labels\)"),
        (([A], "cat"), ([A], ["cat"]), "not a list"),
        (([A], ["cat"]), ([(1, 1, 1, 1)], ["cat"]), "is empty"),
        (([A], ["cat"]), ([], []), "no sample has a reference box"),
    ],
)
def test_bad_detections_say_what(prediction, reference, message):
    with pytest.raises(DataError, match=message):
        detection([prediction], [reference])
