"""A text with a grammar is a sentence of it, whatever the model says, and there is always a way on."""

import json
import pickle
import re
import sqlite3

import jsonschema
import numpy as np
import pytest
import tiny as shared
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from ofasys import OFASys, flow
from ofasys.errors import PlanError
from ofasys.generator.grammar import Grammar
from ofasys.generator.options import SearchOptions
from ofasys.modality.symbols import Symbols

WAYS = {
    "greedy": {},
    "beams": {"beam_size": 3},
    "drawn": {"sampling": True, "temperature": 3.0},
    "all tokens count": {"normalise": "vocabulary", "beam_size": 2},
    "hard": {"no_repeat_ngram_size": 1, "min_length": 30},
}
REGEXES = [
    "yes|no|not sure",
    "[0-9]{1,3}/[0-9]{1,2}",
    "[а-яё]{2,4}( [а-я]{1,3}){0,2}",
    "(日本語|にほんご|カタカナ){1,3}[。！]",
    "(😀|👍🏽|é|ab){2}",
    r"a\/b[^x]{0,3}",
]
SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cat", "собака", "鳥"]},
        "legs": {"type": "integer", "minimum": 0, "maximum": 9},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
    },
    "required": ["kind", "legs", "names"],
    "additionalProperties": False,
}
SQL = """
start: "SELECT " columns " FROM pets" (" WHERE " test (" AND " test)?)? (" LIMIT " COUNT)?
columns: "*" | "COUNT(*)" | NAME (", " NAME)?
test: NAME " " OPERATOR " " (COUNT | TEXT)
NAME: "name" | "legs" | "born"
OPERATOR: "=" | "<" | ">" | "<>"
COUNT: /[1-9][0-9]{0,2}/
TEXT: /'[^'\\n]{0,5}'/
"""


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def program_of(tiny, attribute, value):
    line = flow.parse("[TEXT:question] -> [TEXT:first]")
    return flow.bind(tiny.model(), flow.plan(line, settings={f"first.{attribute}": value}), {})


def answers(tiny, program, draws=3, **way):
    samples = [flow.preprocess(program, row, target=False) for row in tiny.ROWS["two"]]
    for seed in range(draws if way.get("sampling") else 1):
        options = SearchOptions(max_length=120, seed=seed, **way)
        for sample, (best, *_) in zip(samples, flow.generate(tiny.model(), program, samples, options), strict=True):
            assert best.finished
            yield flow.postprocess(program, sample, best)["first"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("regex", REGEXES)
def test_a_text_matches_its_regex(tiny, regex, way):
    program = program_of(tiny, "regex", regex)
    for text in answers(tiny, program, **WAYS[way]):
        assert re.fullmatch(regex, text), text


@pytest.mark.parametrize("way", ["greedy", "beams", "drawn"])
def test_a_text_is_json_by_its_schema(tiny, way):
    program = program_of(tiny, "json_schema", json.dumps(SCHEMA))
    for text in answers(tiny, program, **WAYS[way]):
        jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.parametrize("way", ["greedy", "beams", "drawn"])
def test_a_text_is_sql_that_runs(tiny, way):
    program = program_of(tiny, "grammar", SQL)
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE pets (name TEXT, legs INTEGER, born INTEGER)")
        for text in answers(tiny, program, **WAYS[way]):
            database.execute(text).fetchall()


def test_the_fairseq_way_too(tiny):
    line = flow.parse("[TEXT:question] -> [TEXT:first,generator=fairseq]")
    program = flow.bind(tiny.model(), flow.plan(line, settings={"first.regex": REGEXES[3]}), {})
    for text in answers(tiny, program, beam_size=3):
        assert re.fullmatch(REGEXES[3], text), text


def test_in_a_repetition_each_text_matches(tiny):
    line = flow.parse("[TEXT:question] -> ([TEXT:first])*")
    program = flow.bind(tiny.model(), flow.plan(line, settings={"first.regex": "(ab|日本){1,2}"}), {})
    samples = [flow.preprocess(program, {"question": row["question"]}, target=False) for row in tiny.ROWS["two"]]
    options = SearchOptions(min_items=2, max_items=3)
    for sample, (best, *_) in zip(samples, flow.generate(tiny.model(), program, samples, options), strict=True):
        texts = flow.postprocess(program, sample, best)["first"]
        assert 2 <= len(texts) <= 3
        assert all(re.fullmatch("(ab|日本){1,2}", text) for text in texts)


letters = st.sampled_from(["a", "b1", "日", "ж", "é", " ", "😀"]).map(re.escape)
classes = st.sampled_from(["[ab]", "[а-я]", "[^a]", "[0-9]", "(?:日|本)"])
atoms = st.one_of(letters, classes)
parts = st.tuples(atoms, st.sampled_from(["", "?", "{1,2}", "{0,2}"])).map("".join)
regexes = st.lists(st.lists(parts, min_size=1, max_size=3).map("".join), min_size=1, max_size=3).map(
    lambda ways: "|".join(f"(?:{way})" for way in ways)
)
PIECES, _ = Symbols(shared.tokenizer(), shared.grown(("language",)).symbols.vocabulary).pieces()


@settings(max_examples=60, deadline=None)
@given(regexes, st.randoms(use_true_random=False))
def test_there_is_always_a_way_on_and_it_ends_in_a_match(regex, draw):
    guide, made = Grammar("regex", regex, PIECES).begin(), []
    for _ in range(200):
        ways = np.flatnonzero(guide.allowed())
        way = int(draw.choice(list(ways)))
        if way == len(PIECES):
            break
        other = guide.copy()
        other.take(int(ways[0])) if ways[0] < len(PIECES) else None  # a copy moves nothing of the other
        guide.take(way)
        made.append(way)
    assert way == len(PIECES)
    assert re.fullmatch(regex, b"".join(PIECES[one] for one in made).decode())


def test_the_pieces_are_the_bytes_of_what_they_decode_to(tiny):
    symbols = tiny.model().symbols
    pieces, blank = symbols.pieces()
    assert not blank
    for text in ("a red cat", "日本語 кот 😀\n\t", "don't (stop)"):
        ids = [one - symbols.text_start for one in symbols.encode(text)]
        assert b"".join(pieces[one] for one in ids).decode() == text


def test_a_blank_before_the_text_is_allowed_where_sentencepiece_writes_one(tiny):
    vocabulary = {
        "<unk>": 0,
        "▁": 1,
        "▁yes": 2,
        "yes": 3,
        "y": 4,
        "es": 5,
        "▁no": 6,
        "<0xE6>": 7,
        "<0x97>": 8,
        "<0xA5>": 9,
    }
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in vocabulary], unk_id=0))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Sequence(steps)
    symbols = Symbols(tokenizer, tiny.model().symbols.vocabulary)
    symbols.text_end = symbols.text_start + len(vocabulary)
    symbols.offset = symbols.text_start
    pieces, blank = symbols.pieces()
    assert blank
    assert pieces[2] == b" yes"
    assert pieces[7:10] == [b"\xe6", b"\x97", b"\xa5"]
    for kind, text in {"regex": "yes|日", "grammar": 'start: "yes" | "日"', "json_schema": '{"enum": ["yes"]}'}.items():
        allowed = np.flatnonzero(Grammar(kind, text, pieces, blank).begin().allowed()).tolist()
        assert 1 in allowed
        if kind != "json_schema":
            assert {2, 3, 4, 7} <= set(allowed)
        assert 6 not in allowed


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("regex", "[a-c", "unclosed character class"),
        ("json_schema", "{", "is no JSON"),
        ("json_schema", "[1]", "is no schema"),
        ("grammar", "stat: 1", "no start rule|is none"),
    ],
)
def test_what_is_no_grammar_is_told_with_its_slot(tiny, attribute, value, said):
    with pytest.raises(PlanError, match=rf"(?s)first.*({said})"):
        program_of(tiny, attribute, value)


def test_two_at_once_and_closed_sets_are_refused(tiny):
    both = flow.plan(flow.parse("[TEXT:question] -> [TEXT:first,regex=a,grammar=b]"))
    with pytest.raises(PlanError, match="leave one out"):
        flow.bind(tiny.model(), both, {})
    beside = flow.plan(flow.parse("[TEXT:question] -> [TEXT:first,regex=a,closed_set]"))
    with pytest.raises(PlanError, match="beside closed_set"):
        flow.bind(tiny.model(), beside, {"first": ["a"]})


def test_asked_as_an_attribute_of_the_line(tiny):
    out = OFASys(tiny.model()).inference(
        f"[TEXT:question] -> [TEXT:first,regex={quoted(REGEXES[1])}]", {"question": "a"}
    )
    assert re.fullmatch(REGEXES[1], out["first"])


def test_a_program_with_a_grammar_travels(tiny):
    program = pickle.loads(pickle.dumps(program_of(tiny, "regex", "yes|no")))
    assert set(answers(tiny, program)) <= {"yes", "no"}
