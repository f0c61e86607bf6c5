"""What an AUDIO slot answers: samples with their rate, that save themselves."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import ConfigError


@dataclass(frozen=True, eq=False, repr=False)
class Audio:
    """One channel of sound. samples (n,) float32, -1 to 1 where it is not too loud; rate: of them a second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    def save(self, path: str | Path) -> Path:
        """Write it: `.wav` in 16 bits, which needs no library; `.flac`, `.ogg` or `.mp3` through soundfile.

        What is louder than -1 to 1 is clipped. Errors: ConfigError for another ending.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.lower()
        if kind == ".wav":
            whole = np.round(np.clip(self.samples, -1, 1) * 32767).astype("<i2")
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(self.rate)
                file.writeframes(whole.tobytes())
        elif kind in (".flac", ".ogg", ".mp3"):
            soundfile().write(path, np.clip(self.samples, -1, 1), self.rate)
        else:
            raise ConfigError(f"cannot write sound as {path.name!r}; use .wav, .flac, .ogg or .mp3")
        return path

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.samples, dtype=dtype) if copy else np.asarray(self.samples, dtype=dtype)

    def __len__(self) -> int:
        return len(self.samples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Audio) and self.rate == other.rate and np.array_equal(self.samples, other.samples)

    def __hash__(self) -> int:
        return hash((self.rate, self.samples.tobytes()))

    def __repr__(self) -> str:
        return f"Audio({self.seconds:.2f} s at {self.rate} Hz)"


def soundfile() -> Any:
    """The library. Errors: ConfigError when it is not installed."""
    try:
        import soundfile as library
    except ImportError as error:
        raise missing("soundfile") from error
    return library


def missing(library: str) -> ConfigError:
    """What to install."""
    return ConfigError(f'AUDIO needs the library {library}: pip install "ofasys[audio]"')
