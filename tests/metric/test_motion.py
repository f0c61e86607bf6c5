from types import SimpleNamespace

import numpy as np
import pytest

from ofasys.errors import DataError
from ofasys.metric import frechet_distance, motion_diversity, motion_features, motion_frechet, mpjpe


def walk(seed=0, frames=12, joints=5):
    random = np.random.default_rng(seed)
    return random.normal(size=(1, joints, 3)) + np.cumsum(random.normal(size=(frames, joints, 3)) * 0.1, 0)


def test_mpjpe_by_hand():
    true = np.zeros((2, 2, 3))
    found = np.array([[[3, 4, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 2]]], float)
    # joints: 5, 0, 0, 2; with the root at the origin the other joint is off by 5 in frame 0 and 2 in frame 1
    assert mpjpe([found], [true]) == {"mpjpe": 7 / 4, "mpjpe_root": 7 / 4}
    moved = walk() + np.array([10.0, 0, 0])
    assert mpjpe([moved], [walk()]) == {"mpjpe": pytest.approx(10), "mpjpe_root": pytest.approx(0, abs=1e-12)}


def test_what_one_has_more_does_not_count():
    assert mpjpe([walk()[:7]], [walk()]) == {"mpjpe": 0, "mpjpe_root": 0}
    assert mpjpe([SimpleNamespace(positions=walk())], [walk()])["mpjpe"] == 0
    with pytest.raises(DataError, match=r"skeletons of 5 and 4 joints \(sample 0\)"):
        mpjpe([walk()], [walk(joints=4)])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "m", "d"), [(40, 50, 6), (4, 6, 10), (1, 5, 3), (20, 20, 1)])
def test_the_frechet_distance_is_that_with_scipys_root(seed, n, m, d):
    from scipy.linalg import sqrtm

    random = np.random.default_rng(seed)
    one, other = random.normal(size=(n, d)), random.normal(size=(m, d)) @ random.normal(size=(d, d)) + 1
    s1, s2 = (np.atleast_2d(np.cov(x, rowvar=False)) if len(x) > 1 else np.zeros((d, d)) for x in (one, other))
    # a little on the diagonals: sqrtm has no root of a singular matrix
    root = np.real(sqrtm((s1 + 1e-12 * np.eye(d)) @ (s2 + 1e-12 * np.eye(d))))
    theirs = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(theirs, rel=1e-4, abs=1e-4)


def test_the_frechet_distance_by_hand():
    one = np.array([[-1.0], [1.0]])  # mean 0, variance 2
    other = np.array([[0.0], [4.0]])  # mean 2, variance 8
    assert frechet_distance(one, other) == pytest.approx(4 + (8**0.5 - 2**0.5) ** 2)
    assert frechet_distance(one, one) == pytest.approx(0)


def test_motions_near_and_far():
    true = [walk(i) for i in range(20)]
    near = [motion + np.random.default_rng(i).normal(size=motion.shape) * 0.01 for i, motion in enumerate(true)]
    far = [walk(100 + i) * 3 for i in range(20)]
    assert motion_frechet(true, true)["motion_frechet"] == pytest.approx(0, abs=1e-6)
    close, apart = (motion_frechet(found, true)["motion_frechet"] for found in (near, far))
    assert close < 0.1 * apart
    assert motion_frechet([[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]])["motion_frechet"] == pytest.approx(0)


def test_diversity():
    rows = [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]
    assert motion_diversity(rows, [[0.0, 0.0]] * 3) == {
        "motion_diversity": pytest.approx(10 / 3),
        "motion_diversity_reference": 0,
    }
    assert motion_diversity([walk()], [walk()])["motion_diversity"] == 0


def test_features_know_pose_and_pace_but_not_place():
    assert motion_features(walk()).shape == (9 * 5 + 3,)
    np.testing.assert_allclose(motion_features(walk() + 5.0), motion_features(walk()), atol=1e-12)
    assert not np.allclose(motion_features(walk()[::2]), motion_features(walk()))
    assert np.isfinite(motion_features(walk(frames=1))).all()


@pytest.mark.parametrize(
    "value", [None, "walk", np.zeros((3, 4)), np.zeros((0, 4, 3)), np.full((2, 2, 3), np.nan), 3.0]
)
def test_what_is_no_motion(value):
    with pytest.raises(DataError, match=r"motion.*\(sample 0\); expected joint positions"):
        mpjpe([value], [walk()])
    with pytest.raises(DataError, match="motion"):
        motion_frechet([walk(), np.zeros((3, 4))], [walk(), walk()])
