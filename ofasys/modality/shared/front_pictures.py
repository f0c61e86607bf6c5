"""What a plan needs to know of a front that takes pictures: their size, and how many states it makes. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ofasys.language import option
from ofasys.modality.modality import Options, Part
from ofasys.modality.shared import front
from ofasys.modality.shared.front import Front, FrontOptions, front_of


@dataclass(frozen=True, kw_only=True)
class FrontPixelsOptions:
    """Attributes of a slot whose pictures a front takes."""

    size: int | None = option(
        None, low=8, high=1024, about="pixels of the side of what the front takes; its processor's if not said"
    )


def settings(known: Front, size: int | None) -> dict[str, Any]:
    """The processor's own, for pictures of another size if one is said."""
    found = dict(known.processing)
    if size is None:
        return found
    side = {"height": size, "width": size}
    cut, shortest = _sides(found), _shortest(found.get("size"))
    if not _cuts(found):
        return {**found, "size": side}
    whole = size if cut is None or shortest is None else round(size * shortest / min(cut))
    return {**found, "size": {"shortest_edge": max(whole, size)}, "crop_size": side}


def shape(known: Front, size: int | None) -> tuple[int, int] | None:
    """(height, width) in pixels of what the processor makes; None where that is of any shape."""
    return _sides(settings(known, size))


def grown(known: Front, size: int | None, width: int, height: int) -> int:
    """Pixels of a picture as the processor makes it before it cuts the middle out."""
    made = settings(known, size)
    shortest = _shortest(made.get("size"))
    if not _cuts(made) or shortest is None:
        return 0
    return shortest * max(shortest, round(shortest * max(width, height) / min(width, height)))


def _cuts(processor: Mapping[str, Any]) -> bool:
    return bool(processor.get("do_center_crop"))


def _sides(processor: Mapping[str, Any]) -> tuple[int, int] | None:
    size = processor.get("crop_size" if _cuts(processor) else "size")
    if isinstance(size, int) and _cuts(processor):
        return size, size
    if not _cuts(processor) and not processor.get("do_resize", True):
        return None
    if isinstance(size, Mapping) and {"height", "width"} <= size.keys():
        return int(size["height"]), int(size["width"])
    return None


def _shortest(size: Any) -> int | None:
    found = size.get("shortest_edge") if isinstance(size, Mapping) else size
    return found if isinstance(found, int) else None


def patches(options: Options) -> tuple[int, int]:
    """Down and across, of a picture."""
    known = front_of(options)
    side = int(known.values["patch_size"])
    pixels = shape(known, options["size"])
    assert pixels is not None, "a plan is made of those with a shape alone"
    return pixels[0] // side, pixels[1] // side


def positions(options: Options) -> int:
    """States of a picture."""
    known = front_of(options)
    down, across = patches(options)
    return down * across + known.family.marks(known.values)


def check(options: Options, tag: str) -> str | None:
    """What is wrong with a slot, if anything."""
    known = front_of(options)
    if problem := front.misplaced(known, "pictures", tag):
        return problem
    pixels, side = shape(known, options["size"]), known.values["patch_size"]
    if pixels is None:
        return (
            "its processor makes pictures of any shape; give its preprocessor_config.json a size with height and "
            "width, or a crop_size and do_center_crop"
        )
    if pixels[0] % side or pixels[1] % side:
        near = max(side, round(pixels[0] / side) * side)
        return (
            f"pictures of {pixels[0]} x {pixels[1]} pixels are no whole number of the front's patches of {side}, and "
            f"it would cut off the rest; write size={near}"
        )
    return None


def says(options: Options) -> str:
    """What a front is, for plans."""
    pixels = shape(front_of(options), options["size"])
    assert pixels is not None, "a plan is made of those with a shape alone"
    return f"{front.says(options)}; {positions(options)} positions a picture of {pixels[0]} x {pixels[1]} pixels"


PICTURES = Part(
    "ofasys.modality.shared.front_encoder:PictureFront",
    options=FrontOptions,
    about="a pretrained encoder of pictures, as adaptor=hf:FOLDER, then a projection",
    family="image",
    keyed=("place", "front"),
    kept=("encoder", "folder", "fingerprint"),
    bring="ofasys.modality.shared.front:bring",
    says=says,
    cost=front.cost,
    extra="hf",
)
