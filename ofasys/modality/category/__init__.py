"""CATEGORY: one label of a known set, spelled in text pieces, or as one token of its own (`adaptor=head`)."""

from __future__ import annotations

from ofasys.modality.category.options import CategoryOptions
from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.shared.part import TOKENS
from ofasys.types import Fixed, Item, OneOf

HEAD = "labels"


def _item(slot: int, options: Options) -> Item:
    return Fixed(slot, HEAD, 1) if options["adaptor"] == "head" else OneOf(slot)


CATEGORY = Modality(
    tag="CATEGORY",
    about="one label of a known set",
    value="label",
    options=CategoryOptions,
    preprocess={"label": Part("ofasys.modality.category.preprocess:Label", about="the label, checked against its set")},
    adaptor={"tokens": TOKENS, "head": TOKENS},
    source=Defaults(preprocess="label", adaptor="tokens"),
    target=Defaults(preprocess="label", adaptor="tokens", criterion="cross_entropy", generator="search"),
    ranges=lambda options: {HEAD: None} if options["adaptor"] == "head" else {"text": None},
    item=_item,
    labelled=True,
    expected=lambda options: 1 if options["adaptor"] == "head" else 3,
    widget="label",
    outside=Part("ofasys.modality.shared.outside:as_it_is"),
)
