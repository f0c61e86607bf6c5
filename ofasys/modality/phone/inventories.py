"""The inventories by name."""

from __future__ import annotations

from functools import cache

from ofasys.errors import ConfigError
from ofasys.modality.phone.arpabet import Arpabet
from ofasys.modality.phone.inventory import Inventory
from ofasys.modality.phone.ipa import IPA
from ofasys.modality.phone.pinyin import Pinyin
from ofasys.modality.phone.zhuyin import Zhuyin


@cache
def inventory(name: str) -> Inventory:
    """The inventory of that name. Errors: ConfigError for an unknown name."""
    made: dict[str, type[Inventory]] = {"ipa": IPA, "pinyin": Pinyin, "zhuyin": Zhuyin}
    if name in made:
        return made[name]()
    if name in ("arpabet", "arpabet_stress"):
        return Arpabet(stress=name == "arpabet_stress")
    raise ConfigError(f"no inventory {name!r}; there are arpabet, arpabet_stress, {', '.join(made)}")
