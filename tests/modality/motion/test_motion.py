"""A motion is where its joints are: forward kinematics, joint arrays, every form a value may have."""

import json
import pickle

import numpy as np
import pytest
import torch

from ofasys.errors import DataError
from ofasys.modality.motion.bvh import write_bvh
from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.read_motion import Files, read_motion
from ofasys.modality.motion.skeleton import POSITIONS, Skeleton
from tests.modality.motion import bodies

places = np.random.default_rng(0).normal(size=(6, 4, 3))


def test_forward_kinematics_by_hand():
    skeleton = Skeleton(
        ("hip", "knee"),
        (-1, 0),
        ((0, 0, 0), (0, -4, 0)),
        ((*POSITIONS, "Zrotation"), ("Zrotation",)),
        ((1, (0, -3, 0)),),
    )
    motion = Motion(skeleton, np.array([[1, 10, 0, 0, 0], [1, 10, 0, 90, 0], [1, 10, 0, 90, -90]]), 0.05)
    np.testing.assert_allclose(motion.positions[:, 0], [[1, 10, 0]] * 3)
    np.testing.assert_allclose(motion.positions[:, 1], [[1, 6, 0], [5, 10, 0], [5, 10, 0]], atol=1e-12)
    np.testing.assert_allclose(motion.ends[:, 0], [[1, 3, 0], [8, 10, 0], [5, 7, 0]], atol=1e-12)


def test_a_position_channel_stands_in_place_of_the_offset():
    skeleton = Skeleton(("a", "b"), (-1, 0), ((9, 9, 9), (1, 2, 3)), (POSITIONS, ("Yposition",)))
    motion = Motion(skeleton, np.array([[1, 1, 1, 7]]), 1)
    np.testing.assert_array_equal(motion.positions[0], [[1, 1, 1], [2, 8, 4]])


@pytest.mark.parametrize("parents", [None, [-1, 0, 1, 1]])
def test_joint_positions_come_back(parents):
    motion = Motion.from_positions(places, fps=30, parents=parents)
    np.testing.assert_allclose(motion.positions, places, atol=1e-12)
    np.testing.assert_allclose(np.asarray(motion), places, atol=1e-12)
    assert motion.fps == 30
    assert repr(motion) == "Motion(4 joints, 6 frames, 30 fps)"


def test_forms_of_a_motion(tmp_path):
    motion = bodies.moving(bodies.body(), frames=5)
    text = write_bvh(motion)
    (tmp_path / "a.bvh").write_text(text)
    values = [
        motion,
        text,
        "\ufeff\n " + text,
        text.encode(),
        bytearray(text.encode("utf-8-sig")),
        tmp_path / "a.bvh",
        "a.bvh",
    ]
    values += [
        {"bytes": text.encode(), "path": None},
        {"bytes": None, "path": "a.bvh"},
        json.loads(json.dumps(motion.to_dict())),
    ]
    for value in values:
        assert read_motion(value, tmp_path) == motion
        assert hash(read_motion(value, tmp_path)) == hash(motion)
    joints = Motion.from_positions(places, 25)
    for value in (
        places,
        places.tolist(),
        torch.from_numpy(places),
        {"positions": places},
        {"positions": places, "fps": 25},
    ):
        assert read_motion(value, fps=25) == joints
    named = read_motion({"positions": places, "fps": 50, "parents": [-1, 0, 0, 2], "names": list("abcd")})
    assert (named.fps, named.skeleton.names, named.skeleton.parents) == (50, tuple("abcd"), (-1, 0, 0, 2))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7, "got int '7'"),
        (None, "got NoneType"),
        ("no.bvh", "no file 'no.bvh'"),
        ("x" * 100_000, "no file 'xxx"),
        ("a\x00b", "no file"),
        ("", "no file ''"),
        (b"", "the text ends here"),
        (b"\x89PNG\r\n\x1a\n", "expected HIERARCHY"),
        ({}, "a mapping of nothing"),
        ({"x": 1}, "a mapping of 'x'"),
        ({"positions": places, "fpz": 3}, "a mapping with 'fpz'"),
        ({"positions": places, "fps": 0}, "fps is 0"),
        ({"positions": places, "fps": "fast"}, "no joint positions"),
        ({"positions": places, "parents": [-1, 0]}, "4 joints with 2 parents"),
        ({"positions": places, "parents": [-1, 2, 1, 0]}, "joint 1 .'joint1'. has parent 2"),
        ({"positions": places, "parents": [0, 0, 0, 0]}, "joint 0 .* has parent 0"),
        ({"positions": places, "names": ["a"]}, "4 parents and 1 names"),
        ({"skeleton": {}, "values": [], "frame_time": 1}, "no skeleton"),
        (places[:, :, :2], r"positions of shape \(6, 4, 2\)"),
        (places[0], r"positions of shape \(4, 3\)"),
        (places[:0], r"positions of shape \(0, 4, 3\)"),
        (places[:, :0], r"positions of shape \(6, 0, 3\)"),
        ([], "positions of shape"),
        (torch.zeros(2, 3, 3, device="meta"), "no joint positions: .*'meta'"),
        ([[1, 2], [3]], "no joint positions"),
        ([["a", "b", "c"]], "of <U1"),
        (np.where(np.arange(12).reshape(1, 4, 3) == 7, np.nan, 1.0), "frame 0 holds NaN or infinity at joint 2"),
        (np.full((2, 1, 3), np.inf), "frame 0 holds NaN or infinity at joint 0"),
    ],
)
def test_what_is_no_motion(value, says, tmp_path):
    with pytest.raises(DataError, match=says):
        read_motion(value, tmp_path)


def test_an_error_in_a_file_names_it(tmp_path):
    (tmp_path / "torn.bvh").write_text("HIERARCHY\nROOT a\n")
    with pytest.raises(DataError, match=r"torn\.bvh: line 2: the text ends here"):
        read_motion("torn.bvh", tmp_path)


def test_a_file_too_large_is_not_read(tmp_path):
    with (tmp_path / "huge.bvh").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="1,099,511,627,776 bytes"):
        read_motion("huge.bvh", tmp_path)


def test_a_file_read_again_is_parsed_once_until_it_changes(tmp_path):
    motions = [bodies.walker(kind, frames=20) for kind in range(3)]
    files = Files(most=int(2.5 * motions[0].values.nbytes))
    for i, motion in enumerate(motions):
        (tmp_path / f"{i}.bvh").write_text(write_bvh(motion))
        assert read_motion(f"{i}.bvh", tmp_path, files=files) == motion
    assert len(files.motions) == 2
    assert files.held == 2 * motions[0].values.nbytes
    assert read_motion("2.bvh", tmp_path, files=files) is read_motion("2.bvh", tmp_path, files=files)
    assert read_motion("0.bvh", tmp_path, files=files) == motions[0]
    (tmp_path / "0.bvh").write_text(write_bvh(bodies.walker(1, frames=21)))
    assert len(read_motion("0.bvh", tmp_path, files=files)) == 21
    assert not pickle.loads(pickle.dumps(files)).motions


def test_a_motion_cannot_be_changed():
    motion = bodies.moving(bodies.body(), frames=5)
    with pytest.raises(ValueError, match="read-only"):
        motion.values[0] = 1
    values = np.zeros((1, motion.skeleton.width))
    made = Motion(motion.skeleton, values, 1)
    values[:] = 1
    assert not made.values.any()


@pytest.mark.parametrize(
    ("values", "time", "says"),
    [
        (np.zeros((1, 3)), 1, r"values of shape \(1, 3\)"),
        (np.zeros((0, 7)), 1, "no frames"),
        (np.full((2, 7), np.nan), 1, "frame 0 holds NaN"),
        (np.zeros((2, 7)), 0, "a frame takes 0 seconds"),
        (np.zeros((2, 7)), np.nan, "a frame takes nan seconds"),
    ],
)
def test_numbers_that_make_no_motion(values, time, says):
    skeleton = Skeleton(("a", "b"), (-1, 0), ((0, 0, 0),) * 2, ((*POSITIONS, *bodies.ORDERS[0]), ("Xrotation",)))
    assert len(Motion(skeleton, np.zeros((2, 7)), 1)) == 2
    with pytest.raises(DataError, match=says):
        Motion(skeleton, values, time)
