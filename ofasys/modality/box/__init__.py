"""BOX: a rectangle in the image it refers to, [x1, y1, x2, y2] in its pixels or as the slot says, as four bins."""

from __future__ import annotations

from ofasys.modality.box.box import WRITTEN
from ofasys.modality.box.options import BINS, BoxOptions, MarksOptions
from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.shared.part import TOKENS
from ofasys.types import Fixed


def _says(options: Options) -> str:
    numbers = WRITTEN[options["format"] or "xyxy"]
    unit = "shares of the sides" if options["normalised"] else "pixels"
    return f"a rectangle {numbers} in {unit} of an image"


BOX = Modality(
    tag="BOX",
    about="a rectangle [x1, y1, x2, y2] in pixels of an image",
    value="box",
    options=BoxOptions,
    preprocess={
        "bins": Part("ofasys.modality.box.preprocess:Bins", about="four bins along the image's sides"),
        "marks": Part(
            "ofasys.modality.box.preprocess:Marks",
            options=MarksOptions,
            about="four marks on the image as the model reads it, as OFA has them",
        ),
    },
    adaptor={"tokens": TOKENS},
    source=Defaults(preprocess="bins", adaptor="tokens"),
    target=Defaults(preprocess="bins", adaptor="tokens", criterion="cross_entropy", generator="search"),
    ranges=lambda options: {"bins": BINS},
    ordered=("bins",),
    item=lambda slot, options: Fixed(slot, "bins", 4, options["bins"]),
    expected=lambda options: 4,
    refers="frame",
    says=_says,
    save=Part(
        "ofasys.modality.box.draw:save",
        about="the image with its boxes",
        suffixes=(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    ),
    aliases=("BOUNDING_BOX",),
    show=Part("ofasys.modality.box.show:show", about="the frame with its boxes"),
)
