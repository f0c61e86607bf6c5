"""TEXT: any Unicode text, as byte-level pieces."""

from __future__ import annotations

from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.shared.part import TOKENS
from ofasys.modality.text.options import TextOptions
from ofasys.types import Free, Item, OneOf


def _item(slot: int, options: Options) -> Item:
    return OneOf(slot) if options["closed_set"] else Free(slot, "text", options["max_length"])


def _check(options: Options) -> str | None:
    if options["preprocess"] == "characters" and options["closed_set"]:
        return "preprocess=characters is for texts that are written freely, and closed_set for one of some; say one"
    return None


TEXT = Modality(
    tag="TEXT",
    about="any Unicode text",
    value="text",
    options=TextOptions,
    preprocess={
        "pieces": Part("ofasys.modality.text.preprocess:Pieces", about="byte-level BPE pieces"),
        "characters": Part(
            "ofasys.modality.text.preprocess:Characters", about="each character by itself, of a byte or several"
        ),
    },
    adaptor={"tokens": TOKENS},
    source=Defaults(preprocess="pieces", adaptor="tokens", criteria=("classify",)),
    target=Defaults(
        preprocess="pieces", adaptor="tokens", criterion="cross_entropy", generator="search", criteria=("reward",)
    ),
    ranges=lambda options: {"text": None},
    item=_item,
    limited=True,
    check=_check,
    outside=Part("ofasys.modality.shared.outside:as_it_is"),
)
