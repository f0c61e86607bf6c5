"""Text of many languages -> IPA, by the library phonemizer and the program espeak-ng."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, DataError, nearest

# What espeak-ng leaves of its own notation in its IPA. What is not here is no symbol, and an error.
_LEFT: dict[str, str] = {
    **{"S": "ʃ", "Z": "ʒ", "N": "ŋ", "?": "ʔ", "A": "ɑ", "X": "χ", "Φ": "ɸ", "[": "\u032a", "^": "ʲ", '"': "\u0308"},
    **{"r.": "ɽ", "s.": "ʂ", "ts.": "ʈʂ", "i.": "ɻ\u0329", "a.": "a\u0320", "u.": "u\u0320", "ᵝ": "\u0361β\u031e"},
}
_LEFT_IN: dict[str, dict[str, str]] = {
    "am": {"`": "ʼ"},
    "cmn": {"o-": "ɤ", "i\u032a": "ɹ\u0329"},
    "fa": {"1": ""},
    "fr": {"-": ""},
    "is": {"#": "\u0325"},
    "ko": {"-": "ˀ"},
    "ti": {"`": "ʼ"},
    "vi": {"e-": "e\u0306"},
}
# What a tone is called -> its pitch. Mandarin has its pitches for names, from 1 to 5: 55, 35, 214, 51.
_LEVELS = dict(zip("12345", "˩˨˧˦˥", strict=True))
_TONES: dict[str, dict[str, str]] = {
    "cmn": {},
    "hak": {"1": "˨˦", "2": "˩", "3": "˧˩", "4": "˥", "5": "˨", "6": "˥"},
    "shn": {"1": "˨˦", "2": "˩", "3": "˧˨", "4": "˥", "5": "˦˨", "6": "˧˦˧"},
    "vi": {"1": "˧", "2": "˨˩", "3": "˧˥", "4": "˧˩˧", "5": "ˀ˦˥", "6": "ˀ˨˩", "7": "˧"},
    "yue": {"1": "˥", "2": "˧˥", "3": "˧", "4": "˨˩", "5": "˩˧", "6": "˨", "7": "˥˧"},
}
_UNTOLD = ("chr", "my", "th")  # their tones are numbers whose pitches espeak-ng does not tell
NAMED = "PHONEMIZER_ESPEAK_LIBRARY"  # where the user may name the library
_USUAL = {"zh": "cmn", "no": "nb"}  # codes that are often given

_FLAG = re.compile(r"\(([a-z][^()]*)\)")
_TONE = re.compile("[0-9ɜ]")  # espeak-ng writes the digit 3 as it writes its vowel 3
_held = threading.local()  # espeak-ng is all global variables: a thread has a copy of its own


def spoken(text: str, language: str) -> list[str]:
    """How a text is said, in IPA: its words. A tone stands after its vowel, as tone letters.

    Errors: ConfigError where the library, the program or the language is not there; DataError for what cannot be said.
    """
    if "\0" in text:
        raise DataError(f"a zero byte in {text[:40]!r}", expected="a text to be said")
    _library(language)
    try:
        found = _voice(language)(" ".join(text.split()))
    except UnicodeEncodeError as error:
        raise DataError(f"half a surrogate in {text[:40]!r}", expected="a text to be said") from error
    words = _written(found, language.partition("-")[0]).split()
    if not words:
        raise DataError(f"nothing is said in {text[:40]!r}", expected=f"a text of language={language}")
    return words


def _library(language: str) -> None:
    """Errors: ConfigError where phonemizer is not installed."""
    try:
        import phonemizer  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"language={language} needs the library phonemizer: pip install phonemizer, and the program espeak-ng; "
            'pip install "ofasys[phone]" brings both'
        ) from error


def _voice(language: str) -> Callable[[str], str]:
    """What says a text of that language; made once in each thread, for making it takes as long as fifty texts."""
    voices: dict[str, Callable[[str], str]] = _held.__dict__
    if language not in voices:
        voices[language] = _made(language)
    return voices[language]


def _made(language: str) -> Callable[[str], str]:
    wrapper = _wrapper()
    _check(language, wrapper)
    from phonemizer.backend import EspeakBackend
    from phonemizer.punctuation import Punctuation
    from phonemizer.separator import Separator

    quiet = logging.getLogger("ofasys.phonemizer")
    quiet.disabled = True  # it warns of every row in which a word is said as in another language
    backend = EspeakBackend(language, with_stress=True, language_switch="keep-flags", logger=quiet)
    marks, words = Punctuation(Punctuation.default_marks()), Separator(phone="", syllable="", word=" ")
    tones = _TONES.get(language.partition("-")[0])

    def said(text: str) -> str:
        plain = marks.remove(text)
        found = "".join(backend.phonemize([plain], separator=words, strip=True))
        if tones is None:
            return _FLAG.sub("", found)
        return _toned(found, _names(wrapper, plain), language, tones)

    if tones is not None:
        wrapper.set_voice(language)
    return said


def _wrapper() -> Any:
    """espeak-ng as phonemizer holds it: what the user named, else the system's, else that of espeakng-loader."""
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    try:
        EspeakWrapper.library()
    except RuntimeError as error:
        if NAMED in os.environ:
            raise ConfigError(f"{error}; give the path of libespeak-ng, or leave {NAMED} out") from None
        try:
            package = import_module("espeakng_loader")
        except ModuleNotFoundError:
            raise ConfigError(
                f'{error}; install the program espeak-ng, or pip install "ofasys[phone]", which brings it'
            ) from None
        EspeakWrapper.set_library(package.get_library_path())
        EspeakWrapper.set_data_path(package.get_data_path())
    try:
        return EspeakWrapper()
    except RuntimeError as error:
        raise ConfigError(f"espeak-ng does not start: {error}") from None


def _check(language: str, wrapper: Any) -> None:
    """Errors: ConfigError for a language that espeak-ng does not know, or has no dictionary or no pitches of."""
    data = Path(wrapper.data_path)
    known = {voice.language for voice in wrapper.available_voices() if _has_dictionary(data, voice)}
    if language not in known:
        plain = language.lower().replace("_", "-")
        near = [code for code in sorted(known) if code.partition("-")[0] == plain.partition("-")[0]]
        near = near or [_USUAL[plain.partition("-")[0]]] if plain.partition("-")[0] in _USUAL else near
        told = f"did you mean {' or '.join(near[:6])}? " if near else nearest(language, sorted(known))
        raise ConfigError(
            f"language={language} is none that espeak-ng speaks; {told}there are {len(known)}, as de, es, fr-fr, cmn"
        )
    if language.partition("-")[0] in _UNTOLD:
        raise ConfigError(
            f"language={language}: espeak-ng numbers its tones and does not tell their pitches, so they cannot be "
            "written in IPA; give the phones themselves (preprocess=symbols)"
        )


def _has_dictionary(data: Path, voice: Any) -> bool:
    """Whether the words of a voice are there: espeak-ng ends the process where they are not."""
    file = data / "lang" / str(voice.identifier)
    text = file.read_text(encoding="utf8", errors="replace") if file.is_file() else ""
    named = re.search(r"^dictionary\s+(\S+)", text, re.M)
    return (data / f"{named[1] if named else str(voice.language).partition('-')[0]}_dict").is_file()


def _names(wrapper: Any, text: str) -> str:
    """The phonemes of a text by their names in espeak-ng: only these tell the tones apart."""
    rest = ctypes.pointer(ctypes.c_char_p(text.encode()))
    found = []
    while rest.contents.value is not None:
        found.append(wrapper._espeak.text_to_phonemes(rest, 1, 0) or b"")
    return b" ".join(found).decode()


def _toned(ipa: str, names: str, language: str, tones: Mapping[str, str]) -> str:
    """IPA whose tones are tone letters. espeak-ng's own has but the first digit of a tone's name: 5 of 55 and of 51."""
    called = iter([tone for part, own in _parts(names, language) if own for tone in re.findall(r"\d+", part)])

    def pitch(match: re.Match[str]) -> str:
        name = next(called, "")
        letters = tones.get(name) or "".join(_LEVELS.get(digit, "?") for digit in _once(name))
        if name[:1] != {"ɜ": "3"}.get(match[0], match[0]) or "?" in letters:
            raise DataError(f"the tone {match[0]!r} in {ipa[:60]!r} is not known", expected="a text espeak-ng can say")
        return letters

    return "".join(_TONE.sub(pitch, part) if own else part for part, own in _parts(ipa, language))


def _once(name: str) -> str:
    """A level pitch is written once: 55 is 5."""
    return name[0] if name and len(set(name)) == 1 else name


def _parts(text: str, language: str) -> Iterator[tuple[str, bool]]:
    """The stretches of a text between the flags of languages, and whether each is said in its own."""
    own = True
    for place, part in enumerate(_FLAG.split(text)):
        if place % 2:
            own = part == language or part.partition("-")[0] == language.partition("-")[0]
        else:
            yield part, own


def _written(ipa: str, language: str) -> str:
    """espeak-ng's IPA without its own notation. Errors: DataError for a point that is left: it parts no syllables."""
    left = _LEFT | _LEFT_IN.get(language, {})
    pattern = "|".join(map(re.escape, sorted(left, key=len, reverse=True)))
    ipa = re.sub(pattern, lambda match: left[match[0]], ipa)
    if "." in ipa:
        raise DataError(f"unknown symbol '.' in {ipa[:60]!r}", expected="what espeak-ng writes in IPA")
    return ipa
