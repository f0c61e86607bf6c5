"""Sounds on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.audio.waveform import Audio
from ofasys.modality.modality import View
from ofasys.modality.shared import media


def show(values: Sequence[Any], view: View) -> str:
    """HTML of a player a sound, at the rate of the slot. Errors: DataError for what holds no sound."""
    found = []
    for value in values:
        sound = value
        if not isinstance(value, Audio):
            sound = read_audio(value, int(view.options["rate"]), float(view.options["seconds"]), view.root)
        found.append(f"{media.sound(sound.samples, sound.rate)}<span class='muted'>{sound.seconds:.1f} s</span>")
    return "<br>".join(found)
