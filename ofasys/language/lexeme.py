"""The smallest pieces of the language: words, bare values and quoted text, read and written."""

from __future__ import annotations

import re
from unicodedata import category

BLANK = re.compile(r"\s*")
WORD = re.compile(r"\w*")
BARE = re.compile(r"(?:[\w.+/]|-(?!>))*")
PLACE = re.compile(r"(?:[\w.+/:]|-(?!>))*")
QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)

_PLACED = ("adaptor",)  # attributes whose values may name a place, as hf:FOLDER
_FIRST_MARK = "\u0300"


def skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where the match of `pattern` at `start` ends; `start` where it does not match."""
    match = pattern.match(text, start)
    return match.end() if match else start


def run(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where the run of `pattern` (WORD or BARE) that begins at `start` ends; combining marks belong to it."""
    end = skip(pattern, text, start)
    while end < len(text) and text[end] >= _FIRST_MARK and category(text[end])[0] == "M":
        end = skip(pattern, text, end + 1)
    return end


def bare(key: str) -> re.Pattern[str]:
    """What a value of this attribute may be without quotes."""
    return PLACE if key in _PLACED else BARE


def unquote(body: str) -> str:
    r"""What stands between the quotes, with `\"` and `\\` read; any other backslash is itself."""
    return re.sub(r'\\(["\\])', r"\1", body) if "\\" in body else body


def quote(text: str) -> str:
    r"""`text` in double quotes, `"` and `\` escaped."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def written(text: str, pattern: re.Pattern[str]) -> str:
    """`text` as it is where it is one run of `pattern`, else quoted."""
    return text if text and run(pattern, text, 0) == len(text) else quote(text)
