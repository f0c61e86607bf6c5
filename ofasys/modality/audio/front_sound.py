"""AUDIO for a front: anything that holds sound -> what the front's own processor makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.audio.front import Window, hearing
from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.shared.front import front_of
from ofasys.modality.shared.front_processor import Processor
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

SPARE = 0.1  # seconds


class FrontSound(Concatenate):
    """Sound -> `heard` (windows, bands, frames) or (1, samples), and counts (1,), the states that stand for it.

    A front that hears through a window hears longer sound window after window, each by itself, as Voxtral does, and
    makes states of the silence behind the sound too: these are left out. max_length: longer audio loses its end.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        known = front_of(options)
        self.ear, self.seconds, self.most = hearing(known), float(options["seconds"]), options["max_length"]
        self.processor = Processor(known.made_by, known.processor)

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """An Audio at the front's rate."""
        return None if value is None else read_audio(value, self.ear.rate, self.seconds, context.root)

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value holds no sound, or one that is too short or too long."""
        samples = self._whole(read_audio(value, self.ear.rate, self.seconds, context.root).samples)
        least = self.ear.samples(1) if not isinstance(self.ear, Window) else 1
        if len(samples) < least:
            raise DataError(
                f"the audio is too short: {len(samples)} samples at {self.ear.rate} Hz",
                expected=f"at least {least} samples, which the first position sees",
            )
        positions = self.ear.positions(len(samples))
        if self.most and positions > self.most:
            positions = int(self.most)
            samples = samples[: self.ear.samples(positions)]
        span = self.ear.window if isinstance(self.ear, Window) else len(samples)
        windows = [samples[begin : begin + span] for begin in range(0, len(samples), span)]
        heard = np.concatenate([self.processor(one, sampling_rate=self.ear.rate) for one in windows])
        return SlotFeatures({"heard": heard, "counts": np.array([positions], dtype=np.int64)}, positions)

    def _whole(self, samples: np.ndarray) -> np.ndarray:
        """Without what a decoder has put behind the end of whole windows."""
        if not isinstance(self.ear, Window):
            return samples
        windows, more = divmod(len(samples), self.ear.window)
        return samples[: windows * self.ear.window] if windows and more <= SPARE * self.ear.rate else samples

    def collate(self, parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
        """Of values that run together `heard LENGTH` (windows of all values, ...), and rows (positions of all values,):
        which of the states of all of them, laid end to end, each position is. Where those of other lengths are padded
        to the longest, `valid LENGTH` (values, LENGTH) says what is there.
        """
        lengths = [part.tensors["heard"].shape[-1] for part in parts]
        groups: dict[int, list[int]] = {}
        for number, length in enumerate(lengths):
            groups.setdefault(max(lengths) if self.ear.padded else length, []).append(number)
        joined: dict[str, np.ndarray] = {}
        rows: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(parts)
        start = 0
        for length, numbers in sorted(groups.items()):
            heard = [parts[number].tensors["heard"] for number in numbers]
            behind = [(0, length - one.shape[-1]) for one in heard]
            every = [np.pad(one, [*[(0, 0)] * (one.ndim - 1), pad]) for one, pad in zip(heard, behind, strict=True)]
            joined[f"heard {length}"] = np.concatenate(every)
            if self.ear.padded:
                given = np.array([[lengths[number]] for number in numbers])
                joined[f"valid {length}"] = np.arange(length) < given
            states = self.ear.length if isinstance(self.ear, Window) else self.ear.positions(length)
            for number in numbers:
                rows[number] = start + np.arange(parts[number].length)
                start += states * len(parts[number].tensors["heard"])
        joined["rows"] = np.concatenate(rows)
        return joined

    def postprocess(self, made: np.ndarray, context: Context) -> Any:
        """Sound is answered by target slots."""
        raise NotImplementedError("AUDIO in the source answers nothing")
