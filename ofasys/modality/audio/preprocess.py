"""AUDIO: anything that holds sound -> log-mel frames, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.audio.augment import spec_augment
from ofasys.modality.audio.mel import MelSpec, log_mel
from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.audio.waveform import Audio
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

# About the mean and deviation of the log-mel magnitudes of speech. Numbers of ours, not of a data set: a frame then
# means
# the same in every model and every task, and a value of one data set comes back whole from a model of another.
MEAN, DEVIATION = -5.0, 2.5


class Heard(Concatenate):
    """What both sides share: reading."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.spec = options, MelSpec.of(options)

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """An Audio at the slot's rate."""
        return None if value is None else read_audio(value, self.spec.rate, self.options["seconds"], context.root)

    def _samples(self, value: Any, context: Context) -> np.ndarray:
        """(n,), at least one window."""
        samples = read_audio(value, self.spec.rate, self.options["seconds"], context.root).samples
        if len(samples) < self.spec.window:
            raise DataError(
                f"the audio is too short: {len(samples)} samples at {self.spec.rate} Hz",
                expected=f"at least {self.spec.window} samples, one window of {self.options['window']:g} ms",
            )
        return samples


class Seen(Concatenate):
    """What the source makes of frames, whoever made them. Four of them share a stream position."""

    options: Options

    def seen(self, frames: np.ndarray, context: Context) -> SlotFeatures:
        """Frames (T, C) cut, normalised, and in training some of them hidden."""
        if most := self.options["max_length"]:
            frames = frames[: 4 * most]
        if self.options["normalise"] == "utterance":
            # One mean and deviation for all bands: per band, a steady tone would be nothing at all. Silence is zeros.
            # No dot of numpy: beside torch's threads it takes milliseconds, findings/numpy_waits_for_torch.sh.
            apart = frames - frames.mean(dtype=np.float64)
            frames = (apart / max(0.1, math.sqrt(np.square(apart).mean()))).astype(np.float32)
        if context.random is not None and context.training:
            names = ("time_masks", "time_mask", "time_share", "band_masks", "band_mask")
            frames = spec_augment(frames, context.random, **{name: self.options[name] for name in names})
        return SlotFeatures(
            {"frames": frames, "counts": np.array([len(frames)], dtype=np.int64)}, positions(len(frames))
        )

    def collate(self, parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
        """As any; and `half` (ceil(T / 2) of all values,) and `quarter`: which value each of these frames is of."""
        joined, lengths = super().collate(parts), np.concatenate([part.tensors["counts"] for part in parts])
        for name in ("half", "quarter"):
            lengths = (lengths + 1) // 2
            joined[name] = np.repeat(np.arange(len(lengths)), lengths)
        return joined

    def postprocess(self, made: np.ndarray, context: Context) -> Any:
        """Sound is answered by target slots."""
        raise NotImplementedError("AUDIO in the source answers nothing")


class Fbank(Seen, Heard):
    """Sound -> frames (T, C) float32, T = 1 + samples // hop, and counts (1,), the T. Four frames share a stream
    position.

    max_length: longer audio loses its end.
    """

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value holds no sound, or one that is too short or too long."""
        return self.seen((log_mel(self._samples(value, context), self.spec) - MEAN) / DEVIATION, context)


class Frames(Heard):
    """Sound -> frames (length * reduction, C) float32; silence is added up to a whole number of positions.

    A value longer than max_length is an error: a model that learned from its beginning alone would stop in the middle.
    """

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value holds no sound, or one that is too short or too long."""
        samples = self._samples(value, context)
        step = self.spec.hop * self.options["reduction"]
        length = -(-len(samples) // step)
        if (most := self.options["max_length"]) and length > most:
            raise DataError(
                f"the audio takes {length} positions, more than max_length={most}",
                expected=f"at most {most * step / self.spec.rate:g} s, or a larger max_length",
            )
        padded = np.pad(samples, (0, length * step - len(samples)))
        frames = log_mel(padded, self.spec)[: length * self.options["reduction"]]
        return SlotFeatures({"frames": (frames - MEAN) / DEVIATION}, length)

    def from_frames(self, frames: np.ndarray) -> SlotFeatures:
        """Frames (length * reduction, C) that were generated, for what comes after them."""
        return SlotFeatures({"frames": frames}, len(frames) // self.options["reduction"])

    def postprocess(self, made: np.ndarray, context: Context) -> Audio:
        """Frames (n, C) as they were generated -> sound."""
        from ofasys.modality.audio.vocoder import sound

        frames = np.asarray(made, dtype=np.float32) * DEVIATION + MEAN
        if len(frames) == 0:
            return Audio(np.zeros(0, np.float32), self.spec.rate)
        samples = sound(frames, self.spec, self.options["vocoder"], self.options["vocoder_steps"])
        return Audio(samples, self.spec.rate)


def positions(frames: int) -> int:
    """Stream positions of so many frames in the source: halved twice, rounded up."""
    return ((frames + 1) // 2 + 1) // 2
