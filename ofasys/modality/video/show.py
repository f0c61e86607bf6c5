"""Clips on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ofasys.modality.modality import View
from ofasys.modality.shared import media
from ofasys.modality.video.read import opened

FRAMES = 12  # of a clip, at most
LONGEST = 6.0  # seconds in which they are shown


def show(values: Sequence[Any], view: View) -> str:
    """HTML of a moving picture a clip: at most FRAMES of its frames, evenly spread. Errors: DataError for no clip."""
    found = []
    for value in values:
        with opened(value, view.root) as clip:
            count = min(FRAMES, len(clip.times))
            numbers = [i * len(clip.times) // count for i in range(count)]
            frames = [media.shrunk(frame) for frame in clip.pick(numbers)]
            seconds = min(LONGEST, max(clip.duration, 0.1)) / count
        found.append(media.film(frames, seconds, media.shown_width(frames[0])))
    return "".join(found)
