"""Zhuyin (bopomofo): a Mandarin syllable as initial, medial, rime and tone."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ofasys.errors import DataError
from ofasys.modality.phone.inventory import BOUNDARY

INITIALS, MEDIALS = "ㄅㄆㄇㄈㄉㄊㄋㄌㄍㄎㄏㄐㄑㄒㄓㄔㄕㄖㄗㄘㄙ", "ㄧㄨㄩ"
RIMES, ER = "ㄚㄛㄜㄝㄞㄟㄠㄡㄢㄣㄤㄥㄭ", "ㄦ"
TONES = "ˉˊˇˋ˙"
_WRITTEN = {
    **{"一": "ㄧ", "丨": "ㄧ", "1": "ˉ", "2": "ˊ", "3": "ˇ", "4": "ˋ", "5": "˙", "0": "˙"},
    **{"¯": "ˉ", "´": "ˊ", "`": "ˋ", "・": "˙", "·": "˙", "‧": "˙"},
}
_SYLLABLE = re.compile(rf"(˙?)([{INITIALS}]?[{MEDIALS}]?[{RIMES}]?{ER}?)([{TONES}]?)")


class Zhuyin:
    """Syllables with a blank between them or without: "ㄋㄧˇ ㄏㄠˇ". One without a mark has the first tone, as it is
    written.

    The neutral tone's dot may stand before the syllable, as it is printed, or after it. Tones may be digits 1 to 5.
    """

    def __init__(self) -> None:
        self.symbols = (*INITIALS, *MEDIALS, *RIMES, ER, *TONES, BOUNDARY)
        self.number = {symbol: i for i, symbol in enumerate(self.symbols)}

    def read(self, text: str) -> list[list[int]]:
        """Each syllable is a unit; the tone is its last symbol, the first tone's too. Errors: DataError for what is
        none.
        """
        found: list[list[int]] = []
        for part in text.split():
            plain, at = "".join(_WRITTEN.get(c, c) for c in part), 0
            while at < len(plain):
                if plain[at] == BOUNDARY:
                    found.append([self.number[BOUNDARY]])
                    at += 1
                    continue
                match = _SYLLABLE.match(plain, at)
                if match is None or not match[2] or (match[1] and match[3]):
                    problem = f"unknown symbol {plain[at]!r} in {part[:20]!r}"
                    raise DataError(problem, expected="zhuyin: initial, medial, rime and tone, as in ㄋㄧˇ ㄏㄠˇ")
                tone = match[1] or match[3] or TONES[0]
                found.append([self.number[s] for s in match[2] + tone])
                at = match.end()
        return found

    def write(self, numbers: Sequence[int]) -> str:
        """A blank between syllables; the first tone unmarked, the neutral one's dot in front."""
        found: list[str] = []
        last = 9
        for number in numbers:
            symbol = self.symbols[number]
            rank = next(i for i, kind in enumerate((INITIALS, MEDIALS, RIMES, ER, TONES, BOUNDARY)) if symbol in kind)
            if rank <= last or rank == 5 or last == 5:
                found.append("")
            found[-1] = "˙" + found[-1] if symbol == "˙" else found[-1] + ("" if symbol == TONES[0] else symbol)
            last = rank
        return " ".join(filter(None, found))
