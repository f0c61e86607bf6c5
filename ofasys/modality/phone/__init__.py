"""PHONE: the sounds of speech, one token a symbol of an inventory: ARPAbet, IPA, pinyin or zhuyin."""

from __future__ import annotations

from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.phone.options import SIZES, PhoneOptions, PronounceOptions
from ofasys.modality.shared.part import TOKENS
from ofasys.types import Free, Item

ENGLISH = ("arpabet", "arpabet_stress")


def phones_range(options: Options) -> str:
    """The vocabulary range of an inventory: `phones.arpabet`."""
    return f"phones.{options['inventory']}"


def _item(slot: int, options: Options) -> Item:
    return Free(slot, phones_range(options), options["max_length"])


def _check(options: Options) -> str | None:
    if options["preprocess"] != "g2p":
        return None
    inventory, language = options["inventory"], options["language"]
    if inventory not in (*ENGLISH, "ipa"):
        return f"preprocess=g2p writes arpabet, arpabet_stress or ipa, not {inventory}"
    if language != "en" and inventory != "ipa":
        return f"language={language} is written in ipa; add inventory=ipa"
    if language != "en":
        idle = [
            f"{name}={options[name]}"
            for name, usual in (("unknown", "error"), ("vary", False))
            if options[name] != usual
        ]
        return f"{idle[0]} is of the English dictionary and does nothing for language={language}" if idle else None
    return None


PHONE = Modality(
    tag="PHONE",
    about="the sounds of speech, symbol by symbol",
    value="phone",
    options=PhoneOptions,
    preprocess={
        "symbols": Part("ofasys.modality.phone.preprocess:Phones", about="symbols of the inventory, a token each"),
        "g2p": Part(
            "ofasys.modality.phone.preprocess:Pronounced",
            options=PronounceOptions,
            about="text: English looked up in a dictionary, other languages said by espeak-ng",
            extra="phone",
        ),
    },
    adaptor={"tokens": TOKENS},
    source=Defaults(preprocess="symbols", adaptor="tokens", criteria=("classify",)),
    target=Defaults(preprocess="symbols", adaptor="tokens", criterion="cross_entropy", generator="search"),
    ranges=lambda options: {phones_range(options): SIZES[options["inventory"]]},
    item=_item,
    check=_check,
    extra="phone",
    limited=True,
    outside=Part("ofasys.modality.shared.outside:as_it_is"),
)
