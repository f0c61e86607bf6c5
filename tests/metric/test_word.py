"""One notion of a word: letters and digits with their marks, in any script, blanks of any kind between them."""

import unicodedata

import pytest

from ofasys.metric import bleu, cer, chrf, cider, exact_match, per, rouge_l, table_exact, triples_f1, vqa_score, wer
from ofasys.metric.word import even, pieces, words

WORDS = [
    ("It's a café, No_1!", ["it", "s", "a", "café", "no", "1"]),  # as rouge-score parts English
    ("don\u2019t", ["don", "t"]),
    ("किताब पढ़ो।", ["किताब", "पढ\u093cो"]),  # vowel signs are marks
    ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
    ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
    ("مَرْحَبًا، يا", ["مَرْحَبًا", "يا"]),  # harakat
    ("می\u200cخواهم", ["می\u200cخواهم"]),  # a joiner is part of the spelling
    ("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"]),
    ("Việt Nam", ["việt", "nam"]),
    ("ЧЁРНЫЙ кот", ["чёрный", "кот"]),
    ("한국어 단어", ["한국어", "단어"]),
    ("አማርኛ ቋንቋ", ["አማርኛ", "ቋንቋ"]),
    ("一只猫 cat", ["一", "只", "猫", "cat"]),
    ("𠮷野家", ["𠮷", "野", "家"]),
    ("が・か\u3099", ["が", "が"]),
    ("ที่นี่", ["ที่", "นี่"]),  # Thai: a letter with its marks
    ("ພາສາ", ["ພ", "າ", "ສ", "າ"]),
    ("٣ ४ Ⅷ", ["٣", "४", "ⅷ"]),
    ("\u2764\ufe0f 👍🏽 - ?", []),  # no letter, no word
    ("\u0301a \u0301", ["a"]),  # a mark needs a letter
    ("", []),
]
BLANKS = "\t\n\r\x0b\x0c\x1c\x85\u00a0\u1680\u2002\u2009\u2028\u2029\u202f\u205f\u3000\u200b"


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words_of_any_script(text, expected):
    for form in ("NFC", "NFD"):
        found = words(unicodedata.normalize(form, text))
        assert found == [unicodedata.normalize("NFC", word) for word in expected]


@pytest.mark.parametrize("blank", BLANKS)
def test_blanks_of_any_kind(blank):
    one, other = f"a{blank}b c{blank}", "a b c"
    assert words(one) == pieces(one) == ["a", "b", "c"]
    assert even(one).strip() == other
    for metric in (wer, cer, per):
        assert next(iter(metric([one], [other]).values())) == next(iter(metric([other], [one]).values())) == 0
    assert exact_match([one], [other]) == {"exact_match": 1}
    assert vqa_score([one], [other]) == {"vqa_score": 1}
    assert rouge_l([one], [other]) == {"rouge_l": 1}
    assert table_exact([[{"x": one}]], [[{"x": other}]])["table_exact"] == 1
    assert triples_f1([[(one, one, one)]], [[(other,) * 3]])["triples_f1"] == 1
    if blank != "\x1c":  # sacrebleu's own rules of ASCII's separators
        assert chrf([one], [other])["chrf"] == pytest.approx(100)


@pytest.mark.parametrize("unseen", ["\u00ad", "\u200e", "\u200f", "\u2060", "\ufeff", "\ufe0f", "\u202a"])
def test_what_is_not_seen_does_not_count(unseen):
    one = f"a{unseen}b"
    assert words(one) == pieces(one) == ["ab"]
    assert cer([one], ["ab"])["cer"] == 0
    assert exact_match([one], ["ab"]) == {"exact_match": 1}


DIFFERENT = [
    ("दान", "दीन"),
    ("كَتَبَ", "كُتِبَ"),
    ("שָׁלוֹם", "שְׁלוֹם"),
    ("ที่", "ที"),
    ("é", "e"),
    ("ñ", "n"),
    ("か", "が"),
    ("می\u200cخواهم", "میخواهم"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_marks_count(one, other):
    for form in ("NFC", "NFD"):
        left = unicodedata.normalize(form, one)
        assert rouge_l([left], [other]) == {"rouge_l": 0}
        assert vqa_score([left], [[other] * 10]) == {"vqa_score": 0}
        assert vqa_score([left], [[one] * 10]) == {"vqa_score": 1}
        assert exact_match([left], [other]) == {"exact_match": 0}
        assert wer([left], [other])["wer"] == 1
        assert cer([left], [other])["cer"] > 0
        assert per([left], [other])["per"] == 1
        assert cider([left, "x"], [other, "x"])["cider"] < cider([left, "x"], [one, "x"])["cider"]


def test_accents_that_are_characters_of_their_own():
    one, other = (unicodedata.normalize(form, "Où est le café déjà fermé ?") for form in ("NFC", "NFD"))
    assert one != other
    assert [wer([one], [other])["wer"], cer([one], [other])["cer"], per([one], [other])["per"]] == [0, 0, 0]
    assert bleu([one], [other])["bleu"] == pytest.approx(100)
    assert chrf([one], [other])["chrf"] == pytest.approx(100)


def test_apostrophes_are_punctuation():
    assert rouge_l(["don't"], ["don\u2019t"]) == {"rouge_l": 1}
    assert vqa_score(["don't"], ["don\u2019t"]) == {"vqa_score": 1}
    assert wer(["don't"], ["don\u2019t"])["wer"] == 1  # where punctuation counts, which it is counts too
    assert exact_match(["don't"], ["don\u2019t"]) == {"exact_match": 0}
    assert words("o\u02bbzbek") == ["o\u02bbzbek"]  # Uzbek's and Hawaiian's is a letter


def test_scripts_without_blanks():
    assert wer(["我喜欢猫"], ["我喜欢狗"])["wer"] == 1  # as jiwer: one word
    assert cer(["我喜欢猫"], ["我喜欢狗"])["cer"] == 0.25
    assert rouge_l(["我喜欢猫"], ["我喜欢狗"])["rouge_l"] == 0.75
    assert wer(["ฉัน\u200bรัก"], ["ฉัน\u200bกิน"])["wer"] == 0.5
