"""What may follow the comma in a PHONE slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option

# Symbols of each inventory. A model's ids rest on them: an inventory that is to change gets another name.
SIZES = {"arpabet": 40, "arpabet_stress": 85, "ipa": 212, "pinyin": 67, "zhuyin": 44}


@dataclass(frozen=True, kw_only=True)
class PhoneOptions:
    """Attributes of PHONE besides those every slot has."""

    inventory: str = option("arpabet", choices=tuple(SIZES), about="the symbols it is written in")


@dataclass(frozen=True, kw_only=True)
class PronounceOptions:
    """Attributes of `preprocess=g2p`."""

    language: str = option(
        "en", about="of the text; en is looked up in cmudict, others (de, fr-fr, cmn, ...) are said by espeak-ng"
    )
    unknown: str = option(
        "error", choices=("error", "spell", "skip"), about="what to do with a word that is not in the dictionary"
    )
    boundary: bool = option(False, about="write | between words")
    vary: bool = option(False, about="in training, one of a word's pronunciations by chance, not its first")
