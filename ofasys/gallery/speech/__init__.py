"""The demo's sound: the digits and the letters, each spoken once by one voice, and ways to make each sound a little
different.

    from ofasys.gallery import speech

    speech.recording("seven")            # (samples (n,) float32, 8000)
    speech.spoken(["seven", "b"], seed)  # the same, one after the other, each at another speed and pitch, in noise
"""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np

RATE = 8000
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
NAMES = {
    **{str(i): name for i, name in enumerate(DIGITS)},
    **{letter.upper(): letter for letter in LETTERS},
}  # symbol -> what is said

Sound = tuple[np.ndarray, int]  # samples (n,) float32 in -1..1, and how many a second


@cache
def _recordings() -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = resources.files(__package__).joinpath("speech.parquet").read_bytes()
    found = {}
    for row in pq.read_table(pa.BufferReader(data)).to_pylist():
        with wave.open(io.BytesIO(row["wav"])) as file:
            whole = np.frombuffer(file.readframes(file.getnframes()), dtype=np.uint8)
        samples = (whole.astype(np.float32) - 128) / 128
        samples.flags.writeable = False
        found[row["name"]] = samples
    return found


def recording(name: str) -> Sound:
    """What the voice says, as it was recorded. name: of DIGITS or LETTERS."""
    return _recordings()[name], RATE


def spoken(names: Sequence[str], seed: str | int, *, noise: float = 0.02) -> Sound:
    """Names said one after the other, each faster or slower by up to 15 % and higher or lower by up to 12 %, louder or
    softer, at a moment of its own, in white noise of up to `noise`. A function of its arguments alone.
    """
    random = np.random.default_rng(list(str(seed).encode()))
    parts = [np.zeros(int(random.integers(80, 600)), np.float32)]
    for name in names:
        samples = changed(_recordings()[name], speed=random.uniform(0.85, 1.15), pitch=random.uniform(0.88, 1.12))
        parts += [
            samples * np.float32(random.uniform(0.4, 1.0)),
            np.zeros(int(random.integers(80, 600)), np.float32),
        ]
    whole = np.concatenate(parts)
    whole += random.normal(scale=random.uniform(0.1, 1.0) * noise, size=len(whole)).astype(np.float32)
    return np.clip(whole, -1, 1).astype(np.float32), RATE


def changed(samples: np.ndarray, *, speed: float, pitch: float) -> np.ndarray:
    """samples (n,) -> about (n / speed,), the voice `pitch` times as high.

    Overlapping windows are laid closer or wider apart where they fit best (WSOLA, Verhelst and Roelands 1993), which
    changes the length alone; resampling then changes length and pitch.
    """
    return resampled(stretched(samples, pitch / speed), pitch)


def resampled(samples: np.ndarray, factor: float) -> np.ndarray:
    """samples (n,) -> (n / factor,), along straight lines: everything `factor` times as fast and as high."""
    count = max(2, round(len(samples) / factor))
    return np.interp(np.linspace(0, len(samples) - 1, count), np.arange(len(samples)), samples).astype(np.float32)


def stretched(samples: np.ndarray, factor: float, window: int = 240, search: int = 60) -> np.ndarray:
    """samples (n,) -> about (n * factor,), as high as before."""
    hop = window // 2
    padded = np.pad(samples, (hop, window + search))
    shape = np.hanning(window + 1)[:window].astype(np.float32)
    count = max(1, round(len(samples) * factor / hop))
    made = np.zeros((count + 2) * hop, np.float32)
    at = 0  # where the last window was taken
    for i in range(count + 1):
        wanted = round(i * hop / factor)
        if i:
            goes_on = padded[at + hop : at + hop + window]  # what would follow without a seam
            low = max(0, min(wanted - search, len(padded) - window))
            high = max(low, min(wanted + search, len(padded) - window))
            if len(goes_on) == window:
                fits = np.correlate(padded[low : high + window], goes_on, "valid")
                wanted = low + int(fits.argmax())
            else:
                wanted = low
        at = wanted
        made[i * hop : i * hop + window] += padded[at : at + window] * shape
    return made[hop : hop + max(2, round(len(samples) * factor))]
