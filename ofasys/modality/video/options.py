"""What may follow the comma in a VIDEO slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option
from ofasys.modality.shared.code_options import CodeOptions
from ofasys.modality.shared.colours import ABOUT_COLOURS, COLOURS
from ofasys.modality.shared.front_pictures import FrontPixelsOptions


@dataclass(frozen=True, kw_only=True)
class TakenOptions:
    """Which frames of a clip are taken."""

    frames: int = option(8, low=1, high=1024, about="frames taken at most, evenly spread over the clip")
    rate: float | None = option(
        None, low=0.01, high=240, about="frames a second; taken from the clip's middle if it is longer than they last"
    )


@dataclass(frozen=True, kw_only=True)
class VideoOptions(TakenOptions):
    """Attributes of VIDEO besides those every slot has."""

    size: int = option(64, low=8, high=1024, about="pixels of the (longer) side after resizing; a multiple of patch")
    patch: int = option(16, choices=(4, 8, 16, 32), about="pixels of a patch's side; one position a patch and frame")
    keep_aspect: bool = option(False, about="keep the frames' shape; otherwise they become squares")


@dataclass(frozen=True, kw_only=True)
class FilmOptions(VideoOptions):
    """Of preprocess=film."""

    colours: str = option("imagenet", choices=COLOURS, about=ABOUT_COLOURS)


@dataclass(frozen=True, kw_only=True)
class CodedFramesOptions(CodeOptions):
    """Of preprocess=codes."""

    frames: int = option(8, low=1, high=1024, about="frames of the clip, evenly spread over it")
    rate: float | None = option(
        None, low=0.01, high=240, about="frames a second; taken from the middle of a clip that is longer"
    )


@dataclass(frozen=True, kw_only=True)
class FrontFramesOptions(TakenOptions, FrontPixelsOptions):
    """Attributes of VIDEO whose frames a front takes."""
