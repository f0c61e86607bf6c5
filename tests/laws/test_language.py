"""What holds for every tree, and for every text whatsoever."""

import pickle
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofasys.errors import InstructionError
from ofasys.language import (
    Contrast,
    Instruction,
    Lexicon,
    Repetition,
    Sentence,
    Slot,
    Text,
    Word,
    option,
    options_of,
    parse,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    flag: bool = option(False)
    count: int = option(0)
    ratio: float = option(0.0)
    note: str = option("")


LEXICON = Lexicon(
    [Word(tag, options_of(Options)) for tag in ("IMAGE", "TEXT", "CATEGORY")]
    + [Word("BOX", options_of(Options), aliases=("BOUNDING_BOX",))]
)
TAGS = st.sampled_from(LEXICON.tags)

MARKS = ["[", "]", "(", ")", ")*", "]*", "*", "|", "\\", "->", "-", ">", '"', ":", ",", "=", " ", "\n", "\u0301", "→"]
WORDS = [
    "TEXT",
    "BOX",
    "BOUNDING_BOX",
    "text",
    "x",
    "is what?",
    "標題",
    "count",
    "flag",
    "note",
    "ratio",
    "3",
    "0.5",
    "nan",
]
PIECES = ["[TEXT:x]", "[BOX]", "[[BOX] [TEXT]]*", "([BOX] a)*", "[IMAGE:a|TEXT:b]", "[TEXT,note=", "[TEXT:"]
RAGGED = st.lists(st.sampled_from(MARKS * 2 + WORDS + PIECES), max_size=24).map("".join)

PROSE = (st.text(min_size=1) | RAGGED).filter(lambda value: value.split()).map(Text)
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "flag": st.booleans(),
        "count": st.integers(),
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
        "note": st.text() | RAGGED,
    },
).map(lambda attributes: tuple(attributes.items()))


def slots(names):
    return st.builds(Slot, TAGS, st.none() | names, ATTRIBUTES)


NAMES = (st.text(min_size=1) | RAGGED.filter(bool)).map(lambda name: f"{name}1")
NAMES_INSIDE = NAMES.map(lambda name: f"{name}2")  # inside repetitions, names of their own


def segments(names):
    slot = slots(names)
    return PROSE | slot | st.builds(Contrast, slot, slot)


def around_a_slot(names, segment):
    """Segments with at least one slot among them."""
    some = st.lists(segment, max_size=3)
    return st.builds(lambda before, slot, after: (*before, slot, *after), some, slots(names), some)


REPETITIONS = st.builds(Repetition, around_a_slot(NAMES_INSIDE, segments(NAMES_INSIDE)))
FULL = st.builds(Sentence, around_a_slot(NAMES, segments(NAMES) | REPETITIONS))
EMPTY = st.just(Sentence())


def one_modality_a_name(trees):
    before = {}
    return all(
        before.setdefault(s.name, s.modality) == s.modality for t in trees for s in t.slots if s.name is not None
    )


TREES = (st.tuples(FULL, FULL) | st.tuples(FULL, EMPTY) | st.tuples(EMPTY, FULL)).filter(one_modality_a_name)


@pytest.mark.slow
@given(TREES)
def test_a_tree_printed_and_read_is_the_same_tree(trees):
    source, target = trees
    assert parse(f"{source} -> {target}", LEXICON) == trees
    again = Instruction.from_tree(source, target, LEXICON)
    assert (again.source, again.target) == trees


@pytest.mark.slow
@given(TREES)
def test_the_canonical_text_is_its_own_canonical_text(trees):
    text = str(Instruction.from_tree(*trees, LEXICON))
    again = Instruction(text, LEXICON)
    assert str(again) == text == again.text


@pytest.mark.slow
@given(TREES)
def test_equal_instructions_hash_alike_and_survive_pickling(trees):
    first = Instruction.from_tree(*trees, LEXICON)
    second = Instruction(f"\n {first}\t", LEXICON)
    assert second == first
    assert hash(second) == hash(first)
    copy = pickle.loads(pickle.dumps(first))
    assert copy == first
    assert hash(copy) == hash(first)
    assert copy.places == first.places


@pytest.mark.slow
@given(TREES)
def test_spans_point_at_what_was_read(trees):
    instruction = Instruction.from_tree(*trees, LEXICON)
    for slot in instruction.slots:
        piece = instruction.text[slice(*slot.span)]
        alone = piece if piece.startswith("[") else f"[{piece}]"  # a slot of a contrast has no brackets of its own
        assert Instruction(f"{alone} ->", LEXICON).slots == (slot,)


@pytest.mark.slow
@given(TREES)
def test_columns_never_clash(trees):
    instruction = Instruction.from_tree(*trees, LEXICON)
    modality = {}
    for place in instruction.places:
        assert modality.setdefault(place.column, place.slot.modality) == place.slot.modality
    unnamed = [place.column for place in instruction.places if place.slot.name is None]
    assert len(set(unnamed)) == len(unnamed)
    assert not {group.column for group in instruction.groups} & set(instruction.columns)


@given(st.text() | RAGGED | st.lists(RAGGED, min_size=2, max_size=3).map(" -> ".join))
def test_no_text_raises_anything_but_an_instruction_error(text):
    wrong = None
    try:
        instruction = Instruction(text, LEXICON)
    except InstructionError as error:
        wrong = error
    if wrong is None:
        assert Instruction(str(instruction), LEXICON) == instruction
        assert len(instruction.places) == len(instruction.slots)
    else:
        assert 0 <= wrong.start < wrong.end <= len(text) + 1
        assert wrong.hint
        assert str(wrong).startswith(wrong.message)


@pytest.mark.parametrize("piece", MARKS + PIECES + ["([TEXT", "[a", "[TEXT|"])
def test_depth_and_length_are_no_danger(piece):
    with suppress(InstructionError):
        Instruction(piece * 3000 + " -> [TEXT]", LEXICON)
