"""Log-mel frames of a waveform, and the magnitudes behind mel frames. `n` samples, `T` frames, `F` bins of the
spectrum, `C` mels.

The mel scale is Slaney's (linear below 1000 Hz, logarithmic above), and each band has the same area, as in Slaney's
Auditory Toolbox; the spectrum is of magnitudes, the logarithm natural, of nothing below FLOOR.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofasys.errors import ConfigError

FLOOR = 1e-5


@dataclass(frozen=True)
class MelSpec:
    """How frames are made. rate, fmin, fmax in Hz; window, hop in samples."""

    rate: int
    window: int
    hop: int
    mels: int
    """Bands of a frame."""
    fmin: float
    fmax: float

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> MelSpec:
        """That of a slot's options. Errors: ConfigError when they contradict each other."""
        rate, half = int(options["rate"]), options["rate"] / 2
        fmin, fmax = float(options["fmin"]), float(options["fmax"] or half)
        if fmax > half:
            raise ConfigError(f"fmax={fmax:g} Hz is more than half the rate; give at most {half:g}, or a larger rate")
        if fmin >= fmax:
            raise ConfigError(f"fmin={fmin:g} Hz is not below fmax={fmax:g} Hz")
        if options["hop"] > options["window"]:
            raise ConfigError(
                f"hop={options['hop']:g} ms is longer than window={options['window']:g} ms; samples are lost"
            )
        made = cls(
            rate,
            round(rate * options["window"] / 1000),
            round(rate * options["hop"] / 1000),
            options["mels"],
            fmin,
            fmax,
        )
        if empty := int((made.bank().amax(1) == 0).sum()):
            raise ConfigError(
                f"mels={made.mels} are more than a window of {options['window']:g} ms can tell apart at {rate} Hz: "
                f"{empty} bands hold nothing; give fewer mels, or a longer window"
            )
        return made

    @property
    def fft(self) -> int:
        """Samples of the Fourier transform: the least power of two that holds the window."""
        return 1 << (self.window - 1).bit_length()

    def bank(self) -> Tensor:
        """(C, F)."""
        return _bank(self.rate, self.fft, self.mels, self.fmin, self.fmax)

    def spectrum(self, samples: Tensor) -> Tensor:
        """samples (..., n) -> (..., F, T) complex, T = 1 + n // hop; frame t is centred on sample t * hop."""
        window = _hann(self.window)
        return torch.stft(samples, self.fft, self.hop, self.window, window, center=True, return_complex=True)

    def signal(self, spectrum: Tensor, length: int) -> Tensor:
        """The inverse: (..., F, T) complex -> (..., length), the signal whose spectrum is nearest."""
        window = _hann(self.window)
        return torch.istft(spectrum, self.fft, self.hop, self.window, window, center=True, length=length)


def magnitudes(spectrum: Tensor) -> Tensor:
    """Complex -> |x|, in a third of the time of `abs`, which guards against squares past float32: sound has none."""
    real, imaginary = torch.view_as_real(spectrum).unbind(-1)
    return torch.addcmul(real * real, imaginary, imaginary).sqrt_()


def hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Slaney's scale: 3 mels per 200 Hz up to 1000 Hz, then 27 mels per factor 6.4."""
    above = 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / math.log(6.4)
    return np.where(hz < 1000, hz * 3 / 200, above)


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """The inverse."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * math.log(6.4) / 27))


@cache
def _hann(window: int) -> Tensor:
    return torch.hann_window(window)


@cache
def _bank(rate: int, fft: int, mels: int, fmin: float, fmax: float) -> Tensor:
    """Triangles (C, F), each from its left neighbour's middle to its right one's, of area 2 Hz x 1 / Hz."""
    ends = hz_to_mel(np.array([fmin, fmax]))
    edges = mel_to_hz(np.linspace(ends[0], ends[1], mels + 2))
    bins = np.linspace(0, rate / 2, fft // 2 + 1)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(triangles).float()


@torch.no_grad()
def log_mel(samples: np.ndarray, spec: MelSpec) -> np.ndarray:
    """samples (n,), at least a window of them -> (T, C) float32, T = 1 + n // hop. Silence is log(FLOOR), never
    infinite.
    """
    magnitude = magnitudes(spec.spectrum(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))))
    return (spec.bank() @ magnitude).clamp_(min=FLOOR).log_().T.numpy()


@torch.no_grad()
def linear(frames: np.ndarray, spec: MelSpec, steps: int = 60) -> Tensor:
    """Log-mel frames (T, C) -> magnitudes (F, T), non-negative, whose mel bands are as near as may be.

    The pseudo-inverse, then multiplicative steps of non-negative least squares (Lee and Seung, 2001).
    """
    mel = torch.from_numpy(np.asarray(frames, dtype=np.float32)).clamp(max=15).exp().T
    bank, inverse = spec.bank(), _inverse(spec)
    made = (inverse @ mel).clamp_(min=1e-8)
    pull, gram = bank.T @ mel, bank.T @ bank
    for _ in range(steps):
        made *= pull / (gram @ made).clamp_(min=1e-12)
    return made


@cache
def _inverse(spec: MelSpec) -> Tensor:
    return torch.linalg.pinv(spec.bank())
