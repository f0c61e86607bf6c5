"""What may follow the comma in a MOTION slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """Attributes of MOTION besides those every slot has."""

    features: str = option(
        "auto",
        choices=("auto", "rotations", "positions"),
        about="what a frame is made of: rotations of the joints or their places; auto: rotations where there are some",
    )
    fps: float = option(20.0, low=0.1, high=1000, about="frames a second; values are resampled to it")
    frames: int = option(
        60, low=1, high=4096, about="the most frames of a value: longer ones are cut; also how many are made"
    )
    stride: int = option(1, low=1, high=64, about="frames a stream position")
    start: str = option(
        "origin",
        choices=("origin", "world"),
        about="origin: the first frame stands over the origin and faces +z; world: as given",
    )
    skeleton: str = option(
        "body", about="name of the skeleton; slots that name another have another skeleton and weights"
    )
