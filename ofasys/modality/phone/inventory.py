"""An inventory of phones: how text in it is cut into symbols, and how symbols are written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol

from ofasys.errors import ConfigError

BOUNDARY = "|"


class Inventory(Protocol):
    """A fixed list of symbols. What has one number is one token."""

    symbols: tuple[str, ...]

    def read(self, text: str) -> list[list[int]]:
        """Text -> its units (phones, or syllables), each the numbers of its symbols. Errors: DataError for an unknown one."""
        ...

    def write(self, numbers: Sequence[int]) -> str:
        """Numbers -> text, a blank between units. `read` gives the same numbers, if they came from it."""
        ...


@cache
def inventory(name: str) -> Inventory:
    """The inventory of that name. Errors: ConfigError for an unknown name."""
    from ofasys.modality.phone.arpabet import Arpabet
    from ofasys.modality.phone.ipa import IPA
    from ofasys.modality.phone.pinyin import Pinyin
    from ofasys.modality.phone.zhuyin import Zhuyin

    made: dict[str, type[Inventory]] = {"ipa": IPA, "pinyin": Pinyin, "zhuyin": Zhuyin}
    if name in made:
        return made[name]()
    if name in ("arpabet", "arpabet_stress"):
        return Arpabet(stress=name == "arpabet_stress")
    raise ConfigError(f"no inventory {name!r}; there are arpabet, arpabet_stress, {', '.join(made)}")
