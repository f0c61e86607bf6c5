"""Sounds on a page; of frames that others made, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ofasys.modality.audio.bands import read_bands
from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.audio.waveform import Audio
from ofasys.modality.modality import View
from ofasys.modality.shared import media


def show(values: Sequence[Any], view: View) -> str:
    """HTML of a player a sound, at the rate of the slot. Errors: DataError for what holds none."""
    if "rate" not in view.options:
        return media.row([_frames(read_bands(value, int(view.options["mels"]), view.root)) for value in values])
    found = []
    for value in values:
        sound = value
        if not isinstance(value, Audio):
            sound = read_audio(value, int(view.options["rate"]), float(view.options["seconds"]), view.root)
        found.append(f"{media.sound(sound.samples, sound.rate)}<span class='muted'>{sound.seconds:.1f} s</span>")
    return "<br>".join(found)


def _frames(frames: np.ndarray) -> str:
    """(T, C), low bands below, in grey from the least to the most."""
    least, most = float(frames.min()), float(frames.max())
    grey = (255 * (frames - least) / max(most - least, 1e-9)).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(grey.T[::-1]))
    return f"{media.picture(picture, 2 * picture.width)}<span class='muted'>{len(frames)} frames</span>"
