"""TEXT: any Unicode text, as byte-level pieces."""

from __future__ import annotations

from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.shared.part import TOKENS
from ofasys.modality.text.options import TextOptions
from ofasys.types import Free, Item, OneOf


def _item(slot: int, options: Options) -> Item:
    return OneOf(slot) if options["closed_set"] else Free(slot, "text", options["max_length"])


TEXT = Modality(
    tag="TEXT",
    about="any Unicode text",
    value="text",
    options=TextOptions,
    preprocess={"pieces": Part("ofasys.modality.text.preprocess:Pieces", about="byte-level BPE pieces")},
    adaptor={"tokens": TOKENS},
    source=Defaults(preprocess="pieces", adaptor="tokens", criteria=("classify",)),
    target=Defaults(
        preprocess="pieces", adaptor="tokens", criterion="cross_entropy", generator="search", criteria=("reward",)
    ),
    ranges=lambda options: {"text": None},
    item=_item,
    limited=True,
    outside=Part("ofasys.modality.shared.outside:as_it_is"),
)
