"""Sounds in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import ConfigError
from ofasys.modality.audio.read_audio import as_given
from ofasys.modality.audio.waveform import Audio


def save(path: Path, values: Sequence[Any], frame: Any, labels: Sequence[str]) -> None:
    """Sounds, as answers or rows hold them, as one file, one after the other, a quarter of a second between them.

    Errors: DataError for a value without samples and their rate.
    """
    if not values:
        raise ConfigError(f"cannot write {path.name!r}: the answer holds no sound")
    sounds = [as_given(value) for value in values]
    gap = np.zeros(sounds[0].rate // 4, np.float32)
    parts = [part for sound in sounds for part in (gap, sound.samples)][1:]
    Audio(np.concatenate(parts), sounds[0].rate).save(path)
