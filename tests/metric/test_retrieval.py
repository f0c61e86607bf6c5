import sys

import numpy as np
import pytest

from ofasys.errors import DataError
from ofasys.metric import retrieval


def pairs_of(a, b):
    return list(zip(np.asarray(a, float), np.asarray(b, float), strict=True))


def alone(n):
    return [None] * n


def test_all_found_and_none():
    eye = np.eye(4)
    found = retrieval(pairs_of(eye, 3 * eye), alone(4))  # length does not count
    assert found["recall@1"] == found["left_recall@1"] == found["right_recall@10"] == 1
    assert found["median_rank"] == 1
    # shifted by one: the right one ties with the two others that are orthogonal
    found = retrieval(pairs_of(eye, np.roll(eye, 1, 0)), alone(4))
    assert found["recall@1"] == 0
    assert found["median_rank"] == 3  # after one that is nearer: second, third or fourth
    assert found["recall@5"] == 1


def test_ranks_by_hand():
    a = [[1, 0], [0, 1], [1, 1]]
    b = [[1, 0.1], [1, 0.9], [0.1, 1]]
    # a0 finds b0 (1st); a1 finds b2 before b1 (2nd); a2 finds b1 before b0 and b2, which tie
    found = retrieval(pairs_of(a, b), alone(3))
    assert found["right_recall@1"] == pytest.approx(1 / 3)
    assert found["right_median_rank"] == 2
    # b0 finds a0; b1 finds a2, a0, a1; b2 finds a1, a2
    assert found["left_recall@1"] == pytest.approx(1 / 3)
    assert found["left_median_rank"] == 2
    assert found["recall@1"] == pytest.approx(1 / 3)


def test_a_model_that_embeds_all_alike_scores_chance():
    n = 20
    found = retrieval([(np.ones(3), np.ones(3))] * n, alone(n))
    assert found["recall@1"] == pytest.approx(1 / n)
    assert found["recall@5"] == pytest.approx(5 / n)
    assert found["median_rank"] == pytest.approx((n + 1) / 2)


def test_equal_references_are_the_same_thing():
    # two images of "a dog": each finds either caption
    a = np.array([[1, 0, 0.1], [1, 0, -0.1], [0, 1, 0]])
    b = np.array([[1, 0, -0.2], [1, 0, 0.2], [0, 1, 0]])  # the two captions the wrong way round
    names = [("1.png", "a dog"), ("2.png", "a dog"), ("3.png", "a cat")]
    plain, told = retrieval(pairs_of(a, b), alone(3)), retrieval(pairs_of(a, b), names)
    assert plain["right_recall@1"] == pytest.approx(1 / 3)
    assert told["right_recall@1"] == 1
    assert told["left_recall@1"] == pytest.approx(1 / 3)  # a caption has one image
    # and what is alike in the embedding as well stands to be drawn
    assert retrieval([(np.ones(3), np.ones(3))] * 3, names)["right_recall@1"] == pytest.approx((2 + 2 + 1) / 9)


@pytest.mark.slow
def test_ties_by_lot():
    """The expected figures are the mean of many random orders."""
    random = np.random.default_rng(0)
    a, b = random.integers(0, 2, (30, 3)).astype(float) + 0.01, random.integers(0, 2, (30, 3)).astype(float) + 0.01
    found = retrieval(pairs_of(a, b), alone(30))
    unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (a, b)]
    score = np.round(unit[0] @ unit[1].T, 6)
    hits = []
    for _ in range(4000):
        order = np.lexsort((random.random(score.shape), -score))
        hits.append(np.mean([i in row[:5] for i, row in enumerate(order)]))
    assert found["right_recall@5"] == pytest.approx(np.mean(hits), abs=0.005)


def test_blocks_make_no_difference(monkeypatch):
    random = np.random.default_rng(1)
    views = pairs_of(random.normal(size=(50, 8)), random.normal(size=(50, 8)))
    whole = retrieval(views, alone(50))
    monkeypatch.setattr(sys.modules["ofasys.metric.retrieval"], "BLOCK", 7)  # the name is the function's
    assert retrieval(views, alone(50)) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (([1.0], [1.0, 2.0]), "vectors of 1 and 2 numbers"),
        (([float("nan")], [1.0]), "NaN"),
        ([1.0, 2.0], "not a pair of vectors"),
        (None, "not a pair of vectors"),
        (("a", "b"), "not a pair of vectors"),
        (([1.0], [1.0], [1.0]), "not a pair of vectors"),
    ],
)
def test_what_is_no_pair(pair, says):
    with pytest.raises(DataError, match=says):
        retrieval([pair], [None])
    with pytest.raises(DataError, match=r"a vector of 1 numbers .*\(sample 1\)|a vector of 1 numbers \(sample 1\)"):
        retrieval([([1.0, 2.0], [1.0, 2.0]), ([1.0], [1.0])], [None, None])
