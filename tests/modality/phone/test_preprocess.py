"""PHONE: symbols to tokens of a range of their own and back; text by how it is said."""

import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError, InstructionError, PlanError
from ofasys.language import Instruction
from ofasys.modality import BUILT_IN, Context, Registry, lexicon
from ofasys.modality.phone import PHONE
from ofasys.modality.phone.inventories import inventory
from ofasys.modality.phone.options import SIZES
from ofasys.modality.phone.preprocess import Phones, Pronounced
from ofasys.modality.symbols import Symbols
from ofasys.modality.vocabulary import Vocabulary
from ofasys.planner import explain, plan

SPOKEN = {"language": "en", "unknown": "error", "boundary": False, "vary": False}


@pytest.fixture(scope="module")
def symbols(tiny):
    sizes = {f"phones.{name}": size for name, size in SIZES.items()}
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size(), **sizes}))


@pytest.fixture(scope="module")
def phones(symbols):
    def phones(inventory="arpabet", max_length=None, kind=Phones, **options):
        return kind({"inventory": inventory, "max_length": max_length, **SPOKEN, **options}, symbols)

    return phones


def back(part, value):
    return part.postprocess(part.preprocess(value, Context()).tensors["tokens"], Context())


@pytest.mark.parametrize("name", ["arpabet", "arpabet_stress"])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_phones_come_back(phones, symbols, name, data):
    value = data.draw(st.lists(st.sampled_from(inventory(name).symbols), min_size=1, max_size=30))
    piece = phones(name).preprocess(value, Context())
    low, high = symbols.vocabulary.span(f"phones.{name}")
    assert ((piece.tensors["tokens"] >= low) & (piece.tensors["tokens"] < high)).all()
    assert piece.length == len(value)
    assert back(phones(name), value) == back(phones(name), " ".join(value)) == " ".join(value)
    assert phones(name).canonical(value) == " ".join(value)


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("arpabet", ("HH", "AH0"), "HH AH"),
        ("arpabet", np.array(["hh", "ah0"]), "HH AH"),
        ("ipa", "t͡ʃaː", "t͡ʃ aː"),
        ("ipa", ["t͡ʃ", "aː"], "t͡ʃ aː"),
        ("pinyin", "nǐ hǎo", "ni3 hao3"),
        ("zhuyin", "ㄋㄧˇㄏㄠˇ", "ㄋㄧˇ ㄏㄠˇ"),
    ],
)
def test_forms_of_a_value(phones, name, value, written):
    assert back(phones(name), value) == phones(name).canonical(value) == written
    assert back(phones(name), written) == written


def test_every_inventory_has_ids_of_its_own(phones, symbols):
    spans = [symbols.vocabulary.span(f"phones.{name}") for name in sorted(SIZES)]
    assert all(end == start for (_, end), (start, _) in pairwise(spans))
    alone = Vocabulary.assemble({"text": 300, "phones.arpabet": 40})
    assert alone.span("phones.arpabet") == (304, 344)  # whatever the data


def test_max_length_drops_whole_phones_and_syllables(phones):
    assert back(phones("arpabet", 2), "K AE T") == "K AE"
    assert back(phones("pinyin", 4), "ni3 hao3") == "ni3"  # three symbols each
    assert back(phones("ipa", 3), "t͡ʃʰaː") == "t͡ʃʰ"
    assert back(phones("ipa", 1), "t͡ʃʰaː") == "t͡ʃ"  # the first is cut: nothing is no value
    assert phones("arpabet", 2).canonical("K AE T") == "K AE T"


def test_ids_of_other_ranges_are_left_out(phones):
    assert phones().postprocess(np.array([5, 0]), Context()) == ""


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "there are no phones; expected phones: a str with a blank between symbols"),
        ("  ", "there are no phones"),
        ([], "there are no phones"),
        (None, "got NoneType 'None'"),
        (7, "got int '7'"),
        (b"HH", "got bytes"),
        (["HH", 3], "got list"),
        ({"HH": 1}, "got dict"),
        ("HH QQ", "unknown phone 'QQ'"),
    ],
)
def test_what_are_no_phones(phones, value, says):
    with pytest.raises(DataError, match=says):
        phones().preprocess(value, Context())


# --- text that is said -----------------------------------------------------------------------------------------------


def test_text_is_said(phones):
    spoken = phones(kind=Pronounced)
    assert back(spoken, "Hello world") == "HH AH L OW W ER L D"
    assert spoken.canonical("cat") == "K AE T"
    assert spoken.canonical("tomato") == ["T AH M EY T OW", "T AH M AA T OW"]
    assert back(phones("ipa", kind=Pronounced), "cat") == "k æ t"
    assert back(phones("arpabet_stress", kind=Pronounced, boundary=True), "a cat") == "AH0 | K AE1 T"


def test_one_way_to_say_it_by_chance(phones):
    spoken = phones(kind=Pronounced, vary=True)

    def said(seed, training=True):
        context = Context(training=training, random=np.random.default_rng(seed))
        return spoken.postprocess(spoken.preprocess("tomato", context).tensors["tokens"], context)

    assert {said(seed) for seed in range(20)} == set(spoken.canonical("tomato"))
    assert said(3) == said(3)
    assert {said(seed, training=False) for seed in range(20)} == {"T AH M EY T OW"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("zzyzzx", "the word 'zzyzzx' is not in cmudict"),
        ("", "nothing is said in ''"),
        ("?!", "nothing is said"),
        (["K", "AE"], "got list .*expected a text to be said"),
        (None, "got NoneType"),
    ],
)
def test_what_cannot_be_said(phones, value, says):
    with pytest.raises(DataError, match=says):
        phones(kind=Pronounced).preprocess(value, Context())


def test_a_data_worker_can_have_it(phones):
    part = pickle.loads(pickle.dumps(phones(kind=Pronounced)))
    assert back(part, "cat") == "K AE T"


# --- the spec --------------------------------------------------------------------------------------------------------

REGISTRY = Registry(tuple(m for m in BUILT_IN.modalities if m.tag != "PHONE")).with_(PHONE)


def planned(text):
    return plan(text, modalities=REGISTRY)


def test_the_plan_names_the_range():
    found = planned("[TEXT:word] -> [PHONE:p,inventory=arpabet_stress,max_length=20]")
    assert found.slots[1].ranges == (("phones.arpabet_stress", 85),)
    assert "cross_entropy over phones.arpabet_stress (85 ids)" in explain(found, registry=REGISTRY)
    assert planned("[PHONE:p,preprocess=g2p,inventory=ipa,language=de] -> [TEXT:t]").slots[0].values["language"] == "de"


@pytest.mark.parametrize(
    ("slot", "error", "says"),
    [
        ("[PHONE:p,inventory=arpbet]", InstructionError, r"did you mean arpabet\?"),
        ("[PHONE:p,inventroy=ipa]", InstructionError, r"did you mean inventory\?"),
        ("[PHONE:p,unknown=spell]", PlanError, "unknown does not reach this slot"),
        (
            "[PHONE:p,preprocess=g2p,inventory=pinyin]",
            PlanError,
            "preprocess=g2p writes arpabet, arpabet_stress or ipa",
        ),
        ("[PHONE:p,preprocess=g2p,language=de]", PlanError, "language=de is written in ipa; add inventory=ipa"),
        (
            "[PHONE:p,preprocess=g2p,inventory=ipa,language=de,vary]",
            PlanError,
            "vary=True is of the English dictionary",
        ),
        (
            "[PHONE:p,preprocess=g2p,inventory=ipa,language=de,unknown=skip]",
            PlanError,
            "unknown=skip is of the English dictionary and does nothing for language=de",
        ),
        ("[PHONE:p,closed_set]", PlanError, "does not take closed_set"),
    ],
)
def test_what_cannot_be_planned(slot, error, says):
    with pytest.raises(error, match=says):
        plan(Instruction(f"[TEXT:t] -> {slot}", lexicon(REGISTRY)), modalities=REGISTRY)


def test_the_face_is_light():
    code = (
        "import sys; from ofasys.modality.phone import PHONE;"
        "print({'torch', 'cmudict', 'PIL', 'ofasys.modality.phone.pinyin'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
