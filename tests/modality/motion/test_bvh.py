"""BVH: every number comes back; what was written is written the same again; what is broken says where."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.modality.motion.bvh import read_bvh, write_bvh
from ofasys.modality.motion.motion import Motion
from tests.modality.motion import bodies

GOOD = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT Knee
  {
    OFFSET 0 -4 0
    CHANNELS 1 Xrotation
    End Site
    {
      OFFSET 0 -4 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.05
0 8 0 0 0 0 10
0 8 1 0 5 0 20
"""


@pytest.mark.parametrize("limbs", [bodies.LIMBS, (4, 4, 4, 4, 4), (1,), ()])
@pytest.mark.parametrize("six", [(), (1, 2, 3)])
def test_numbers_come_back_and_our_text_is_written_again(limbs, six):
    given = bodies.moving(bodies.body(limbs=limbs, six=six if len(limbs) > 1 else ()), frames=20)
    theirs = bodies.text(given)
    motion = read_bvh(theirs)
    numbers = [[float(w) for w in row.split()] for row in theirs.split("Frame Time:")[1].splitlines()[1:]]
    assert motion.values.tolist() == numbers
    assert motion.skeleton == given.skeleton
    ours = write_bvh(motion)
    assert read_bvh(ours) == motion
    assert write_bvh(read_bvh(ours)) == ours


def test_the_body_has_the_shape_of_the_real_ones():
    skeleton = bodies.body(six=(1, 2))
    assert len(skeleton) == 31
    assert len(set(skeleton.channels)) > 6
    assert {len(names) for names in skeleton.channels} == {3, 6}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=7, max_size=7), min_size=1, max_size=4)
)
def test_every_finite_number_survives(values):
    skeleton = read_bvh(GOOD).skeleton
    motion = Motion(skeleton, np.array(values), 1 / 3)
    again = read_bvh(write_bvh(motion))
    assert again.values.tobytes() == motion.values.tobytes()
    assert again.frame_time == motion.frame_time


@pytest.mark.parametrize("hand", [{"indent": "\t"}, {"brace": " "}, {"end": "\r\n"}, {"blank": "\n"}])
def test_hands_that_write_it_otherwise(hand):
    given = bodies.moving(bodies.body(), frames=5)
    assert read_bvh(bodies.text(given, **hand)) == read_bvh(bodies.text(given))


def test_case_does_not_matter_and_one_frame_too_many_is_left_out():
    motion = read_bvh(GOOD)
    assert read_bvh(GOOD.upper().replace("HIPS", "Hips").replace("KNEE", "Knee")) == motion
    assert read_bvh(GOOD + "1 2 3 4 5 6 7\n") == motion
    assert read_bvh("\ufeff" + GOOD + "\n\n") == motion


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("HIERARCHY\n", ""), 1, "got 'ROOT Hips'; expected HIERARCHY"),
        (("ROOT Hips", "ROOT"), 2, "a ROOT without a name"),
        (("ROOT Hips", "JOINT Hips"), 2, "got 'JOINT Hips'; expected ROOT"),
        (("ROOT Hips\n{", "ROOT Hips\n"), 4, "no brace after 'ROOT Hips'"),
        (("OFFSET 0 -4 0\n    CH", "OFFSET 0 -4\n    CH"), 8, "an OFFSET of 2 numbers"),
        (("OFFSET 0 -4 0\n    CH", "OFFSET 0 -4 x\n    CH"), 8, "got 'x'; expected a number"),
        (("OFFSET 0 -4 0\n    CH", "OFFSET 0 nan 0\n    CH"), 8, "got 'nan'; expected a finite number"),
        (("    OFFSET 0 -4 0\n    CH", "    CH"), 9, "joint 'Knee' has no OFFSET"),
        (("    CHANNELS 1 Xrotation\n", ""), 9, "joint 'Knee' has no CHANNELS"),
        (
            ("CHANNELS 1 Xrotation", "CHANNELS 1 Xrotaton"),
            9,
            "unknown channel 'Xrotaton'; expected one of Xposition, Yposition, Zposition, Xrotation, Yrotation, "
            "Zrotation (did you mean Xrotation?)",
        ),
        (("CHANNELS 1 Xrotation", "CHANNELS 2 Xrotation"), 9, "CHANNELS 2 with 1 names"),
        (("CHANNELS 1 Xrotation", "CHANNELS Xrotation"), 9, "CHANNELS with 'Xrotation' for a number"),
        (("CHANNELS 1 Xrotation", "CHANNELS 2 Xrotation Xrotation"), 9, "a channel twice"),
        (("CHANNELS 1 Xrotation", "CHANNELS 1 Xrotation\nCHANNELS 1 Xrotation"), 10, "a second CHANNELS"),
        (("OFFSET 0 -4 0\n    CH", "OFFSET 0 -4 0\nOFFSET 0 0 0\n    CH"), 9, "a second OFFSET"),
        (("      OFFSET 0 -4 0\n", ""), 12, "in an End Site"),
        (("      OFFSET 0 -4 0\n    }", "      OFFSET 0 -4 0\n  JOINT a"), 13, "an End Site that does not end"),
        (("    End Site", "    End Sight"), 10, "got 'End Sight'; expected OFFSET, CHANNELS"),
        (("}\nMOTION", "MOTION"), 15, "got 'MOTION'; expected OFFSET"),
        (("}\nMOTION", "}\n}\nMOTION"), 16, "got '}'; expected MOTION"),
        (("}\nMOTION", "}\nROOT Other\n{\nMOTION"), 16, "got 'ROOT Other'; expected MOTION"),
        (("Frames: 2", "Frames: two"), 17, "got 'Frames: two'"),
        (("Frames: 2", "Frames: -2"), 17, "got 'Frames: -2'"),
        (("Frames: 2", "Frames: 3"), 17, "says 3 frames, and there are 2"),
        (("Frames: 2", "Frames: 999999999999"), 17, "says 999999999999 frames, and there are 2"),
        (("Frames: 2", "Frames: 0"), 17, "a motion of no frames"),
        (("Frame Time: 0.05", "Frame Time: 0"), 18, "a frame of 0 seconds"),
        (("Frame Time: 0.05", "Frame Time: -inf"), 18, "got '-inf'"),
        (("Frame Time: 0.05\n", ""), 18, "expected Frame Time:"),
        (("0 8 1 0 5 0 20", "0 8 1 0 5 0"), 20, "6 numbers in a frame; expected 7"),
        (("0 8 1 0 5 0 20", "0 8 1 0 5 0 20 1"), 20, "8 numbers in a frame"),
        (("0 8 1 0 5 0 20", "0 8 NaN 0 5 0 20"), 20, "got 'NaN'; expected a finite number"),
        (("0 8 1 0 5 0 20", "0 8 1e999 0 5 0 20"), 20, "got '1e999'; expected a finite number"),
        (("0 8 1 0 5 0 20", "0 8 1,5 0 5 0 20"), 20, "got '1,5'; expected a number"),
        (("0 8 1 0 5 0 20", "0 8 1_5 0 5 0 20"), 20, "got '1_5'"),
        (("0 8 0 0 0 0 10\n0 8 1 0 5 0 20", "0 8 0 0 0 0\n10 0 8 1 0 5 0 20"), 19, "6 numbers in a frame"),
    ],
)
def test_what_is_broken_says_where(change, line, says):
    assert GOOD.count(change[0]) == 1
    with pytest.raises(DataError, match=rf"line {line}\b.*{re.escape(says).replace('; expected', '.*expected')}"):
        read_bvh(GOOD.replace(*change))


@pytest.mark.parametrize("cut", range(1, len(GOOD.splitlines()) - 1))
def test_a_torn_file_is_an_error(cut):
    with pytest.raises(DataError, match="line "):
        read_bvh("\n".join(GOOD.splitlines()[:cut]))


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "HIERARCHY", "MOTION", "\x00" * 100, "{" * 100, "HIERARCHY\n" + "ROOT a\n{\n" * 9]
)
def test_what_is_no_bvh(text):
    with pytest.raises(DataError):
        read_bvh(text)


def test_nothing_moves_without_channels():
    text = (
        "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 0\nEnd Site\n{\nOFFSET 1 0 0\n}\n}\n"
        "MOTION\nFrames: 1\nFrame Time: 1\n\n"
    )
    with pytest.raises(DataError, match="no joint has channels"):
        read_bvh(text)


def test_depth_has_an_end_and_no_stack_runs_over():
    deep = "".join(f"JOINT j{i}\n{{\nOFFSET 0 0 1\nCHANNELS 1 Xrotation\n" for i in range(3000))
    start = "HIERARCHY\nROOT r\n{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n"
    row = " ".join(["0"] * 3001)
    motion = read_bvh(f"{start}{deep}{'}' * 1 + chr(10)}" + "}\n" * 3000 + f"MOTION\nFrames: 1\nFrame Time: 1\n{row}\n")
    assert len(motion.skeleton) == 3001
    assert motion.positions[0, -1].tolist() == [0, 0, 3000]
    assert read_bvh(write_bvh(motion)) == motion
    with pytest.raises(DataError, match="more than 10,000 joints"):
        read_bvh(start + "".join(f"JOINT j{i}\n{{\nOFFSET 0 0 1\nCHANNELS 0\n" for i in range(10_001)))


REAL = Path(os.environ.get("OFASYS_BVH", "/nowhere"))  # a folder with files of the Debian package assimp-testmodels


@pytest.mark.skipif(not REAL.is_dir(), reason="OFASYS_BVH names no folder of BVH files")
def test_real_files():
    known = {"01_01.bvh": (31, 2752, 120), "01_03.bvh": (31, 4511, 120), "Boxing_Toes.bvh": (21, 3069, 100)}
    files = sorted(REAL.rglob("*.bvh"))
    assert files
    for path in files:
        theirs = path.read_text(encoding="utf8")
        motion = read_bvh(theirs)
        numbers = [row.split() for row in re.split("Frame Time:.*", theirs)[1].splitlines() if row.strip()]
        np.testing.assert_array_equal(motion.values, np.array(numbers, dtype=np.float64)[: len(motion)])
        ours = write_bvh(motion)
        assert read_bvh(ours) == motion
        assert write_bvh(read_bvh(ours)) == ours
        if path.name in known:
            assert (len(motion.skeleton), len(motion), round(motion.fps)) == known[path.name]
