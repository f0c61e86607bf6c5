"""Motions to normalised frames and back: round trip, rate, windows, skeleton and statistics that are learnt."""

from dataclasses import replace

import numpy as np
import pytest

from ofasys.errors import DataError
from ofasys.language import options_of
from ofasys.modality.modality import Context
from ofasys.modality.motion.bvh import write_bvh
from ofasys.modality.motion.features import Features
from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.options import MotionOptions
from ofasys.modality.motion.preprocess import Frames, count, features_of
from ofasys.modality.motion.rotation import turn
from ofasys.modality.motion.skeleton import POSITIONS
from tests.modality.motion import bodies

DEFAULTS = {name: option.default for name, option in options_of(MotionOptions).items()}
BODY = bodies.body(six=(3, 4))


def fitted(values, **options):
    chosen = DEFAULTS | options
    return chosen | {"fitted": Frames.fit([(value, Context()) for value in values], chosen, 0)}


def reader(values, **options):
    return Frames(fitted(values, **options), None)


def training(seed=0):
    return Context(training=True, random=np.random.default_rng(seed))


def error(a, b):
    return float(np.abs(a.positions - b.positions).max())


@pytest.mark.parametrize("start", ["origin", "world"])
@pytest.mark.parametrize("features", ["rotations", "positions"])
@pytest.mark.parametrize("stride", [1, 4])
def test_a_motion_comes_back(features, start, stride):
    motion = bodies.moving(BODY)
    made = reader([motion, bodies.moving(BODY, seed=1)], features=features, start=start, stride=stride)
    piece = made.preprocess(motion, Context())
    assert piece.length == 40 // stride
    assert piece.tensors["frames"].dtype == np.float32
    back = made.postprocess(piece.tensors["frames"], Context())
    assert error(back, made.canonical(motion)) < 1e-3
    assert back.fps == 20
    assert made.canonical(back).positions == pytest.approx(back.positions, abs=1e-5)
    if start == "world":
        assert error(back, motion) < 1e-3
        if features == "rotations":
            assert back.skeleton == motion.skeleton
            turned = np.abs(back.values - motion.values + 180) % 360 - 180
            assert np.abs(turned).max() < 0.01


def test_only_the_place_and_heading_of_the_first_frame_are_taken_away():
    motion = bodies.moving(BODY)
    made = reader([motion]).canonical(motion)
    assert made.positions[0, 0, [0, 2]] == pytest.approx([0, 0], abs=1e-12)
    assert made.positions[:, 0, 1] == pytest.approx(motion.positions[:, 0, 1])
    facing = made.rotations[0, 0, :, 2]
    assert facing[0] == pytest.approx(0, abs=1e-12)
    assert facing[2] > 0
    between = [np.linalg.norm(m.positions[:, :, None] - m.positions[:, None], axis=-1) for m in (made, motion)]
    np.testing.assert_allclose(between[0], between[1], atol=1e-9)


def test_turned_and_moved_it_is_the_same_motion():
    motion = bodies.walker(2)
    features = Features(motion.skeleton, "rotations")
    values = motion.values.copy()
    values[:, :3] = values[:, :3] @ turn("Y", np.array(70.0)).T + (3, 0, -8)
    names = motion.skeleton.channels[0]
    order = (*POSITIONS, "Yrotation", *(name for name in names if name not in (*POSITIONS, "Yrotation")))
    skeleton = replace(motion.skeleton, channels=(order, *motion.skeleton.channels[1:]))
    values[:, 3:6] = np.stack([np.full(len(values), 70.0), values[:, 3] * 0, values[:, 5] * 0], 1)
    there = Motion(skeleton, values, motion.frame_time)
    still = motion.values.copy()
    still[:, 3:6] = 0
    here = Motion(motion.skeleton, still, motion.frame_time)
    made = reader([motion])
    np.testing.assert_allclose(made.canonical(there).positions, made.canonical(here).positions, atol=1e-9)
    assert features.skeleton.differs(skeleton) is None


def test_a_joint_with_fewer_axes_comes_back():
    names = (("Xrotation",), ("Zrotation", "Xrotation"), (), ("Yposition",))
    skeleton = replace(BODY, channels=(BODY.channels[0], *names, *BODY.channels[5:]))
    values = bodies.moving(skeleton).values * 3  # past 90 degrees
    motion = Motion(skeleton, values, 0.05)
    made = reader([motion], start="world")
    back = made.postprocess(made.preprocess(motion, Context()).tensors["frames"], Context())
    assert error(back, motion) < 1e-3


def test_angles_do_not_jump():
    values = np.zeros((40, BODY.width))
    values[:, 3] = np.linspace(0, 720, 40)
    motion = Motion(BODY, values, 0.05)
    assert np.abs(np.diff(reader([motion]).canonical(motion).values, axis=0)).max() < 30


@pytest.mark.parametrize(("fps", "frames"), [(20, 40), (10, 20), (40, 79), (30, 59), (7.5, 15)])
def test_another_rate(fps, frames):
    motion = bodies.moving(BODY, fps=20)
    assert count(motion, fps) == frames
    made = reader([motion], fps=fps, frames=100, start="world").canonical(motion)
    assert len(made) == frames
    assert made.fps == pytest.approx(fps)
    truth = bodies.moving(BODY, frames=frames, fps=fps)
    assert error(made, truth) < 0.05 * np.ptp(truth.positions)
    np.testing.assert_allclose(np.linalg.norm(made.rotations, axis=-1), 1, atol=1e-9)


def test_a_real_rate_written_in_few_digits():
    motion = Motion(BODY, np.zeros((2752, BODY.width)), 0.0083333)
    assert count(motion, 20) == 459
    assert count(motion, 120) == 2752


def test_long_motions_are_cut_anywhere_in_training_and_at_the_start_else():
    motion = bodies.moving(BODY, frames=100)
    made = reader([motion], frames=30)
    start = made.preprocess(motion, Context()).tensors["frames"]
    assert start.shape == (30, Features(BODY, "rotations").width)
    np.testing.assert_array_equal(
        made.preprocess(motion, Context(random=np.random.default_rng(1))).tensors["frames"], start
    )
    cuts = [made.preprocess(motion, training(seed)).tensors["frames"] for seed in range(4)]
    assert all(cut.shape == start.shape for cut in cuts)
    assert len({cut.tobytes() for cut in cuts}) == 4
    np.testing.assert_array_equal(made.preprocess(motion, training(2)).tensors["frames"], cuts[2])
    short = bodies.moving(BODY, frames=30)
    assert len(made.preprocess(short, training()).tensors["frames"]) == 30
    assert (
        len(
            Frames(fitted([motion], frames=30, max_length=5, stride=2), None)
            .preprocess(motion, training())
            .tensors["frames"]
        )
        == 5
    )


def test_a_single_frame_and_a_length_no_multiple_of_the_stride():
    one = bodies.moving(BODY, frames=1)
    made = reader([one, bodies.moving(BODY)], stride=4)
    frames = made.preprocess(one, training()).tensors["frames"]
    assert frames.shape == (1, 4 * Features(BODY, "rotations").width)
    rows = frames.reshape(4, -1)
    np.testing.assert_array_equal(rows, np.repeat(rows[:1], 4, 0))
    assert len(made.preprocess(bodies.moving(BODY, frames=9), Context()).tensors["frames"]) == 3


def test_paths_start_at_the_folder_of_the_data(tmp_path):
    motion = bodies.walker(0)
    (tmp_path / "a.bvh").write_text(write_bvh(motion))
    options = DEFAULTS | {"fitted": Frames.fit([("a.bvh", Context(root=tmp_path))], DEFAULTS, 0)}
    made = Frames(options, None)
    assert made.preprocess("a.bvh", Context(root=tmp_path)).length == 16
    assert made.canonical("a.bvh", Context(root=tmp_path)) == made.canonical(motion)


def test_statistics_are_of_all_frames():
    values = [bodies.moving(BODY, frames=n, seed=n) for n in (5, 40, 150)]
    made = reader(values, frames=60, start="world")
    rows = np.concatenate([made.features.encode(value, np.arange(len(value))) for value in values])
    np.testing.assert_allclose(made.mean, rows.mean(0), atol=1e-5)
    spread = rows.std(0)
    moves = spread > 0.2 * np.sqrt((spread**2).mean())
    np.testing.assert_allclose(made.deviation[moves], spread[moves], rtol=1e-4)


def test_what_never_moves_is_not_blown_up():
    still = Motion(BODY, np.ones((20, BODY.width)), 0.05)
    made = reader([still])
    assert np.abs(made.preprocess(still, Context()).tensors["frames"]).max() < 1e-3
    walker = bodies.walker(0)
    made = reader([walker])
    assert made.deviation.min() > 0
    moved = walker.values.copy()
    moved[:, -1] += 0.5
    assert np.abs(made.preprocess(Motion(walker.skeleton, moved, 0.05), Context()).tensors["frames"]).max() < 10


def test_auto_takes_rotations_where_there_are_some():
    motion = bodies.moving(BODY)
    assert features_of(fitted([motion])["fitted"]).kind == "rotations"
    joints = motion.positions
    made = reader([joints])
    assert made.features.kind == "positions"
    back = made.postprocess(made.preprocess(joints, Context()).tensors["frames"], Context())
    np.testing.assert_allclose(back.positions, joints - joints[0, 0] * (1, 0, 1), atol=1e-4)
    made = reader([motion], features="positions")  # a body of the same names is as good
    assert made.preprocess({"positions": joints, "names": BODY.names}, Context()).length == 40


def test_what_is_fitted_is_arrays_and_says_all():
    made = fitted([bodies.moving(BODY)])["fitted"]
    assert {name: array.dtype for name, array in made.items()} == {
        "skeleton": np.uint8,
        "mean": np.float32,
        "deviation": np.float32,
    }
    assert features_of(made) == Features(BODY, "rotations")
    again = Frames.fit([(bodies.moving(BODY), Context())], DEFAULTS, 1)
    assert all(np.array_equal(made[name], again[name]) for name in made)


def test_another_actor_may_be_larger_but_not_of_another_kind():
    made = reader([bodies.moving(BODY)])
    larger = replace(BODY, offsets=tuple((1.2 * x, 1.2 * y, 1.2 * z) for x, y, z in BODY.offsets))
    motion = bodies.moving(larger)
    assert made.canonical(motion).skeleton == BODY
    np.testing.assert_allclose(
        made.canonical(motion).rotations, made.canonical(bodies.moving(BODY)).rotations, atol=1e-9
    )


def renamed(joint, name):
    return replace(BODY, names=(*BODY.names[:joint], name, *BODY.names[joint + 1 :]))


def first(joints):
    parts = {name: getattr(BODY, name)[:joints] for name in ("names", "parents", "offsets", "channels")}
    return replace(BODY, **parts, ends=())


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (renamed(7, "tail"), "joint 7 is 'tail', not 'limb1_1'"),
        (
            replace(BODY, parents=(*BODY.parents[:7], 5, *BODY.parents[8:])),
            "'limb1_1' hangs on 'limb0_4', not on 'limb1_0'",
        ),
        (
            replace(BODY, channels=(*BODY.channels[:7], (), *BODY.channels[8:])),
            "'limb1_1' has channels none, not .*rotation",
        ),
        (
            replace(BODY, offsets=(*BODY.offsets[:7], tuple(-x for x in BODY.offsets[7]), *BODY.offsets[8:])),
            "'limb1_1' lies elsewhere at rest",
        ),
        (first(24), "24 joints, not 31: 'limb4_0' is missing"),
    ],
)
def test_another_skeleton_is_an_error_that_names_the_joint(other, says):
    with pytest.raises(DataError, match=says):
        reader([bodies.moving(BODY)]).preprocess(bodies.moving(other), Context())
    with pytest.raises(DataError, match=says):
        reader([bodies.moving(BODY), bodies.moving(other)]).preprocess(bodies.moving(other), Context())


def test_a_joint_more_is_an_error():
    with pytest.raises(DataError, match="31 joints, not 24: 'limb4_0' is more"):
        reader([bodies.moving(first(24))]).preprocess(bodies.moving(BODY), Context())


def test_joint_arrays_that_do_not_fit():
    made = reader([np.zeros((4, 5, 3))])
    assert made.preprocess(np.ones((2, 5, 3)), Context()).length == 2
    with pytest.raises(DataError, match="6 joints, not 5"):
        made.preprocess(np.ones((2, 6, 3)), Context())
    with pytest.raises(DataError, match="joint 1 is 'b', not 'joint1'"):
        made.preprocess({"positions": np.ones((2, 5, 3)), "names": ["joint0", *"bcde"]}, Context())
    with pytest.raises(DataError, match="it has places of 5 joints, and no rotations"):
        reader([bodies.walker(0)]).preprocess(np.ones((2, 5, 3)), Context())
    with pytest.raises(DataError, match="no rotations"):
        reader([np.zeros((4, 5, 3))], features="rotations")


@pytest.mark.parametrize(
    "bad",
    [
        None,
        float("nan"),
        "nowhere.bvh",
        b"HIERARCHY\nROOT",
        np.full((3, 5, 3), np.nan),
        np.zeros((3, 7, 3)),
        bodies.moving(first(24)),
    ],
)
@pytest.mark.parametrize("features", ["auto", "positions"])
def test_a_bad_value_is_left_out_of_what_is_fitted(bad, features):
    good = [bodies.moving(BODY, seed=n) for n in (1, 2)]
    alone = fitted(good, features=features)["fitted"]
    for values in ([bad, *good], [*good, bad], [good[0], bad, good[1]]):
        made = fitted(values, features=features)["fitted"]
        assert made.keys() == alone.keys()
        for name in alone:
            np.testing.assert_array_equal(made[name], alone[name])


def test_the_commonest_skeleton_is_learnt_and_of_as_common_ones_the_first():
    small, large = bodies.moving(first(24)), bodies.moving(BODY)
    for values, joints in (([small, large, large], 31), ([large, small, small], 24), ([small, large], 24)):
        assert len(features_of(fitted(values)["fitted"]).skeleton) == joints


def test_there_must_be_something_to_learn_from():
    with pytest.raises(
        DataError, match=r"no motion to learn .*; the first value: got NoneType.*; expected a BVH file's path"
    ):
        reader([None, np.zeros((3, 0, 3))])
    with pytest.raises(DataError, match="no motion to learn a skeleton"):
        reader([])


def test_frames_that_are_no_numbers_are_an_error():
    made = reader([bodies.walker(0)])
    frames = np.zeros((3, made.features.width), np.float32)
    assert len(made.postprocess(frames, Context())) == 3
    with pytest.raises(DataError, match="the model made NaN"):
        made.postprocess(frames * np.nan, Context())


def test_any_frames_are_a_motion():
    made = reader([bodies.walker(0)])
    motion = made.postprocess(np.random.default_rng(0).normal(size=(50, made.features.width)) * 100, Context())
    assert np.isfinite(motion.positions).all()
    lengths = np.linalg.norm(motion.positions[:, 1] - motion.positions[:, 0], axis=-1)
    np.testing.assert_allclose(lengths, 5.0)


def test_pieces_join():
    made = reader([bodies.walker(0)])
    pieces = [made.preprocess(bodies.walker(k, frames=10 + k), Context()) for k in range(3)]
    joined = made.collate(pieces)
    assert joined["frames"].shape == (33, made.features.width)
    assert joined["lengths"].tolist() == [10, 11, 12]
    assert joined["time"].tolist() == [0, 0, 0]
