"""Places, columns, and an instruction filled with data."""

import pickle

import pytest

from ofasys.errors import DataError

CAPTION = "[IMAGE:img] what does the image describe? -> [TEXT:cap]"
PROMPT = "-> can [TEXT:sent1,no_loss] imply [TEXT:sent2,no_loss]? [TEXT:label,closed_set]"
DETECT = "[IMAGE:img] detect the objects. -> [[BOX] [TEXT]]*"
NAMED = "[IMAGE:img] detect the objects. -> ([BOX:box] [TEXT:label])*"


@pytest.mark.parametrize(
    ("text", "columns", "needed"),
    [
        (CAPTION, "img cap", "img"),
        (PROMPT, "sent1 sent2 label", "sent1 sent2"),
        ("[TEXT] [TEXT] -> [TEXT]", "text text_2 text_3", "text text_2"),
        ("[TEXT] [IMAGE:text] -> [TEXT] [BOX:text_3]", "text_2 text text_4 text_3", "text_2 text"),
        ("[TEXT:x,mask_ratio=0.3] -> [TEXT:x]", "x", "x"),
        ("-> [TEXT:t]", "t", ""),
        ("[IMAGE:img|TEXT] ->", "img text", "img text"),
        (DETECT, "img box text", "img"),
        (NAMED, "img box label", "img"),
    ],
)
def test_columns(read, text, columns, needed):
    ist = read(text)
    assert ist.columns == tuple(columns.split())
    assert ist.needed == tuple(needed.split())


def test_places(read):
    ist = read("[IMAGE] ([BOX] [TEXT])* -> [TEXT,no_loss] ([BOX:b])*")
    assert [(p.slot.modality, p.side, p.column, p.group, p.needed_at_inference) for p in ist.places] == [
        ("IMAGE", "source", "image", None, True),
        ("BOX", "source", "box", 0, True),
        ("TEXT", "source", "text", 0, True),
        ("TEXT", "target", "text_2", None, True),
        ("BOX", "target", "b", 1, False),
    ]
    assert [(group.column, group.columns, group.side) for group in ist.groups] == [
        ("box_text", ("box", "text"), "source"),
        (None, ("b",), "target"),
    ]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("-> ([BOX] [TEXT])*", "box_text"),
        ("[BOX] -> ([BOX] [TEXT])*", "box_2_text"),
        ("[TEXT:box_text] -> ([BOX] [TEXT])*", "box_text_2"),
        ("-> ([BOX:b] [TEXT])*", None),
        ("-> ([BOX])*", None),
    ],
)
def test_the_common_column_of_a_repetition(read, text, column):
    assert read(text).groups[0].column == column


@pytest.mark.parametrize(
    ("text", "values", "named", "data"),
    [
        (CAPTION, ("i",), {}, {"img": "i"}),
        (CAPTION, ("i", "c"), {}, {"img": "i", "cap": "c"}),
        (CAPTION, (), {"cap": "c", "img": "i"}, {"img": "i", "cap": "c"}),
        (CAPTION, ("i",), {"cap": "c"}, {"img": "i", "cap": "c"}),
        (PROMPT, ("a", "b"), {}, {"sent1": "a", "sent2": "b"}),
        (PROMPT, ("a", "b", "yes"), {}, {"sent1": "a", "sent2": "b", "label": "yes"}),
        ("-> [TEXT:label] of [TEXT:s,no_loss]", ("s",), {}, {"s": "s"}),
        ("-> [TEXT:label] of [TEXT:s,no_loss]", ("l", "s"), {}, {"label": "l", "s": "s"}),
        ("[TEXT:x,mask_ratio=0.3] -> [TEXT:x]", ("v",), {}, {"x": "v"}),
        ("-> [TEXT:t]", (), {}, {}),
        ("-> [TEXT:t]", ("v",), {}, {"t": "v"}),
        ("[IMAGE] region: [BOX] -> [TEXT]", ("i", "b"), {}, {"image": "i", "box": "b"}),
        (DETECT, ("i",), {}, {"img": "i"}),
        (DETECT, ("i", [("b1", "t1"), ("b2", "t2")]), {}, {"img": "i", "box": ["b1", "b2"], "text": ["t1", "t2"]}),
        (DETECT, ("i",), {"box_text": []}, {"img": "i", "box": [], "text": []}),
        (DETECT, ("i",), {"box": ["b"], "text": ["t"]}, {"img": "i", "box": ["b"], "text": ["t"]}),
        (NAMED, ("i", ["b"], ["t"]), {}, {"img": "i", "box": ["b"], "label": ["t"]}),
        ("-> ([BOX])*", (["b1", "b2"],), {}, {"box": ["b1", "b2"]}),
        ('[TEXT:"a b"] -> [TEXT:self]', (), {"a b": 1, "self": 2}, {"a b": 1, "self": 2}),
        (CAPTION, (None,), {}, {"img": None}),
    ],
)
def test_filled(read, text, values, named, data):
    filled = read(text).format(*values, **named)
    assert filled.data == data
    assert list(filled.data) == [column for column in filled.instruction.columns if column in data]


@pytest.mark.parametrize(
    ("text", "values", "named", "message"),
    [
        (CAPTION, (), {}, "no value was given (slot '[IMAGE:img]', column 'img'); expected a value for each of img"),
        (CAPTION, (), {"cap": "c"},
         "no value was given (slot '[IMAGE:img]', column 'img'); expected a value for each of img"),
        (PROMPT, ("a",), {},
         "no value was given (slot '[TEXT:sent2,no_loss]', column 'sent2'); expected a value for each of sent1, sent2"),
        (CAPTION, (1, 2, 3), {}, "3 values were given; expected at most 2, one for each of [IMAGE:img], [TEXT:cap]"),
        (CAPTION, ("i",), {"img": "j"},
         "two values were given, one by position and one by name (slot '[IMAGE:img]', column 'img')"),
        (CAPTION, ("i",), {"imgs": "j"}, "no slot is called 'imgs'; expected one of img, cap (did you mean img?)"),
        (DETECT, ("i", []), {"box": []},
         "two values were given, one by position and one by name (slot '( [BOX] [TEXT] )*', column 'box')"),
        (DETECT, ("i",), {"box": [], "box_text": []},
         "two values were given: one in 'box' and one in 'box_text' (slot '( [BOX] [TEXT] )*', column 'box')"),
        (DETECT, ("i", "b"), {},
         "str is not a list (slot '( [BOX] [TEXT] )*', column 'box_text'); expected a list, a value per round of the "
         "repetition"),
        (DETECT, ("i", [("b", "t"), "bt"]), {},
         "round 1 of the list does not hold 2 values (slot '( [BOX] [TEXT] )*', column 'box_text'); expected a list of "
         "tuples (box, text)"),
        (NAMED, ("i", ["b"], ["t", "u"]), {},
         "2 values, and 1 in 'box' (slot '[TEXT:label]', column 'label'); expected lists of one length, a value per "
         "round of the repetition"),
        (NAMED, ("i", 3, ["t"]), {},
         "int is not a list (slot '[BOX:box]', column 'box'); expected a list, a value per round of the repetition"),
    ],
)  # fmt: skip
def test_wrongly_filled(read, text, values, named, message):
    with pytest.raises(DataError) as caught:
        read(text).format(*values, **named)
    assert str(caught.value) == message


def test_a_row_is_spread(read):
    row = {"img": "i", "box_text": [("b", "t")], "other": 1}
    assert read(DETECT).spread(row) == {"img": "i", "other": 1, "box": ["b"], "text": ["t"]}
    assert "box_text" in row


def test_a_filled_instruction_shows_short_and_travels(read):
    filled = read(CAPTION).format(b"x" * 10_000)
    assert repr(filled) == f"Filled({CAPTION!r}, columns: img)"
    copy = pickle.loads(pickle.dumps(filled))
    assert (copy.instruction, copy.data) == (filled.instruction, filled.data)
