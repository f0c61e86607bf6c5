"""Other languages than English, as the real espeak-ng says them: IPA throughout, tones as tone letters, or an error."""

import multiprocessing
import sys
import threading

import pytest

from ofasys.errors import ConfigError, DataError
from ofasys.modality.phone import espeak
from ofasys.modality.phone.espeak import spoken
from ofasys.modality.phone.inventories import inventory
from ofasys.modality.phone.pronounce import phonemized

pytest.importorskip("phonemizer")
loader = pytest.importorskip("espeakng_loader")


def packaged():
    """The espeak-ng of the package, whatever the system has."""
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    EspeakWrapper.set_library(loader.get_library_path())
    EspeakWrapper.set_data_path(loader.get_data_path())


@pytest.fixture(autouse=True)
def first():
    packaged()


def read(text):
    made = inventory("ipa")
    return made.write([n for unit in made.read(text) for n in unit])


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("de", "Guten Morgen, Jürgen!", "ɡˈuːtən mˈɔɾɡən jˈʏɾɡən"),
        ("de", "3 Äpfel", "dɾˈaɪ ˈɛpfəl"),
        ("de", "downloaden", "dˈaʊnləʊdən"),  # as in English: espeak-ng puts (en) and (de) around it
        ("fr-fr", "je m'appelle François", "ʒə mapˈɛl fʁɑ̃swˈa"),  # espeak-ng: ʒə-
        ("es", "el niño pequeño", "el nˈiɲo pekˈeɲo"),
        ("it", "gli gnocchi", "ʎɪ ɲˈokːɪ"),
        ("pl", "dzień dobry", "dʑˈɛɲ dˈɔbrɨ"),
        ("ru", "доброе утро", "dˈobrʌjɪ ˈutrʌ"),
        ("el", "τι κάνεις;", "tˈi kˈanis"),
        ("tr", "günaydın", "ɟynajdˈɯn"),
        ("hi", "घर छोटा", "ɡʰˈʌɾ cʰˈoːʈaː"),
        ("hi", "कन्नड़", "kˈʌnnəɽ"),  # espeak-ng: r.
        ("ar", "صباح", "s̪ˈabaːħ"),
        ("ja", "すし", "sˈɯ͡β̞ɕi"),  # espeak-ng: ᵝ
        ("ko", "꽃", "qˀˈot"),  # espeak-ng: q-
        ("da", "maj", "mˈʔɑj"),  # espeak-ng: ?
        ("am", "ቅዳሜ", "kʼˈɨdame"),  # espeak-ng: a grave accent
        ("cmn", "妈 麻 马 骂 吗", "mˈɑ˥ mˈɑ˧˥ mˈɑ˨˩˦ mˈɑ˥˩ mˈɑ˩"),  # espeak-ng: 5 ɜ 2 5 1
        ("cmn", "你好", "ni˨˩˦χˈɑu˨˩˦"),
        ("cmn", "四 是 克", "sˈɹ̩˥˩ ʂˈɻ̩˥˩ khˈɤ˥˩"),
        ("cmn-latn-pinyin", "ma1 ma4", "mˈɑ˥ mˈɑ˥˩"),
        ("vi", "ma má mà mả mã mạ", "mˈaː mˈaː˧˥ mˌaː˨˩ mˈaː˧˩˧ mˈaːˀ˦˥ mˈaːˀ˨˩"),
        ("vi", "hello world má", "həlˈəʊ wˈɜːld mˈaː˧˥"),  # the vowel of world stays one
        ("yue", "詩 史 試 時 市 事", "sˈi˥ sˈi˧˥ sˈi˧ sˈi˨˩ sˈi˩˧ sˈi˨"),
    ],
)
def test_what_is_said_is_ipa(language, text, said):
    assert read(phonemized(text, language, False)) == read(said)
    unstressed = said.replace("ˈ", "").replace("ˌ", "")
    assert read(unstressed).split() == [unit for unit in read(said).split() if unit not in "ˈˌ"]


@pytest.mark.parametrize("language", ["cmn", "vi", "yue"])
def test_no_tone_is_left_as_a_digit_or_read_as_a_vowel(language):
    for number in range(131):
        said = phonemized(str(number), language, True)
        assert read(said)
        assert not any(c.isdigit() or c == "ɜ" for c in said)


def test_a_tone_that_espeak_leaves_out_of_its_ipa():
    assert read(phonemized("10", "hak", False)) == read("ɕˈɻ̩˥")
    with pytest.raises(DataError, match=r"the tone .6. in .* is not known"):  # the 5 in it is said without its tone
        phonemized("50", "hak", False)


def test_words_and_what_stands_between_them():
    assert spoken("a\nb\t c", "de") == spoken("a b c", "de") == ["ˈɑː", "bˈeː", "tsˈeː"]
    assert phonemized("ja, da!", "de", True) == " | ".join(spoken("ja da", "de"))
    assert phonemized("ja da", "de", False) == " ".join(spoken("ja da", "de"))
    assert spoken("3,5", "de")[1] == "kɔmɑː"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing is said in ''; expected a text of language=de"),
        (" ?! ", "nothing is said"),
        ("a\0b", "a zero byte in"),
        ("a\ud800", "half a surrogate in"),
    ],
)
def test_what_cannot_be_said(text, says):
    with pytest.raises(DataError, match=says):
        spoken(text, "de")


def test_a_symbol_that_is_none_is_named():
    assert read(phonemized("ਕ", "pa", False))
    with pytest.raises(DataError, match=r"unknown symbol '\+' in"):
        read(phonemized("ਭੂਟਾਨ", "pa", False))
    with pytest.raises(DataError, match=r"unknown symbol '2'.*tones are letters, ˥ ˦ ˧ ˨ ˩"):
        read("ni2 χˈɑu2")


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("xx", r"language=xx is none that espeak-ng speaks; there are \d+, as de, es"),
        ("fr", "did you mean fr-be or fr-ch or fr-fr"),
        ("DE", r"did you mean de\?"),
        ("zh", r"did you mean cmn\?"),
        ("zh-TW", r"did you mean cmn\?"),
        ("fo", "none that espeak-ng speaks"),  # a voice whose dictionary is not in the package
        ("th", "numbers its tones and does not tell their pitches"),
        ("my", "numbers its tones"),
        ("chr-US-Qaaa-x-west", "numbers its tones"),
    ],
)
def test_a_language_that_is_not_there(language, says):
    with pytest.raises(ConfigError, match=says):
        spoken("a", language)


def test_the_package_is_found_where_the_system_has_none(monkeypatch):
    from phonemizer.backend.espeak import wrapper

    monkeypatch.setattr(wrapper.EspeakWrapper, "_ESPEAK_LIBRARY", None)
    monkeypatch.setattr(wrapper.EspeakWrapper, "_ESPEAK_DATA_PATH", None)
    monkeypatch.delenv("PHONEMIZER_ESPEAK_LIBRARY", raising=False)
    monkeypatch.setattr(wrapper, "_find_library", lambda name: None)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "espeakng_loader", None)
        with pytest.raises(ConfigError, match=r"install the program espeak-ng, or pip"):
            espeak._wrapper()
        without.setenv("PHONEMIZER_ESPEAK_LIBRARY", "/nowhere/libespeak-ng.so")
        with pytest.raises(ConfigError, match=r"nowhere/libespeak-ng\.so is not a readable file; give the path of"):
            espeak._wrapper()
    assert espeak._wrapper().version >= (1, 50)
    assert loader.get_library_path() == wrapper.EspeakWrapper.library()


def test_a_voice_is_made_once_in_a_thread(monkeypatch):
    made = []
    original = espeak._made
    monkeypatch.setattr(espeak, "_made", lambda language: made.append(language) or original(language))
    monkeypatch.setattr(espeak, "_held", threading.local())
    found = [spoken("ja", "de"), spoken("ja", "de"), spoken("da", "nl")]
    assert made == ["de", "nl"]
    thread = threading.Thread(target=lambda: found.append(spoken("ja", "de")))
    thread.start()
    thread.join()
    assert made == ["de", "nl", "de"]
    assert found[0] == found[1] == found[3]


def _in_a_worker(text):
    return spoken(text, "de"), spoken(text, "vi")


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_say_the_same(method):
    here = [_in_a_worker(text) for text in ("ja", "nein", "da")]
    with multiprocessing.get_context(method).Pool(2, packaged) as pool:
        assert pool.map(_in_a_worker, ["ja", "nein", "da"]) == here
    assert _in_a_worker("ja") == here[0]  # what a worker tidies away is its own
