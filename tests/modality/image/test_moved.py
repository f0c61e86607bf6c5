"""Pictures moved in training: by how much, from which numbers, and never elsewhere."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ofasys import plan
from ofasys.errors import PlanError
from ofasys.modality import BUILT_IN, Context
from ofasys.modality.image.augment import moved
from ofasys.modality.image.preprocess import Pixels

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)


def ways():
    """What every way of moving PICTURE by two pixels and mirroring it gives, by padding and cutting."""
    padded = np.pad(PICTURE, ((2, 2), (2, 2), (0, 0)), mode="edge")
    found = {}
    for down in range(-2, 3):
        for across in range(-2, 3):
            part = padded[2 - down : 26 - down, 2 - across : 18 - across]
            found[part.tobytes()] = (down, across, False)
            found[np.ascontiguousarray(part[:, ::-1]).tobytes()] = (down, across, True)
    return found


def test_every_way_is_as_likely_and_there_is_no_other():
    known, random, times = ways(), np.random.default_rng(1), 10_000
    seen = Counter(known[moved(PICTURE, random, shift=2, mirror=True).tobytes()] for _ in range(times))
    assert len(seen) == 50
    expected = times / 50
    assert sum((count - expected) ** 2 / expected for count in seen.values()) < 85  # chi-square, 49 degrees: p 0.001


def test_without_mirror_left_stays_left():
    known, random = ways(), np.random.default_rng(2)
    assert not any(known[moved(PICTURE, random, shift=2, mirror=False).tobytes()][2] for _ in range(200))


def test_shift_zero_only_mirrors():
    random = np.random.default_rng(3)
    seen = {moved(PICTURE, random, shift=0, mirror=True).tobytes() for _ in range(50)}
    assert seen == {PICTURE.tobytes(), np.ascontiguousarray(PICTURE[:, ::-1]).tobytes()}


def test_only_training_moves():
    (slot,) = plan("[IMAGE:img,size=16,patch=4,shift=3,mirror] what? -> [TEXT:a]").on("source")
    picture, part = Image.fromarray(PICTURE), Pixels(slot.values, None)

    def patches(training, seed):
        random = None if seed is None else np.random.default_rng(seed)
        return part.preprocess(picture, Context(training=training, random=random)).tensors["patches"].tobytes()

    still = patches(False, None)
    assert patches(False, 4) == still  # evaluation on noised input has numbers too
    assert len({patches(True, seed) for seed in range(20)}) > 10
    assert patches(True, 4) == patches(True, 4)


@pytest.mark.parametrize("option", ["shift=2", "mirror"])
def test_nothing_lies_in_a_picture_that_is_moved(option):
    with pytest.raises(PlanError, match=rf"BOX:b: it lies in IMAGE:img, and {option.split('=')[0]} of it would not"):
        plan(f"[IMAGE:img,{option}] where? -> [BOX:b]")
    plan(f"[IMAGE:img,{option}] beside [IMAGE:other] -> [BOX:b,of=other]")


def test_a_picture_of_codes_is_not_moved():
    assert "shift" not in BUILT_IN.spec("IMAGE").takes("codes", "tokens")


def test_a_picture_is_not_moved_out_of_sight():
    with pytest.raises(PlanError, match="shift=28 moves a picture of size=28 out of sight; say less than 28"):
        plan("[IMAGE:img,size=28,patch=4,shift=28] what? -> [TEXT:a]")
    plan("[IMAGE:img,size=28,patch=4,shift=27] what? -> [TEXT:a]")
