"""What a word is, in every metric: letters and digits with their marks, in any script, and blanks of any kind between
them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

ZERO_WIDTH_BLANK = "\u200b"  # parts words where a script writes no blank, as Thai and Khmer
_INVISIBLE = (
    "\u00ad\u034f\u061c\u200e\u200f\u2060-\u2064\ufeff"  # soft hyphen, joiners of graphemes and words, byte order mark
    "\u202a-\u202e\u2066-\u2069"  # directions
    "\ufe00-\ufe0f\U000e0100-\U000e01ef"  # which picture of a character
)
_ASCII_WORD = re.compile("[a-z0-9]+")
_UNSEEN = re.compile(f"[{_INVISIBLE}]")
_JOINERS = "\u200c\u200d"  # of letters: part of Persian and Indic spelling
_WITHOUT_BLANKS = (
    "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"  # Chinese characters, kana, bopomofo
    "\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u19e0-\u19ff"  # Thai, Lao, Burmese, Khmer
)


def even(text: str) -> str:
    """A text as it is compared: Unicode's NFC, every blank a " ", without characters that are not seen.

    Blanks are what `str.isspace` says (no-break, ideographic, line separators) and the zero-width space.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", _UNSEEN.sub("", text).replace(ZERO_WIDTH_BLANK, " "))
    return re.sub(r"\s", " ", text)


def pieces(text: str) -> list[str]:
    """What blanks part."""
    return text.split() if text.isascii() else even(text).split()


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits with their marks: what rouge-score takes for tokens, but of any script.

    In scripts written without blanks (Chinese characters, kana, Thai, Lao, Burmese, Khmer) each letter with its marks
    is a word.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _word().findall(unicodedata.normalize("NFC", even(text).lower()))


@cache
def _word() -> re.Pattern[str]:
    marks = _ranges([code for code in range(0x300, 0x20000) if unicodedata.category(chr(code)).startswith("M")])
    letters = rf"[^\W_{_WITHOUT_BLANKS}]"
    return re.compile(rf"(?![\W_])[{_WITHOUT_BLANKS}][{marks}]*|(?:{letters}+[{marks}{_JOINERS}]*)+")


def _ranges(codes: list[int]) -> str:
    """Sorted code points as the inside of a character class."""
    starts = [code for code, before in zip(codes, [-2, *codes], strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], -2], strict=True) if code + 1 != after]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
