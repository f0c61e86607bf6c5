"""Clips on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ofasys.modality.modality import View
from ofasys.modality.shared import media
from ofasys.modality.video.moving import Video
from ofasys.modality.video.read import opened

FRAMES = 12  # of a clip, at most
LONGEST = 6.0  # seconds in which they are shown
STRIP = 600  # pixels that a strip of small ones is wide


def show(values: Sequence[Any], view: View) -> str:
    """HTML of a moving picture a clip: at most FRAMES of its frames, evenly spread; of one that was made, a strip of
    them too. Errors: DataError for no clip.
    """
    found = []
    for value in values:
        with opened(value, view.root) as clip:
            count = min(FRAMES, len(clip.times))
            numbers = [i * len(clip.times) // count for i in range(count)]
            frames = [media.shrunk(frame) for frame in clip.pick(numbers)]
            seconds = min(LONGEST, max(clip.duration, 0.1)) / count
        found.append(media.film(frames, seconds, media.shown_width(frames[0])))
        if isinstance(value, Video):
            strip = Video(np.stack([np.asarray(frame) for frame in frames])).strip()
            found.append(media.picture(strip, max(strip.width, min(STRIP, 4 * strip.width))))
    return "".join(found)
