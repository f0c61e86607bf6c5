"""AUDIO in the source, sample by sample: anything that holds sound -> a waveform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.audio.strides import left, seen
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures


class Wave(Concatenate):
    """Sound -> samples (n,) float32 of mean 0 and deviation 1, of which a position sees 400 and the next one 320
    further.

    max_length: longer audio loses its end.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.rate = options, int(options["rate"])

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """An Audio at the slot's rate."""
        return None if value is None else read_audio(value, self.rate, self.options["seconds"], context.root)

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value holds no sound, or one that is too short or too long."""
        samples = read_audio(value, self.rate, self.options["seconds"], context.root).samples
        if len(samples) < seen(1):
            raise DataError(
                f"the audio is too short: {len(samples)} samples at {self.rate} Hz",
                expected=f"at least {seen(1)} samples, which the first position sees",
            )
        positions = left(len(samples))
        if most := self.options["max_length"]:
            positions = min(positions, most)
        samples = samples[: seen(positions)]
        if self.options["normalise"] == "utterance":
            deviation = max(1e-4, float(samples.std(dtype=np.float64)))  # silence is zeros
            samples = ((samples - samples.mean(dtype=np.float64)) / deviation).astype(np.float32)
        return SlotFeatures({"samples": samples}, positions)

    def collate(self, parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
        """samples (values, n) with zeros behind each; rows (positions of all values,): where in a rectangle of values
        and positions each of them lies.
        """
        every = [part.tensors["samples"] for part in parts]
        samples = np.zeros((len(every), max(map(len, every))), dtype=np.float32)
        for row, one in zip(samples, every, strict=True):
            row[: len(one)] = one
        longest = left(samples.shape[1])
        rows = [number * longest + np.arange(part.length) for number, part in enumerate(parts)]
        return {"samples": samples, "rows": np.concatenate(rows)}

    def postprocess(self, made: np.ndarray, context: Context) -> Any:
        """Sound is answered by target slots."""
        raise NotImplementedError("AUDIO in the source answers nothing")
