"""What may follow the comma in an AUDIO slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class SoundOptions:
    """Attributes of AUDIO that is given as sound."""

    rate: int = option(16000, low=4000, high=48000, about="samples a second; whatever comes in is resampled to it")
    seconds: float = option(60.0, low=0.1, high=3600, about="longest audio that is taken; a longer one is an error")


@dataclass(frozen=True, kw_only=True)
class BandOptions:
    """Attributes of AUDIO that is seen as frames of bands."""

    mels: int = option(80, low=8, high=256, about="mel bands of a frame")


@dataclass(frozen=True, kw_only=True)
class MelOptions(SoundOptions, BandOptions):
    """Attributes of AUDIO of which log-mel frames are made."""

    window: float = option(25.0, low=4, high=200, about="milliseconds a frame looks at")
    hop: float = option(10.0, low=1, high=100, about="milliseconds from frame to frame")
    fmin: float = option(0.0, low=0, about="Hz, where the lowest mel band begins")
    fmax: float | None = option(None, low=100, about="Hz, where the highest mel band ends; half the rate if not said")


@dataclass(frozen=True, kw_only=True)
class HeardOptions:
    """What all AUDIO in the source takes besides."""

    normalise: str = option(
        "utterance",
        choices=("utterance", "fixed"),
        side="source",
        about="take off the loudness of each utterance, or leave it in",
    )


@dataclass(frozen=True, kw_only=True)
class HiddenOptions:
    """What AUDIO in the source that is seen as frames takes besides: what is hidden in training (SpecAugment)."""

    time_masks: int = option(2, low=0, high=20, side="source", about="stretches of time hidden in training")
    time_mask: int = option(40, low=0, high=1000, side="source", about="most frames of such a stretch")
    time_share: float = option(0.1, low=0, high=1, side="source", about="most of the utterance one stretch may hide")
    band_masks: int = option(2, low=0, high=20, side="source", about="stretches of mel bands hidden in training")
    band_mask: int = option(16, low=0, high=256, side="source", about="most mel bands of such a stretch")


@dataclass(frozen=True, kw_only=True)
class FbankOptions(MelOptions, HeardOptions, HiddenOptions):
    """Attributes of AUDIO in the source, by default."""


@dataclass(frozen=True, kw_only=True)
class BandsOptions(BandOptions, HeardOptions, HiddenOptions):
    """Attributes of AUDIO in the source that comes as frames."""


@dataclass(frozen=True, kw_only=True)
class WaveOptions(SoundOptions, HeardOptions):
    """Attributes of AUDIO in the source that is heard sample by sample."""


@dataclass(frozen=True, kw_only=True)
class FramesOptions(MelOptions):
    """What AUDIO in the target takes besides: frames a position, and how frames become sound."""

    reduction: int = option(2, low=1, high=10, side="target", about="frames a stream position holds")
    vocoder: str = option(
        "griffin_lim",
        side="target",
        about="how frames become sound: griffin_lim, or the folder of a transformers vocoder",
        place=True,
    )
    vocoder_steps: int = option(60, low=1, high=1000, side="target", about="iterations of griffin_lim")
