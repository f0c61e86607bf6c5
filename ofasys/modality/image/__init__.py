"""IMAGE: a picture, given as a path, bytes, base64 or data URL, a PIL image, or an array (H, W, 3) or (H, W)."""

from __future__ import annotations

from ofasys.modality.image.options import ImageOptions
from ofasys.modality.modality import Defaults, Modality, Options, Part


def _check(options: Options) -> str | None:
    size, patch = options["size"], options["patch"]
    return None if size % patch == 0 else f"size={size} is not a multiple of patch={patch}"


def _patch_cost(options: Options, width: int) -> tuple[int, int]:
    inside = 3 * options["patch"] ** 2
    return inside * width + width + 2 * width, 2 * inside * width


def _resnet_cost(options: Options, width: int) -> tuple[int, int]:
    from ofasys.modality.image.cost import resnet_cost

    return resnet_cost(options["patch"], width)


IMAGE = Modality(
    tag="IMAGE",
    about="a picture",
    value="image",
    options=ImageOptions,
    preprocess={"pixels": Part("ofasys.modality.image.preprocess:Pixels", about="resized RGB, cut into patches")},
    adaptor={
        "patch": Part(
            "ofasys.modality.image.adaptor:PatchAdaptor",
            about="a linear map of each patch",
            keyed=("patch",),
            cost=_patch_cost,
        ),
        "resnet": Part(
            "ofasys.modality.image.adaptor:ResNetAdaptor",
            about="a small residual convolution network",
            keyed=("patch",),
            cost=_resnet_cost,
        ),
    },
    source=Defaults(preprocess="pixels", adaptor="patch"),
    positions="2-D",
    expected=lambda options: (options["size"] // options["patch"]) ** 2,
    check=_check,
    provides="frame",
)
