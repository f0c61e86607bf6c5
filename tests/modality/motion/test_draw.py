"""Motions written: as BVH, as a moving picture, as numbers."""

import json

import numpy as np
import pytest
from PIL import Image

from ofasys.errors import ConfigError
from ofasys.modality.motion.draw import LEFT, MOST_PICTURES, RIGHT, VIEWS, pictures, save, shown
from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.read_motion import read_motion
from tests.modality.motion import bodies


@pytest.mark.parametrize("ending", [".bvh", ".json"])
def test_what_is_saved_is_read_again(tmp_path, ending):
    for motion in (bodies.walker(0), Motion.from_positions(bodies.walker(1).positions, parents=(-1, 0, 1, 1, 1))):
        path = tmp_path / f"m{ending}"
        save(path, [motion])
        assert read_motion(path if ending == ".bvh" else json.loads(path.read_text())) == motion


def test_a_moving_picture(tmp_path):
    save(tmp_path / "m.gif", [bodies.walker(0), bodies.walker(1)])
    with Image.open(tmp_path / "m.gif") as made:
        assert made.n_frames == 32
        assert made.info["duration"] == 50
        first, last = (np.asarray(frame) for frame in (_at(made, 0), _at(made, 4)))
    assert (first != last).any()
    for third in np.split(first, len(VIEWS), 1):
        assert (third != 255).any()


def _at(picture, frame):
    picture.seek(frame)
    return picture.convert("RGB")


def test_from_the_front_the_left_arm_is_on_the_right_and_the_head_above():
    motion = bodies.walker(0)
    front = np.asarray(next(pictures(motion)))[:, :220].astype(int)

    def where(colour):
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return np.argwhere((front == rgb).all(-1)).mean(0)

    assert where(LEFT)[1] > where(RIGHT)[1] + 20
    assert np.abs(where(LEFT)[0] - where(RIGHT)[0]) < 10


def test_pictures_are_neither_too_many_nor_outside():
    assert len(shown(bodies.walker(0, frames=1000, fps=1000.0))) == 25
    assert len(shown(bodies.walker(0, frames=5000))) == MOST_PICTURES
    assert len(shown(bodies.walker(0, frames=1))) == 1
    point = Motion.from_positions(np.zeros((2, 1, 3)))
    assert len(list(pictures(point))) == 2
    far = Motion.from_positions(bodies.walker(0).positions + np.array([1e6, -1e6, 1e6]))
    assert (np.asarray(next(pictures(far)))[10:-10] == [51, 51, 51]).all(-1).any()


def test_what_cannot_be_written(tmp_path):
    motion = bodies.walker(0)
    with pytest.raises(ConfigError, match=r"cannot write a motion as 'm\.png'; use \.bvh, \.gif or \.json"):
        save(tmp_path / "m.png", [motion])
    with pytest.raises(ConfigError, match="holds one motion, not 2"):
        save(tmp_path / "m.bvh", [motion, motion])
    with pytest.raises(ConfigError, match="no motion to draw"):
        save(tmp_path / "m.gif", [])
    assert not list(tmp_path.iterdir())
