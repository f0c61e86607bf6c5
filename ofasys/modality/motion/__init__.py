"""MOTION: how a body moves: a BVH file's path, text or bytes, a Motion, or joint positions (frames, joints, 3)."""

from __future__ import annotations

from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.motion.options import MotionOptions
from ofasys.types import Continuous


def _positions(options: Options) -> int:
    return min(-(-options["frames"] // options["stride"]), options.get("max_length") or options["frames"])


def _cost(options: Options, width: int) -> tuple[int, int]:
    """A guess before the skeleton is known: a body of 24 joints."""
    features, waves = (3 + 6 * 24) * options["stride"], 64
    frames, time = 2 * features * width + features + width, (waves + width + 2) * width + (waves + 1) * features
    return frames + time + 2 * width, 4 * features * width


MOTION = Modality(
    tag="MOTION",
    about="how a body moves: BVH, or joint positions (frames, joints, 3)",
    value="motion",
    options=MotionOptions,
    preprocess={
        "frames": Part(
            "ofasys.modality.motion.preprocess:Frames",
            about="frames of normalised features at one rate; skeleton and statistics are learnt from training values",
            keyed=("features", "start", "skeleton"),
            fits=True,
        )
    },
    adaptor={
        "frames": Part(
            "ofasys.modality.motion.adaptor:FrameAdaptor",
            about="a linear map of each frame, and of a state back to a frame",
            keyed=("features", "start", "skeleton", "stride"),
            cost=_cost,
        )
    },
    source=Defaults(preprocess="frames", adaptor="frames", criteria=("classify",)),
    target=Defaults(preprocess="frames", adaptor="frames", criterion="diffusion", generator="denoise"),
    item=lambda slot, options: Continuous(slot),
    expected=_positions,
    limited=True,
    save=Part(
        "ofasys.modality.motion.draw:save",
        about="BVH, or the skeleton drawn from three sides",
        suffixes=(".bvh", ".gif"),
    ),
    show=Part("ofasys.modality.motion.show:show", about="the skeleton, moving"),
    widget="motion",
    outside=Part("ofasys.modality.motion.outside:read"),
)
