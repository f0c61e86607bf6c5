"""What each form of the language reads as, and how it prints."""

import pytest

from ofasys.language import Contrast, Instruction, Repetition, Sentence, Slot, Text

FORMS = {
    "[IMAGE:img] what does the image describe? -> [TEXT:cap]": None,
    "can text1 [TEXT:sent1] imply text2 [TEXT:sent2]? -> [TEXT:label,closed_set]": (
        "can text1 [TEXT:sent1] imply text2 [TEXT:sent2] ? -> [TEXT:label,closed_set]"
    ),
    "-> can text1 [TEXT:sent1,no_loss] imply text2 [TEXT:sent2,no_loss]? [TEXT:label,closed_set]": (
        "-> can text1 [TEXT:sent1,no_loss] imply text2 [TEXT:sent2,no_loss] ? [TEXT:label,closed_set]"
    ),
    "[IMAGE:img] detect the objects in the image. -> [[BOUNDING_BOX] [TEXT]]*": (
        "[IMAGE:img] detect the objects in the image. -> ( [BOX] [TEXT] )*"
    ),
    "[IMAGE] what does the region describe in the image? region: [BOUNDING_BOX] -> [TEXT]": (
        "[IMAGE] what does the region describe in the image? region: [BOX] -> [TEXT]"
    ),
    'what is the complete text of " [TEXT:sentence,mask_ratio=0.3] "? -> [TEXT:sentence]': None,
    "-> [TEXT:t]": None,
    "-> ([IMAGE] [TEXT])*": "-> ( [IMAGE] [TEXT] )*",
    "[IMAGE:img|TEXT:cap] ->": None,
    "[[IMAGE:img]|[TEXT:cap]] ->": "[IMAGE:img|TEXT:cap] ->",
    "[ [IMAGE:img] | [TEXT:cap] ]->": "[IMAGE:img|TEXT:cap] ->",
    "[IMAGE:a,size=64|TEXT:b,uncased] ->": None,
    "([IMAGE:a|TEXT:b] and)* ->": "( [IMAGE:a|TEXT:b] and )* ->",
    "[ TEXT : x , mask_ratio = .5 , uncased ]->[TEXT]": "[TEXT:x,mask_ratio=0.5,uncased] -> [TEXT]",
    "[TEXT:x,uncased=no] -> [TEXT]": "[TEXT:x,uncased=false] -> [TEXT]",
    "[TEXT:x,uncased=YES] -> [TEXT]": "[TEXT:x,uncased] -> [TEXT]",
    "[TEXT:x,uncased,lang=zh-CN] -> [TEXT]": "[TEXT:x,lang=zh-CN,uncased] -> [TEXT]",
    '[TEXT:x,lang="a \\"b\\" \\\\ c"] -> [TEXT]': None,
    '[TEXT:x,lang="zh"] -> [TEXT]': "[TEXT:x,lang=zh] -> [TEXT]",
    '[TEXT:x,lang=""] -> [TEXT]': None,
    '[TEXT:x,lang="a -> b ]"] -> [TEXT]': None,
    "[TEXT:標題] -> [TEXT:légende]": None,
    "[TEXT:हिन्दी] -> [TEXT:le\u0301gende]": None,
    '[TEXT:"two words"] -> [TEXT:"x"]': '[TEXT:"two words"] -> [TEXT:x]',
    "a (small) test (of [TEXT:x]) -> [TEXT]": "a (small) test (of [TEXT:x] ) -> [TEXT]",
    ":( [TEXT] ;) ) -> :) [TEXT]": None,
    "-> (a (b) \\( [TEXT] )*": "-> ( a (b) \\( [TEXT] )*",
    "f(x\\)* [TEXT] -> [TEXT]": None,
    "-> [[TEXT] \\) (]*": "-> ( [TEXT] \\) \\( )*",
    "-> [and [BOX] (a) [TEXT]]*": "-> ( and [BOX] (a) [TEXT] )*",
    "-> [(a) [BOX]]*": "-> ( (a) [BOX] )*",
    r"\[1\] a \-> b \| c \\ [TEXT] -> [TEXT]": r"\[1\] a \-> b | c \\ [TEXT] -> [TEXT]",
    r"C:\new a | b [TEXT] -> [TEXT]": r"C:\\new a | b [TEXT] -> [TEXT]",
    "[TEXT:a] * 2 \u2192 x -> --[TEXT:b]": "[TEXT:a] * 2 \u2192 x -> -- [TEXT:b]",
    "  [TEXT:a]\n\t two\u00a0 blanks -> [TEXT:a]  ": "[TEXT:a] two blanks -> [TEXT:a]",
    "([BOX])* ([BOX])* -> [TEXT]": "( [BOX] )* ( [BOX] )* -> [TEXT]",
}


@pytest.mark.parametrize(("text", "canonical"), FORMS.items(), ids=FORMS)
def test_form_prints_canonical_and_reads_back(read, text, canonical):
    instruction = read(text)
    assert str(instruction) == (canonical or text)
    assert read(str(instruction)) == instruction
    assert hash(read(str(instruction))) == hash(instruction)


def test_tree_of_an_instruction(read):
    ist = read("[IMAGE:img] what does the image describe? -> [TEXT:cap,uncased]")
    assert ist.source == Sentence((Slot("IMAGE", "img"), Text("what does the image describe?")))
    assert ist.target == Sentence((Slot("TEXT", "cap", (("uncased", True),)),))
    assert ist.slots == (Slot("IMAGE", "img"), Slot("TEXT", "cap", (("uncased", True),)))


def test_tree_of_patterns(read):
    ist = read("[IMAGE:a|TEXT:b] -> [[BOX] and [TEXT]]*")
    assert ist.source.segments == (Contrast(Slot("IMAGE", "a"), Slot("TEXT", "b")),)
    assert ist.target.segments == (Repetition((Slot("BOX"), Text("and"), Slot("TEXT"))),)
    assert [slot.modality for slot in ist.slots] == ["IMAGE", "TEXT", "BOX", "TEXT"]


def test_attributes_come_out_typed(read):
    slot = read("[TEXT:x,mask_ratio=0.3,max_length=5,uncased,lang=true] -> [TEXT]").slots[0]
    assert slot.options == {"mask_ratio": 0.3, "max_length": 5, "uncased": True, "lang": "true"}
    assert [type(slot.get(key)) for key in ("mask_ratio", "max_length", "uncased", "lang")] == [float, int, bool, str]
    assert slot.get("weight") is None
    assert slot.get("weight", 1.0) == 1.0
    assert type(read("[TEXT:x,mask_ratio=1] -> [TEXT]").slots[0].get("mask_ratio")) is float


def test_spans_are_places_in_the_text(read):
    text = "a  [TEXT:x] -> ( \\[b\\]  [BOX : y] )* [IMAGE:a | TEXT:b,uncased ]"
    ist = read(text)
    assert [text[slice(*slot.span)] for slot in ist.slots] == ["[TEXT:x]", "[BOX : y]", "IMAGE:a", "TEXT:b,uncased"]
    prose, _ = ist.source.segments
    repetition, contrast = ist.target.segments
    assert text[slice(*prose.span)] == "a"
    assert text[slice(*repetition.segments[0].span)] == "\\[b\\]"
    assert text[slice(*repetition.span)] == "( \\[b\\]  [BOX : y] )*"
    assert text[slice(*contrast.span)] == "[IMAGE:a | TEXT:b,uncased ]"
    assert text[slice(*ist.source.span)] == "a  [TEXT:x]"


def test_trees_keep_their_own_rules():
    assert Text(" a  b ").value == "a b"
    assert Sentence((Text("a"), Text("b"), Slot("TEXT"))) == Sentence((Text("a b"), Slot("TEXT")))
    assert Slot("TEXT", None, (("b", 1), ("a", 2))).attributes == (("a", 2), ("b", 1))
    assert not Sentence()
    with pytest.raises(ValueError, match="at least one slot"):
        Repetition((Text("a"),))
    with pytest.raises(ValueError, match="inside a repetition"):
        Repetition((Repetition((Slot("TEXT"),)),))
    with pytest.raises(ValueError, match="at least one slot"):
        Sentence((Text("a"),))
    with pytest.raises(ValueError, match="not empty"):
        Text(" \n")
    with pytest.raises(ValueError, match="not empty"):
        Slot("TEXT", "")


def test_from_tree(lexicon, read):
    ist = read("([BOX] a)* -> [TEXT:x]")
    assert Instruction.from_tree(ist.target, ist.source, lexicon) == read("[TEXT:x] -> ([BOX] a)*")


def test_an_instruction_does_not_change(read):
    ist = read("-> [TEXT:x]")
    with pytest.raises(AttributeError, match="does not change"):
        ist.text = "other"
    with pytest.raises(AttributeError, match="does not change"):
        del ist.source
    assert repr(ist) == "Instruction('-> [TEXT:x]')"
    assert ist != "-> [TEXT:x]"
    assert ist != read("-> [TEXT:y]")


@pytest.mark.parametrize("value", [None, 3, b"-> [TEXT]", ["-> [TEXT]"]])
def test_only_a_str_is_an_instruction(read, value):
    with pytest.raises(TypeError, match="made from a str, not"):
        read(value)
