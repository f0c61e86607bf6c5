"""IMAGE: a picture, given as a path, bytes, base64 or data URL, a PIL image, or an array (H, W, 3) or (H, W).

It is read as pixels, or as the codes of an image tokenizer; it is made of codes.
"""

from __future__ import annotations

from ofasys.modality.image.ofa_options import OFAViTOptions
from ofasys.modality.image.options import BicubicOptions, CodesOptions, PixelsOptions
from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.shared import front_pictures
from ofasys.modality.shared.code_levels import code_range, trainable
from ofasys.modality.shared.front import is_front
from ofasys.modality.shared.front_pictures import PICTURES, FrontPixelsOptions
from ofasys.modality.shared.ofa_resnet_part import OFA_RESNET, STRIDE
from ofasys.modality.shared.part import TOKENS
from ofasys.modality.shared.patch_part import PATCH, undivided
from ofasys.types import Continuous, Fixed, Item

_GRAPH = "ofasys.modality.image.graph:squares"


def _check(options: Options) -> str | None:
    if (options["preprocess"] == "hf") != is_front(options):
        return "preprocess=hf and adaptor=hf:FOLDER go together; say the adaptor alone"
    return front_pictures.check(options, "IMAGE") if is_front(options) else _check_own(options)


def _check_own(options: Options) -> str | None:
    size, patch, of_codes = options["size"], options["patch"], options["preprocess"] == "codes"
    if (why := undivided(size, patch)) is not None:
        return why
    if options.get("shift", 0) >= size:
        return f"shift={options['shift']} moves a picture of size={size} out of sight; say less than {size}"
    if of_codes != (options["adaptor"] == "tokens"):
        return "preprocess=codes and adaptor=tokens go together; say both, or neither"
    if patch == 14 and options["adaptor"] not in ("ofa_vit", "patch"):
        return f"adaptor={options['adaptor']} halves a picture again and again, and patch=14 is no power of two"
    if options["adaptor"] == "ofa_resnet" and patch != STRIDE:
        return f"adaptor=ofa_resnet gives a position for {STRIDE} pixels, and patch={patch}; say patch={STRIDE}"
    return trainable(options) if of_codes else None


def _moved(options: Options) -> str | None:
    asked = [name for name in ("shift", "mirror") if options.get(name)]
    return f"{' and '.join(asked)} of it would not move what lies in it" if asked else None


def _positions(options: Options) -> int:
    if is_front(options):
        return front_pictures.positions(options)
    return (options["size"] // options["patch"]) ** 2


def _item(slot: int, options: Options) -> Item:
    if options["preprocess"] != "codes":
        return Continuous(slot)
    return Fixed(slot, code_range(options), _positions(options), width=options["size"] // options["patch"])


def _resnet_cost(options: Options, width: int) -> tuple[int, int]:
    from ofasys.modality.image.cost import resnet_cost

    return resnet_cost(options["patch"], width)


def _ofa_vit_cost(options: Options, width: int) -> tuple[int, int]:
    inside, layers = options["vit_width"], options["vit_layers"]
    pixels = 3 * options["patch"] ** 2
    products = pixels * inside + layers * 12 * inside**2 + inside * width
    places = (options["vit_size"] // options["patch"]) ** 2 + 1
    return products + layers * 13 * inside + (places + 2) * inside + width, 2 * products


IMAGE = Modality(
    tag="IMAGE",
    about="a picture",
    value="image",
    preprocess={
        "pixels": Part(
            "ofasys.modality.image.preprocess:Pixels",
            options=PixelsOptions,
            about="resized RGB, cut into patches",
            adaptor="patch",
            graph=_GRAPH,
        ),
        "bicubic": Part(
            "ofasys.modality.image.preprocess:BicubicPixels",
            options=BicubicOptions,
            about="RGB resized by bicubic curves, cut into patches",
            adaptor="ofa_resnet",
            graph=_GRAPH,
        ),
        "codes": Part(
            "ofasys.modality.image.codes:Codes",
            options=CodesOptions,
            about="the codes of an image tokenizer, a token each",
            keyed=("codes", "patch"),
            fits=True,
            adaptor="tokens",
        ),
        "hf": Part(
            "ofasys.modality.image.front_pixels:FrontPixels",
            options=FrontPixelsOptions,
            about="RGB, as the front's own processor makes it",
            adaptor="hf",
            side="source",
        ),
    },
    adaptor={
        "patch": PATCH,
        "resnet": Part(
            "ofasys.modality.image.adaptor:ResNetAdaptor",
            about="a small residual convolution network",
            keyed=("patch",),
            cost=_resnet_cost,
        ),
        "ofa_resnet": OFA_RESNET,
        "ofa_vit": Part(
            "ofasys.modality.image.ofa_vit:OFAViTAdaptor",
            options=OFAViTOptions,
            about="the lower layers of a vision transformer, as OFASys has them",
            keyed=("patch", "vit_width", "vit_layers", "vit_heads", "vit_size"),
            cost=_ofa_vit_cost,
        ),
        "hf": PICTURES,
        "tokens": TOKENS,
    },
    source=Defaults(preprocess="pixels", adaptor="patch", criteria=("classify",)),
    target=Defaults(preprocess="codes", adaptor="tokens", criterion="cross_entropy", generator="search"),
    ranges=lambda options: {code_range(options): options["codes"]} if options.get("preprocess") == "codes" else {},
    item=_item,
    positions="2-D",
    expected=_positions,
    check=_check,
    provides="frame",
    unfit=_moved,
    save=Part(
        "ofasys.modality.image.draw:save",
        about="the picture",
        suffixes=(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    ),
    show=Part("ofasys.modality.image.show:show", about="pictures, not larger than a hand"),
    widget="image",
)
