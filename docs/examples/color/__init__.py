"""COLOR: a colour, "#rrggbb" or (r, g, b), as three tokens of a range of its own."""

from __future__ import annotations

from color.options import ColorOptions
from ofasys.modality import Defaults, Modality, Part
from ofasys.modality.shared.part import TOKENS
from ofasys.types import Fixed

COLOR = Modality(
    tag="COLOR",
    about='a colour, "#rrggbb" or (r, g, b)',
    value="color",
    options=ColorOptions,
    preprocess={"channels": Part("color.preprocess:Channels", about="red, green and blue, one token each")},
    adaptor={"tokens": TOKENS},
    source=Defaults(preprocess="channels", adaptor="tokens"),
    target=Defaults(preprocess="channels", adaptor="tokens", criterion="cross_entropy", generator="search"),
    ranges=lambda options: {"channels": 256},
    item=lambda slot, options: Fixed(slot, "channels", 3, options["levels"]),
    expected=lambda options: 3,
    save=Part("color.draw:save", about="a square of the colour"),
    aliases=("COLOUR",),
)
