"""What may follow the comma in an AUDIO slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """Attributes of AUDIO besides those every slot has."""

    rate: int = option(16000, low=4000, high=48000, about="samples a second; whatever comes in is resampled to it")
    window: float = option(25.0, low=4, high=200, about="milliseconds a frame looks at")
    hop: float = option(10.0, low=1, high=100, about="milliseconds from frame to frame")
    mels: int = option(80, low=8, high=256, about="mel bands of a frame")
    fmin: float = option(0.0, low=0, about="Hz, where the lowest mel band begins")
    fmax: float | None = option(None, low=100, about="Hz, where the highest mel band ends; half the rate if not said")
    seconds: float = option(60.0, low=0.1, high=3600, about="longest audio that is taken; a longer one is an error")


@dataclass(frozen=True, kw_only=True)
class FbankOptions:
    """What AUDIO in the source takes besides: normalisation, and what is hidden in training (SpecAugment)."""

    normalise: str = option(
        "utterance",
        choices=("utterance", "fixed"),
        side="source",
        about="take off the loudness of each utterance, or leave it in",
    )
    time_masks: int = option(2, low=0, high=20, side="source", about="stretches of time hidden in training")
    time_mask: int = option(40, low=0, high=1000, side="source", about="most frames of such a stretch")
    time_share: float = option(0.1, low=0, high=1, side="source", about="most of the utterance one stretch may hide")
    band_masks: int = option(2, low=0, high=20, side="source", about="stretches of mel bands hidden in training")
    band_mask: int = option(16, low=0, high=256, side="source", about="most mel bands of such a stretch")


@dataclass(frozen=True, kw_only=True)
class FramesOptions:
    """What AUDIO in the target takes besides: frames a position, and how frames become sound."""

    reduction: int = option(2, low=1, high=10, side="target", about="frames a stream position holds")
    vocoder: str = option(
        "griffin_lim",
        side="target",
        about="how frames become sound: griffin_lim, or the folder of a transformers vocoder",
    )
    vocoder_steps: int = option(60, low=1, high=1000, side="target", about="iterations of griffin_lim")
