"""Triples: to tokens and back, a line each; what is no list of triples is an error that says so."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.modality import Context
from ofasys.modality.struct.notation import Malformed
from ofasys.modality.struct.preprocess import TriplesText
from ofasys.modality.struct.triples import parse_triples, read_triples, write_triples
from ofasys.modality.symbols import Symbols
from ofasys.modality.vocabulary import Vocabulary
from tests.modality.struct.test_notation import VALUE, same

FACTS = [("Ann", "born in", "Oslo"), ("Ann", "born", 1931), ("Bob | B", "is", True)]
WRITTEN = ' Ann | born in | Oslo\n Ann | born | 1931\n "Bob | B" | is | true'
PART = VALUE.filter(lambda value: value is not None)


@pytest.fixture(scope="module")
def symbols(tiny):
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size()}))


def triples(symbols, max_length=1024):
    return TriplesText({"max_length": max_length}, symbols)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PART, PART, PART), max_size=4))
def test_triples_come_back(symbols, value):
    piece = triples(symbols, 4096).preprocess(value, Context())
    back = triples(symbols).postprocess(piece.tensors["tokens"], Context())
    assert back == value
    assert all(same(a, b) for ours, theirs in zip(back, value, strict=True) for a, b in zip(ours, theirs, strict=True))
    assert piece.length > 0


@pytest.mark.parametrize(
    "value",
    [
        FACTS,
        [list(fact) for fact in FACTS],
        [dict(zip(("subject", "relation", "object"), fact, strict=True)) for fact in FACTS],
        [dict(zip(("subject", "predicate", "object"), fact, strict=True)) for fact in FACTS],
        '[["Ann", "born in", "Oslo"], ["Ann", "born", 1931], ["Bob | B", "is", true]]',
    ],
)
def test_forms_of_triples(symbols, value):
    assert write_triples(list(read_triples(value))) == WRITTEN
    assert parse_triples(WRITTEN) == FACTS
    assert triples(symbols).canonical(value) == FACTS
    assert TriplesText.texts(value, {}) == ["\n" + WRITTEN]


def test_no_triples():
    assert write_triples([]) == " -"
    assert parse_triples(" -") == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "got NoneType"),
        ("Ann", "got the text 'Ann'"),
        ({"subject": "a", "relation": "b", "object": "c"}, "got dict"),
        ([("a", "b")], r"triple 0 is \('a', 'b'\)"),
        ([("a", "b", "c"), "abc"], "triple 1 is 'abc'"),
        ([("a", "b", None)], "triple 0 .* a part is missing"),
        ([("a", "b", ["c"])], r"triple 0: a cell holds list \['c'\]"),
        ([{"subject": "a", "object": "c"}], r"triple 0 has \['subject', 'object'\]"),
        ([{"subject": "a", "relation": "b", "object": "c", "more": 1}], "triple 0 has"),
    ],
)
def test_what_are_no_triples(symbols, value, says):
    with pytest.raises(DataError, match=says):
        triples(symbols).preprocess(value, Context())
    assert TriplesText.texts(value, {}) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 0 has 1 parts"),
        (" a | b", "line 0 has 2 parts"),
        (" a | b | c\n", "line 1 has 1 parts"),
        (" a | | c", "a part is missing"),
        (' "a | b | c', "a quote is not closed"),
    ],
)
def test_text_that_is_no_triples_is_given_back_as_it_is(text, problem):
    found = parse_triples(text)
    assert isinstance(found, Malformed)
    assert found == text
    assert found.problem == problem


@given(st.text())
def test_any_text_is_triples_or_malformed(text):
    assert isinstance(parse_triples(text), (list, Malformed))


def test_only_whole_triples_that_fit(symbols):
    value = [("a cat", "is", number) for number in range(1000)]
    with pytest.warns(UserWarning, match="triples after the first fit max_length=40"):
        piece = triples(symbols, 40).preprocess(value, Context())
    back = triples(symbols).postprocess(piece.tensors["tokens"], Context())
    assert back == value[: len(back)]
    assert piece.info == {"kept": len(back) - 1, "dropped": 1000 - len(back)}
    with pytest.raises(DataError, match="the first triple does not fit"):
        triples(symbols, 3).preprocess(value, Context())
