"""Pinyin: a Mandarin syllable as initial, final and tone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from ofasys.errors import DataError, perhaps
from ofasys.modality.phone.inventory import APOSTROPHES, BOUNDARY

INITIALS = "b p m f d t n l g k h j q x zh ch sh r z c s".split()  # noqa: SIM905
FINALS = (  # noqa: SIM905
    "a o e ê ai ei ao ou an en ang eng ong er i ia io ie iao iu ian in iang ing iong "
    "u ua uo uai ui uan un uang ueng ü üe üan ün -i"
).split()
ERHUA, TONES = "-r", ("1", "2", "3", "4", "5")

# Which finals an initial takes, as they are spelled after it.
_SPELLED = {
    "b": "a o ai ei ao an en ang eng ong i ia ie iao ian in iang ing u",
    "p": "a o ai ei ao ou an en ang eng i ia ie iao ian in ing u",
    "m": "a o e ai ei ao ou an en ang eng i ie iao iu ian in ing u",
    "f": "a o ei ou an en ang eng iao u",
    "d": "a e ai ei ao ou an en ang eng ong i ia ie iao iu ian in ing u uo ui uan un uang",
    "t": "a e ai ei ao ou an en ang eng ong i ie iao ian ing u uo ui uan un",
    "n": "a e ai ei ao ou an en ang eng ong i ia ie iao iu ian in iang ing u uo uan un ü üe",
    "l": "a o e ai ei ao ou an en ang eng ong i ia ie iao iu ian in iang ing u uo uan un ü üe üan ün",
    "g": "a e ai ei ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "k": "a e ai ei ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "h": "a e ai ei ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "j": "i ia ie iao iu ian in iang ing iong u ue uan un",
    "q": "i ia ie iao iu ian in iang ing iong u ue uan un",
    "x": "i ia ie iao iu ian in iang ing iong u ue uan un",
    "zh": "a e i ai ei ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "ch": "a e i ai ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "sh": "a e i ai ei ao ou an en ang eng u ua uo uai ui uan un uang",
    "r": "a e i ao ou an en ang eng ong u ua uo ui uan un",
    "z": "a e i ai ei ao ou an en ang eng ong u uo ui uan un",
    "c": "a e i ai ei ao ou an en ang eng ong u uo ui uan un",
    "s": "a e i ai ei ao ou an en ang eng ong u uo ui uan un",
}
# Finals that stand alone are spelled with y, w or nothing before them.
_ALONE = {
    **{final: final for final in "a o e ê ai ei ao ou an en ang eng er".split()},  # noqa: SIM905
    **{"yi": "i", "ya": "ia", "yo": "io", "ye": "ie", "yao": "iao", "you": "iu", "yan": "ian", "yin": "in"},
    **{"yang": "iang", "ying": "ing", "yong": "iong", "wu": "u", "wa": "ua", "wo": "uo", "wai": "uai", "wei": "ui"},
    **{
        "wan": "uan",
        "wen": "un",
        "wang": "uang",
        "weng": "ueng",
        "wong": "ong",
        "yu": "ü",
        "yue": "üe",
        "yuan": "üan",
        "yun": "ün",
    },
}
_MARKS = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4", "\u0306": "3"}
# Consonants that are syllables: -i is what an initial is followed by where it has no other vowel.
NASALS = {
    "m": ("m", "-i"),
    "n": ("n", "-i"),
    "ng": ("n", "g", "-i"),
    "hm": ("h", "m", "-i"),
    "hng": ("h", "n", "g", "-i"),
}
MOST_WORDS = 10_000  # that are kept once they are read
_DOT = "·‧・"  # stands before a syllable of the neutral tone
_BETWEEN = re.compile(rf"[\s{APOSTROPHES}‐‑–-]+|({re.escape(BOUNDARY)})")
_PART = re.compile(rf"[{_DOT}]?[^\d{_DOT}]+\d?|.")


def syllables() -> dict[str, tuple[str, ...]]:
    """Spelled syllable, without tone -> its initial, if any, and its final."""
    found: dict[str, tuple[str, ...]] = {spelled: (final,) for spelled, final in _ALONE.items()}
    for initial, finals in _SPELLED.items():
        for final in finals.split():
            plain = final
            if initial in ("j", "q", "x") and final[0] == "u":
                plain = "ü" + final[1:]
            elif initial in ("zh", "ch", "sh", "r", "z", "c", "s") and final == "i":
                plain = "-i"
            found[initial + final] = (initial, plain)
    return found


def _other_spellings(table: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Spellings that are read and not written: ü with dots it does not need, or without those it needs; ea for ê."""
    dotted = {
        text.replace("u", "ü", 1): parts for text, parts in table.items() if text[0] in "jqxy" and parts[-1][0] == "ü"
    }
    return {**dotted, "lue": table["lüe"], "nue": table["nüe"], "ea": table["ê"]}


class Pinyin:
    """Syllables parted by blanks, hyphens, apostrophes or tone digits: "ni3 hao3", "nǐ hǎo"; 5, 0 or a dot is neutral.

    A digit may stand after the vowel: "ha3o" is hao3. One without a tone has no tone symbol. "nv", "nu:" and "nü"
    are one. An r after a syllable is erhua: "huar1"; so is one on its own: "hua1 r5". m, n, ng, hm, hng are syllables.
    """

    def __init__(self) -> None:
        self.symbols = (*INITIALS, *FINALS, ERHUA, *TONES, BOUNDARY)
        self.number = {symbol: i for i, symbol in enumerate(self.symbols)}
        self.table = syllables()
        self.spelled = {parts: text for text, parts in (self.table | NASALS).items()}
        self.nasals = sorted(NASALS.values(), key=len, reverse=True)
        self.words: dict[str, list[list[int]]] = {}
        self.other = NASALS | _other_spellings(self.table)

    def read(self, text: str) -> list[list[int]]:
        """Each syllable is a unit. Errors: DataError for what is no syllable, naming the nearest."""
        return [list(unit) for word in _BETWEEN.split(_plain(text)) if word for unit in self._word(word)]

    def write(self, numbers: Sequence[int]) -> str:
        """Syllables with the tone as a digit, a blank between them."""
        symbols = [self.symbols[number] for number in numbers]
        found: list[list[str]] = []
        last, at = 9, 0
        while at < len(symbols):
            nasal = None
            if symbols[at] in "mnh":
                nasal = next((n for n in self.nasals if tuple(symbols[at : at + len(n)]) == n), None)
            taken = nasal or (symbols[at],)
            rank = 0 if taken[0] in _SPELLED else 2 if taken[0] == ERHUA else 3 if taken[0] in TONES else 1
            if rank <= last or taken[0] == BOUNDARY or found[-1] == [BOUNDARY]:
                found.append([])
            found[-1] += taken
            last, at = 1 if nasal else rank, at + len(taken)
        return " ".join(map(self._spell, found))

    def _word(self, word: str) -> list[list[int]]:
        """The units of what stands between blanks. Words are few: those seen are kept."""
        if word not in self.words:
            parts = [(part,) if part == BOUNDARY else self._syllable(part) for part in self._cut(word)]
            if len(self.words) == MOST_WORDS:
                self.words.clear()
            self.words[word] = [[self.number[s] for s in part] for part in parts]
        return self.words[word]

    def _cut(self, word: str) -> list[str]:
        """Syllables that stand without a blank: a tone's digit ends one, if it is not within it ("zho1ng")."""
        digits = [at for at, c in enumerate(word) if c.isdigit()]
        if len(digits) == 1 and digits[0] < len(word) - 1:
            moved = word[: digits[0]] + word[digits[0] + 1 :] + word[digits[0]]
            if self._parts(moved[:-1]) is not None:
                return [moved]
        return _PART.findall(word)

    def _parts(self, plain: str) -> tuple[str, ...] | None:
        """Initial, final and erhua of a syllable without its tone; None of what is none."""
        if plain == "r":  # erhua written apart: hua1 r5
            return (ERHUA,)
        if plain[-1:] == "r" and plain[:-1] in self.table:
            return (*self.table[plain[:-1]], ERHUA) if plain != "er" else self.table[plain]
        return self.table.get(plain) or self.other.get(plain)

    def _syllable(self, part: str) -> tuple[str, ...]:
        plain, tone = (part[:-1], part[-1]) if part[-1].isdigit() else (part, "")
        marks = [_MARKS[c] for c in plain if c in _MARKS] + ["5"] * plain.startswith(tuple(_DOT))
        plain = plain.lstrip(_DOT)
        tone = {"0": "5"}.get(tone, tone)
        plain = unicodedata.normalize("NFC", "".join(c for c in plain if c not in _MARKS))
        if len(marks) + bool(tone) > 1 or tone not in ("", *TONES):
            raise DataError(f"{part!r} has no tone or more than one", expected="one tone: 1 to 5, or a mark on a vowel")
        if (parts := self._parts(plain)) is not None:
            return (*parts, *marks, *filter(None, [tone]))
        near = perhaps(plain, self.table)
        raise DataError(
            f"unknown syllable {part[:20]!r}", expected=f"pinyin, a blank between syllables: ni3 hao3{near}"
        )

    def _spell(self, symbols: list[str]) -> str:
        parts = tuple(s for s in symbols if s != ERHUA and s not in TONES)
        plain = self.spelled.get(parts, "".join(parts))
        return plain + ("r" if ERHUA in symbols else "") + "".join(s for s in symbols if s in TONES)


def _plain(text: str) -> str:
    """Lower case, decomposed but for ü and ê; v and u: are ü. Other signs for letters are replaced by them."""
    text = text.lower()
    if text.isascii():
        return text.replace("u:", "ü").replace("v", "ü")
    text = unicodedata.normalize("NFD", text.replace("u:", "ü").replace("v", "ü"))
    # a tone mark may stand before or after the dots: the dots first
    text = re.sub(r"([ue])([\u0300\u0301\u0304\u0306\u030c])([\u0308\u0302])", r"\1\3\2", text)
    text = text.replace("u\u0308", "ü").replace("e\u0302", "ê")
    text = re.sub("([zcs])\u0302", r"\1h", text)
    return text.replace("ŋ", "ng").replace("ɑ", "a").replace("ɡ", "g")
