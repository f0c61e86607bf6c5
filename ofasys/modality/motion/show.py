"""Motions on a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from ofasys.modality.modality import View
from ofasys.modality.motion.draw import FASTEST, SIDE, pictures
from ofasys.modality.motion.read_motion import read_motion
from ofasys.modality.shared import media

PICTURES = 100  # of a motion, at most
COLOURS = 16


def show(values: Sequence[Any], view: View) -> str:
    """HTML of a moving skeleton a motion, seen aslant: its first PICTURES pictures. Errors: DataError for no motion."""
    fps = view.options.get("fps")
    found = []
    for value in values:
        motion = read_motion(value, view.root, float(fps)) if fps else read_motion(value, view.root)
        drawn = [picture.crop((SIDE, 18, 2 * SIDE, SIDE)) for picture in islice(pictures(motion), PICTURES)]
        found.append(media.film(drawn, max(1 / FASTEST, motion.frame_time), media.shown_width(drawn[0]), COLOURS))
    return "".join(found)
