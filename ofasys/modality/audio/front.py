"""What a plan needs to know of a front that takes sound: what it hears, and how many states it makes. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ofasys.language import option
from ofasys.modality.audio.strides import left, seen
from ofasys.modality.modality import Options, Part
from ofasys.modality.shared import front
from ofasys.modality.shared.front import Front, FrontOptions, front_of


@dataclass(frozen=True, kw_only=True)
class FrontSoundOptions:
    """Attributes of AUDIO that a front takes; it is heard at the front's own rate."""

    seconds: float = option(60.0, low=0.1, high=3600, about="longest audio that is taken; a longer one is an error")


@dataclass(frozen=True)
class Window:
    """Sound that is heard through windows of one length, one after the other, each by itself, as frames of bands; the
    rest of the last is silence.
    """

    rate: int
    """Samples a second."""
    hop: int
    """Samples from frame to frame."""
    length: int
    """Positions of a window, two frames each."""
    padded: bool = False
    """All windows are of one length."""

    @property
    def window(self) -> int:
        """Samples."""
        return self.samples(self.length)

    def positions(self, samples: int) -> int:
        """States that stand for so many samples."""
        return -(-samples // (2 * self.hop))

    def samples(self, positions: int) -> int:
        """Samples that so many states stand for."""
        return 2 * self.hop * positions

    @property
    def a_second(self) -> float:
        """Positions."""
        return self.rate / (2 * self.hop)


@dataclass(frozen=True)
class Wave:
    """Sound of any length that is heard sample by sample, through convolutions without padding."""

    rate: int
    """Samples a second."""
    layers: tuple[tuple[int, int], ...]
    """(kernel, stride) of each."""
    padded: bool
    """Whether values of other lengths may stand behind each other's end: with a group norm they change its states."""

    def positions(self, samples: int) -> int:
        """States of so many samples; 0 where they are fewer than the first sees."""
        return left(samples, self.layers)

    def samples(self, positions: int) -> int:
        """Samples that so many states see."""
        return seen(positions, self.layers)

    @property
    def a_second(self) -> float:
        """Positions."""
        return self.rate / prod(stride for _, stride in self.layers)


def hearing(known: Front) -> Window | Wave:
    """How a front hears."""
    rate = int(known.processing["sampling_rate"])
    if "max_source_positions" in known.values:
        return Window(rate, int(known.processing["hop_length"]), int(known.values["max_source_positions"]))
    layers = zip(known.values["conv_kernel"], known.values["conv_stride"], strict=True)
    padded = known.values["feat_extract_norm"] == "layer"
    return Wave(rate, tuple((int(kernel), int(stride)) for kernel, stride in layers), padded)


def check(options: Options, tag: str) -> str | None:
    """What is wrong with a slot, if anything."""
    known = front_of(options)
    if problem := front.misplaced(known, "sound", tag):
        return problem
    if known.values.get("add_adapter"):
        return "its front has add_adapter, a part of its own after the encoder; take one without"
    if "max_source_positions" not in known.values:
        return None
    made, wanted = known.processing, known.values
    frames = made["chunk_length"] * made["sampling_rate"] // made["hop_length"]
    if made["feature_size"] != wanted["num_mel_bins"] or frames != 2 * wanted["max_source_positions"]:
        return (
            f"its processor makes {frames} frames of {made['feature_size']} bands, and its encoder takes "
            f"{2 * wanted['max_source_positions']} of {wanted['num_mel_bins']}: they are not of one front; take a "
            "whole copy"
        )
    return None


def says(options: Options) -> str:
    """What a front is, for plans."""
    ear = hearing(front_of(options))
    how = f", in windows of {ear.window / ear.rate:g} s" if isinstance(ear, Window) else ""
    return f"{front.says(options)}; {ear.a_second:g} positions a second{how}"


SOUND = Part(
    "ofasys.modality.audio.front_adaptor:SoundFront",
    options=FrontOptions,
    about="a pretrained encoder of sound, as adaptor=hf:FOLDER, then a projection",
    keyed=("place", "front"),
    kept=("encoder", "folder", "fingerprint"),
    bring="ofasys.modality.shared.front:bring",
    says=says,
    cost=front.cost,
    extra="hf",
)
