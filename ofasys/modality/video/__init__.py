"""VIDEO: a clip, given as a path, bytes, frames, or an animated picture. Its frames are cut into the patches of
IMAGE, or are the codes of its tokenizer; it is made of codes.
"""

from __future__ import annotations

from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.shared import front_pictures
from ofasys.modality.shared.code_levels import code_range, trainable
from ofasys.modality.shared.front import is_front
from ofasys.modality.shared.front_pictures import PICTURES
from ofasys.modality.shared.ofa_resnet_part import OFA_RESNET, STRIDE
from ofasys.modality.shared.part import TOKENS
from ofasys.modality.shared.patch_part import PATCH, undivided
from ofasys.modality.video.options import CodedFramesOptions, FilmOptions, FrontFramesOptions, VideoOptions
from ofasys.types import Continuous, Fixed, Item


def _check(options: Options) -> str | None:
    if (options["preprocess"] == "hf") != is_front(options):
        return "preprocess=hf and adaptor=hf:FOLDER go together; say the adaptor alone"
    return front_pictures.check(options, "VIDEO") if is_front(options) else _check_own(options)


def _positions(options: Options) -> int:
    if is_front(options):
        return int(options["frames"]) * front_pictures.positions(options)
    return int(options["frames"] * (options["size"] // options["patch"]) ** 2)


def _check_own(options: Options) -> str | None:
    size, patch, of_codes = options["size"], options["patch"], options["preprocess"] == "codes"
    if of_codes != (options["adaptor"] == "tokens"):
        return "preprocess=codes and adaptor=tokens go together; say both, or neither"
    if (options["preprocess"] == "film") != (options["adaptor"] == "ofa_resnet"):
        return "preprocess=film and adaptor=ofa_resnet go together; say both, or neither"
    if options["preprocess"] == "film" and options["keep_aspect"]:
        return "preprocess=film takes the square in the middle of each frame, so leave keep_aspect out"
    if options["adaptor"] == "ofa_resnet" and patch != STRIDE:
        return f"adaptor=ofa_resnet gives a position for {STRIDE} pixels, and patch={patch}; say patch={STRIDE}"
    if (why := undivided(size, patch)) is not None:
        return why
    return trainable(options) if of_codes else None


def _item(slot: int, options: Options) -> Item:
    if options["preprocess"] != "codes":
        return Continuous(slot)
    side = options["size"] // options["patch"]
    return Fixed(slot, code_range(options), _positions(options), width=side, height=side)


VIDEO = Modality(
    tag="VIDEO",
    about="a clip",
    value="video",
    preprocess={
        "frames": Part(
            "ofasys.modality.video.preprocess:Frames",
            options=VideoOptions,
            about="frames taken from the clip, cut into patches",
            extra="video",
            adaptor="patch",
        ),
        "film": Part(
            "ofasys.modality.video.preprocess:Film",
            options=FilmOptions,
            about="the middle of each, by bicubic curves, whose positions stand where OFASys's do",
            extra="video",
            adaptor="ofa_resnet",
        ),
        "codes": Part(
            "ofasys.modality.video.codes:CodedFrames",
            options=CodedFramesOptions,
            about="frames evenly spread over the clip, each as the codes of an image tokenizer, a token each",
            family="image",
            keyed=("codes", "patch"),
            fits=True,
            extra="video",
            adaptor="tokens",
        ),
        "hf": Part(
            "ofasys.modality.video.front_frames:FrontFrames",
            options=FrontFramesOptions,
            about="frames taken from the clip, as the front's own processor makes them",
            extra="video",
            adaptor="hf",
            side="source",
        ),
    },
    adaptor={"patch": PATCH, "ofa_resnet": OFA_RESNET, "hf": PICTURES, "tokens": TOKENS},
    source=Defaults(preprocess="frames", adaptor="patch", criteria=("classify",)),
    target=Defaults(preprocess="codes", adaptor="tokens", criterion="cross_entropy", generator="search"),
    ranges=lambda options: {code_range(options): options["codes"]} if options.get("preprocess") == "codes" else {},
    item=_item,
    positions="3-D",
    expected=_positions,
    check=_check,
    extra="video",
    save=Part("ofasys.modality.video.save:save", about="the clip, moving", suffixes=(".png", ".apng", ".webp", ".gif")),
    show=Part("ofasys.modality.video.show:show", about="some of its frames, moving"),
    widget="video",
)
