"""AUDIO: sound -> log-mel frames, whose stream positions stand where OFASys's do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ofasys.engine.ofa.config import WAVE
from ofasys.errors import DataError
from ofasys.modality.audio.preprocess import Fbank
from ofasys.modality.modality import Concatenate, Context
from ofasys.types import SlotFeatures

LEAST = 7  # frames that make a position


def halved(count: int) -> int:
    """What two convolutions of kernel 3 and stride 2, without padding, leave of so many frames or bands."""
    return ((count - 1) // 2 - 1) // 2


class OFAFbank(Fbank):
    """As `Fbank`; a position stands for the seven frames that two convolutions see."""

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value holds no sound, or one that is too short or too long."""
        made = super().preprocess(value, context)
        frames = len(made.tensors["frames"])
        if frames < LEAST:
            raise DataError(f"the audio is too short: {frames} frames", expected=f"at least {LEAST}")
        count = halved(frames)
        return replace(made, length=count, grid=np.full((count, 2), WAVE))

    def collate(self, parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
        """frames (T, C) of all values, and of those of one length T their rows: `frames T` (values, T), and
        `places T` (values, n).
        """
        groups: dict[str, list[np.ndarray]] = {}
        frame = place = 0
        for part in parts:
            count = len(part.tensors["frames"])
            groups.setdefault(f"frames {count}", []).append(np.arange(frame, frame + count))
            groups.setdefault(f"places {count}", []).append(np.arange(place, place + part.length))
            frame, place = frame + count, place + part.length
        joined = Concatenate.collate(self, parts)
        return {"frames": joined["frames"], **{name: np.stack(rows) for name, rows in groups.items()}}
