"""What holds for every line with patterns from outside, and for every text whatsoever read beside them."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofasys.errors import InstructionError
from ofasys.language import Instruction, Lexicon, Pattern, Repetition, Sentence, Slot, Text, Word
from ofasys.language.tree import Alternatives

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
from patterns import CHOICE, MAYBE

ANY_OF = Pattern(
    name="any_of",
    about="those a row has",
    ways=lambda n: [tuple(part for part in range(n) if way >> part & 1) for way in range(2**n)],
    opens="<",
    between="&",
    closes=">",
)
LEXICON = Lexicon([Word(tag) for tag in ("IMAGE", "TEXT")], [CHOICE, MAYBE, ANY_OF])
PLAIN = Lexicon([Word(tag) for tag in ("IMAGE", "TEXT")])

MARKS = ["{", "}", "|", "<", ">", "&", "?", "[", "]", "(", ")", ")*", "]*", "\\", "->", "-", " ", ",", ":", "="]
PIECES = ["[TEXT:x]", "[IMAGE]", "{[TEXT:a]|[TEXT:b]}", "<[TEXT]&[IMAGE]>", "[TEXT:y]?", "([TEXT] a)*", "word", "标"]
RAGGED = st.lists(st.sampled_from(MARKS * 2 + PIECES), max_size=24).map("".join)
PROSE = (st.text(min_size=1) | RAGGED).filter(lambda value: value.split()).map(Text)
SLOTS = st.builds(Slot, st.sampled_from(LEXICON.tags), st.none() | st.text("abcdefgh", min_size=3, max_size=6))


PART = st.builds(lambda before, slot: (*before, slot), st.lists(PROSE, max_size=1), SLOTS)


def patterned(pattern, parts):
    written = (pattern.opens, pattern.between, pattern.closes)
    return Alternatives(pattern.name, tuple(parts), pattern.ways_of(len(parts)), written, pattern.about)


ALTERNATIVES = (
    st.lists(PART, min_size=2, max_size=4).map(lambda parts: patterned(CHOICE, parts))
    | st.lists(PART, min_size=1, max_size=3).map(lambda parts: patterned(ANY_OF, parts))
    | SLOTS.map(lambda slot: patterned(MAYBE, [(slot,)]))
)
SEGMENTS = PROSE | SLOTS | ALTERNATIVES | st.builds(Repetition, PART)
SENTENCES = st.builds(
    lambda before, slot, after: Sentence((*before, slot, *after)),
    st.lists(SEGMENTS, max_size=3),
    SLOTS | ALTERNATIVES,
    st.lists(SEGMENTS, max_size=2),
)


def named_once(trees):
    """Names inside a pattern stand nowhere else; so that nothing else is tried here, no name stands twice."""
    return max(Counter(s.name for t in trees for s in t.slots if s.name is not None).values(), default=1) == 1


TREES = st.tuples(SENTENCES, SENTENCES).filter(named_once)


@pytest.mark.slow
@given(TREES)
def test_a_tree_printed_and_read_is_the_same_tree(trees):
    made = Instruction.from_tree(*trees, LEXICON)
    assert (made.source, made.target) == trees
    assert str(Instruction(str(made), LEXICON)) == str(made)
    assert sum(len(parts.columns) for parts in made.parts) == sum(
        len(segment.parts) for tree in trees for segment in tree.segments if isinstance(segment, Alternatives)
    )


@pytest.mark.slow
@given(st.text() | RAGGED | st.lists(RAGGED, min_size=2, max_size=3).map(" -> ".join))
def test_no_text_raises_anything_but_an_instruction_error(text):
    wrong = None
    try:
        made = Instruction(text, LEXICON)
    except InstructionError as error:
        wrong = error
    if wrong is None:
        assert Instruction(str(made), LEXICON) == made
    else:
        assert 0 <= wrong.start < wrong.end <= len(text) + 1
        assert wrong.hint


@given(st.lists(st.sampled_from([*"ab []()*\\", "[TEXT:x]", "->", ")*"]), max_size=30).map("".join))
def test_a_line_without_their_characters_is_as_without_them(text):
    def read(lexicon):
        try:
            made = Instruction(text, lexicon)
        except InstructionError as error:
            return error.message, error.start, error.end, error.hint
        return made.source, made.target, str(made)

    assert read(LEXICON) == read(PLAIN)


@pytest.mark.parametrize("piece", [*MARKS, *PIECES, "{[TEXT", "{[TEXT]|", "<{", "([TEXT]?"])
def test_depth_and_length_are_no_danger(piece):
    try:
        Instruction(piece * 3000 + " -> [TEXT]", LEXICON)
    except InstructionError:
        return
