"""MOTION keeps what every modality promises."""

import numpy as np
import pytest

from ofasys.modality.motion import MOTION
from ofasys.modality.motion.bvh import write_bvh
from ofasys.modality.motion.read_motion import read_motion
from ofasys.testing import check_modality
from tests.modality.motion import bodies

GOOD = [*(bodies.walker(k, frames=8 + 3 * k) for k in range(3)), write_bvh(bodies.walker(1, frames=5))]
BAD = [
    7,
    "no.bvh",
    "HIERARCHY\nROOT a",
    np.zeros((3, 4, 3)),
    np.full((2, 5, 3), np.nan),
    {},
    bodies.moving(bodies.body()),
]
ODD = [
    bodies.walker(0, frames=1),
    bodies.walker(0, frames=5000),
    bodies.walker(0, frames=9, fps=1000.0),
    bodies.walker(0, frames=9, fps=0.01),
]


def same(value, back):
    """To a thousandth of a unit, wherever it stands."""
    places = read_motion(value).positions
    return np.abs(places - places[0, 0] * (1, 0, 1) - back.positions).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"MOTION.features": "positions"}], ids=["rotations", "positions"])
def test_contract(settings):
    bad = BAD if not settings else [value for value in BAD if not isinstance(value, np.ndarray)]
    made = check_modality(
        MOTION, values=GOOD, bad=bad, extreme=ODD, same=same, settings={"MOTION.frames": 20, **settings}
    )
    assert not made.left_out
