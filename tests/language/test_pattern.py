"""Patterns from outside: refused where they do not fit, read with their place where a line is none, and run."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ofasys import ConfigError, DataError, GeneralistModel, OFASys, PlanError, Task, Trainer, flow, plan
from ofasys.errors import InstructionError, PluginError
from ofasys.language import Instruction
from ofasys.modality import BUILT_IN, lexicon
from ofasys.modality import registry as room
from ofasys.testing import check_pattern

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
from patterns import CHOICE, MAYBE

REGISTRY = BUILT_IN.with_(CHOICE, MAYBE)
WORDS = lexicon(REGISTRY)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "Choice"}, "a name is small letters"),
        ({"opens": "["}, "opens='['; it is one character of"),
        ({"closes": "}}"}, "closes='}}'"),
        ({"between": "-"}, "between='-'"),
        ({"closes": ""}, "has no closes"),
        ({"between": "{"}, "one character twice"),
        ({"opens": ""}, "between='|' and no opens"),
        ({"least": 0}, "least=0"),
        ({"between": "", "least": 2}, "least=2"),
    ],
)
def test_a_record_that_cannot_be_told_from_the_language_is_refused(change, why):
    with pytest.raises(ConfigError, match=re.escape(why)):
        replace(CHOICE, **change)


def test_two_patterns_of_one_name_or_one_character_are_refused():
    with pytest.raises(ConfigError, match="pattern 'choice' is registered already"):
        REGISTRY.with_(replace(CHOICE, opens="<", closes=">"))
    with pytest.raises(ConfigError, match=r"patterns 'choice' and 'other' are both written with '\{'"):
        REGISTRY.with_(replace(CHOICE, name="other", closes=">"))
    with pytest.raises(ConfigError, match="a str cannot be registered"):
        BUILT_IN.with_("choice")


@pytest.mark.parametrize(
    ("ways", "why"),
    [
        (lambda n: None, "None, which is no list of ways"),
        (lambda n: [(0, 0), (1,)], r"the way \(0, 0\); a way names parts 0\.\.1, each once"),
        (lambda n: [(0,), (n,)], r"the way \(2,\)"),
        (lambda n: [(0, 1), (1, 0)], "two ways with the same parts"),
        (lambda n: [(0,)], "in which a part never stands"),
        (lambda n: [("0",), (1,)], r"the way \('0',\)"),
    ],
)
def test_ways_that_are_none_name_the_pattern(ways, why):
    words = lexicon(BUILT_IN.with_(replace(CHOICE, ways=ways)))
    with pytest.raises(PluginError, match=rf"pattern 'choice': ways\(2\) gave .*{why}"):
        Instruction("{[TEXT:a]|[TEXT:b]} -> [TEXT:c]", words)


@pytest.mark.parametrize(
    ("line", "place", "message", "hint"),
    [
        ("{[TEXT:a]|[TEXT:b] -> [TEXT:c]", (0, 1), "this { begins a choice that is not closed", r"written \{"),
        (
            "([TEXT:z] {[TEXT:a]|[TEXT:b])* -> [TEXT:c]",
            (10, 11),
            "begins a choice that is not closed",
            "close it with }",
        ),
        ("[TEXT:a]} -> [TEXT:c]", (8, 9), "this } closes nothing", r"written \}"),
        ("{[TEXT:a]} -> [TEXT:c]", (0, 10), "a choice has at least 2 parts, and here is 1", "{...|...}"),
        ("{[TEXT:a]|so} -> [TEXT:c]", (10, 12), "a part of a choice without a slot", "a slot into each part"),
        ("{[TEXT:a]|} -> [TEXT:c]", (0, 11), "a part of a choice without a slot", "a slot into each part"),
        ("{} -> [TEXT:c]", (0, 2), "at least 2 parts", "{...|...}"),
        ("{([TEXT:a])*|[TEXT:b]} -> [TEXT]", (1, 12), "a repetition inside a choice", "slots and plain text"),
        ("{[ [TEXT:a] ]*|[TEXT:b]} -> [TEXT]", (1, 14), "a repetition inside a choice", "slots and plain text"),
        ("({[TEXT:a]|[TEXT:b]})* -> [TEXT]", (1, 20), "a choice inside a repetition", "before or after ( ... )*"),
        ("([TEXT:a]? [TEXT:b])* -> [TEXT]", (1, 10), "a maybe inside a repetition", "before or after ( ... )*"),
        ("{[TEXT:a]|{[TEXT:b]|[TEXT:c]}} -> [TEXT]", (10, 29), "a choice inside a choice", "slots and plain text"),
        ("{[TEXT:a]?|[TEXT:b]} -> [TEXT]", (1, 10), "a maybe inside a choice", "slots and plain text"),
        ("{[TEXT:a|IMAGE:b]|[TEXT:c]} -> [TEXT]", (1, 17), "a contrast inside a choice", "slots and plain text"),
        ("[TEXT:a|IMAGE:b]? ->", (0, 16), "a contrast inside a maybe", "slots and plain text"),
        (
            "{[TEXT:a]|[TEXT:a]} -> [TEXT:b]",
            (1, 9),
            "the name 'a' stands inside a pattern and once more",
            "another name",
        ),
        ("[TEXT:a]? -> [TEXT:a]", (0, 8), "the name 'a' stands inside a pattern", "choose another name"),
        ("[{[TEXT:a]|[TEXT:b]] -> [TEXT]", (19, 20), "this bracket closes nothing", r"\]"),
        ("{[ [TEXT:a]|[TEXT:b]} -> [TEXT]", (1, 2), "this bracket is not closed", "close it with ]"),
        ("{[TEXT:a],[TEXT:b]} -> [TEXT]", (0, 19), "at least 2 parts, and here is 1", "| between its parts"),
        ("{[TEXT:a]|[TEXT:b]}? -> [TEXT]", (19, 20), "a ? right after a choice", "a maybe is one slot, [TYPE:name]?;"),
        (
            "{[TEXT:a]|[TEXT:b]}* -> [TEXT]",
            (19, 20),
            "a * right after a choice",
            "it is not repeated; for the character",
        ),
        ("[TEXT:a]?* -> [TEXT]", (9, 10), "a * right after a maybe", "leave a blank before it"),
        ("[TEXT:a]?? -> [TEXT]", (9, 10), "a ? right after a maybe", "leave a blank before it"),
        ("([TEXT:a])*? -> [TEXT]", (11, 12), "a ? right after a repetition", "a maybe is one slot"),
        (
            "[TEXT:a?] -> [TEXT]",
            (6, 8),
            "the name 'a?' is not made of word",
            "for a maybe write [TEXT:a]?; else write it in",
        ),
        ("{" + "|".join(["[TEXT]"] * 17) + "} -> [TEXT:q]", (0, 120), "at most 16", "{...|...}"),
    ],
)
def test_a_line_that_is_none_says_where(line, place, message, hint):
    with pytest.raises(InstructionError) as caught:
        Instruction(line, WORDS)
    assert message in caught.value.message
    assert (caught.value.start, caught.value.end) == place
    assert hint in caught.value.hint


def test_more_ways_than_a_model_is_asked_to_tell_apart_are_refused():
    every = replace(CHOICE, ways=lambda n: [tuple(p for p in range(n) if way >> p & 1) for way in range(2**n)], least=1)
    words = lexicon(BUILT_IN.with_(every))
    assert Instruction("{" + "|".join(["[TEXT]"] * 8) + "} -> [TEXT:q]", words)
    with pytest.raises(InstructionError, match="the 9 parts of this choice may stand in 512 ways"):
        Instruction("{" + "|".join(["[TEXT]"] * 9) + "} -> [TEXT:q]", words)


def test_prose_keeps_their_characters_behind_a_backslash_or_a_blank():
    made = Instruction(r"a set \{x\} | of [TEXT:a] ? what? -> [TEXT:b]", WORDS)
    assert [str(s) for s in made.source.segments] == [r"a set {x} | of", "[TEXT:a]", "? what?"]
    assert str(made) == r"a set \{x\} | of [TEXT:a] ? what? -> [TEXT:b]"
    spaced = "{[TEXT:a]|[TEXT:b]} * or ? ([TEXT:d])* ? [TEXT:e]? ? -> [TEXT:c]"
    assert str(Instruction(spaced, WORDS)) == spaced.replace("([TEXT:d])", "( [TEXT:d] )")
    assert (
        str(Instruction("a set {x} of [TEXT:a]? -> [TEXT:b]", lexicon(BUILT_IN)))
        == "a set {x} of [TEXT:a] ? -> [TEXT:b]"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[AUDIO:a,criterion=ctc,ctc_target=t]? -> [TEXT:b]", "a criterion on a slot inside a pattern of the source"),
        ("[TEXT:q] -> {[TEXT:a,no_loss]|[TEXT:b]} [TEXT:c]", "TEXT:a: a no_loss slot inside a pattern of the target"),
        ("[TEXT:q] -> {[AUDIO:a]|[TEXT:b]}", "AUDIO:a: a value that is no tokens inside a pattern of the target"),
        ("[TEXT:q] -> {[TEXT:a,closed_set,generator=rank]|[TEXT:b]}", "generator=rank answers one closed set"),
        ("[TEXT:q] -> [TEXT:a,criterion=reward,reward=cider]?", "criterion=reward learns one value"),
        (
            "[AUDIO:w,criterion=ctc,ctc_target=t] -> [TEXT:t]?",
            "AUDIO:w: ctc_target=t names what a row may lack; take it",
        ),
        ("{[IMAGE:i] a|[BOX:x] b} -> [TEXT:t]", "BOX:x: it lies in IMAGE:i, and no row has both; write both into one"),
        ("{[IMAGE:i]|[IMAGE:j]} -> [BOX:x]", "BOX:x: it could lie in any of i, j; say which: [BOX:x,of=i]"),
    ],
)
def test_what_cannot_stand_in_a_pattern_is_refused_when_it_is_planned(line, message):
    with pytest.raises(PlanError, match=re.escape(message)):
        plan(line, modalities=REGISTRY)


def test_a_box_lies_in_the_picture_of_its_own_part():
    made = plan("{[IMAGE:i] at [BOX:x]|[IMAGE:j] at [BOX:y]} -> [TEXT:t]", modalities=REGISTRY)
    assert {slot.column: slot.refers_to for slot in made.slots if slot.modality == "BOX"} == {"x": 0, "y": 2}
    both = replace(CHOICE, ways=lambda n: [(0,), (1,), (1, 0)])
    made = plan("{[IMAGE:i] a|[BOX:x] b} -> [TEXT:t]", modalities=BUILT_IN.with_(both))
    assert made.slots[1].refers_to == 0


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [CHOICE, MAYBE])
def test_the_examples_keep_their_contract(pattern):
    assert str(check_pattern(pattern)).startswith(f"pattern {pattern.name} keeps its contract")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"about": ""}, None),
        ({"ways": lambda n: [tuple(range(n))]}, None),  # all parts, always
    ],
)
def test_odd_patterns_keep_it_too(change, why):
    assert why is None
    assert check_pattern(replace(CHOICE, least=2, **change)).checked


def test_by_an_entry_point(monkeypatch):
    module = type(sys)("pattern_of_a_package")
    module.MINE = replace(CHOICE, name="mine")
    monkeypatch.setitem(sys.modules, "pattern_of_a_package", module)
    entry = importlib.metadata.EntryPoint("mine", "pattern_of_a_package:MINE", "ofasys.patterns")
    monkeypatch.setattr(room, "entry_points", lambda group: [entry] if group == "ofasys.patterns" else [])
    room.default_registry.cache_clear()
    try:
        assert [one.name for one in room.default_registry().patterns] == ["mine"]
    finally:
        room.default_registry.cache_clear()


LINE = "{the letter [TEXT:a]|the number [NUMBER:n]} [TEXT:h]? -> {twice [TEXT:b]|[PHONE:p]} [CATEGORY:c]?"
ROWS = [
    ({"a": letter} if letters else {"n": float(i)})
    | ({"h": "please", "c": "even" if i % 2 == 0 else "odd"} if polite else {})
    | ({"b": letter * 2} if letters else {"p": "AH" if i % 2 else "K T"})
    for i, letter in enumerate("xyzu")
    for letters in (True, False)
    for polite in (True, False)
]
GIVEN = ("a", "n", "h")


@pytest.mark.slow
def test_a_model_learns_which_way_to_go(tmp_path, caplog):
    task = Task("t", LINE, train=ROWS, valid=ROWS, metrics=[], modalities=REGISTRY, micro_batch_size=16)
    model = GeneralistModel("tiny", modalities=REGISTRY, text_pieces=300)
    trainer = Trainer(max_steps=100, lr=3e-3, live=False, precision="float32")
    trainer.fit(model=model, tasks=task)
    last = trainer.history[-1]
    assert (last["choice"], last["maybe"]) == (1.0, 1.0)
    OFASys(model).save_pretrained(tmp_path / "saved")
    answering = OFASys.from_pretrained(tmp_path / "saved", modalities=REGISTRY)
    assert "not installed" not in caplog.text
    OFASys.from_pretrained(tmp_path / "saved")
    said = "trained with pattern choice of module patterns, pattern maybe of module patterns, which is not installed"
    assert said in caplog.text
    outs = answering.inference(LINE, data=[{k: v for k, v in row.items() if k in GIVEN} for row in ROWS])
    for row, out in zip(ROWS, outs, strict=True):
        assert out.values == {name: row.get(name) for name in ("b", "p", "c")}
        assert str(out) == " ".join(row[name] for name in ("b", "p", "c") if name in row)
    with pytest.raises(DataError, match=r"the row has a, n .*expected the columns of one way of this choice: a \| n"):
        answering.inference(LINE, data={"a": "x", "n": 1.0})


def test_a_row_of_no_way_is_a_bad_row(caplog):
    task = Task("t", LINE, train=[*ROWS, {"h": "what"}], modalities=REGISTRY, micro_batch_size=4)
    model = GeneralistModel("tiny", modalities=REGISTRY, text_pieces=300)
    trainer = Trainer(max_steps=6, live=False, precision="float32")
    trainer.fit(model=model, tasks=task)
    assert "1 of its 17 training rows were left out as bad, the first: the row has none of its columns" in caplog.text


def test_what_a_row_is_asked_for():
    line = Instruction("[IMAGE:i]? {[TEXT:a]|[AUDIO:b]} -> [TEXT:c] [TEXT:d]?", WORDS)
    assert (line.needed, line.asked) == ((), ("i", "a", "b"))
    assert [str(parts.alternatives) for parts in line.source_parts] == ["[IMAGE:i]?", "{[TEXT:a]|[AUDIO:b]}"]
    line = Instruction("[IMAGE:i]? [TEXT:q] -> [TEXT:c]", WORDS)
    assert (line.needed, line.asked) == (("q",), ("q",))


def test_format_fills_by_position_and_by_name():
    line = Instruction("[IMAGE:i]? {[TEXT:a]|[AUDIO:b]} [TEXT:q] -> [TEXT:c]", WORDS)
    assert line.needed == ("q",)
    assert dict(line.format("why", a="so").data) == {"a": "so", "q": "why"}
    with pytest.raises(DataError, match="the row has none of its columns"):
        line.format("why")


def test_neighbours_that_stand_in_other_ways_change_nothing():
    """Rows of one batch may stand in different ways: a row's losses are those it has alone."""
    task = Task("t", LINE, train=ROWS, modalities=REGISTRY)
    model = GeneralistModel("tiny", modalities=REGISTRY, text_pieces=300)
    model.grow([(task.plan, task.labels)], task.texts, lambda p, slot: task.examples(p, slot))
    model.eval()
    program = flow.bind(model, task.plan, task.labels)
    samples = [flow.preprocess(program, row) for row in ROWS]

    def sums(some):
        return model(program, flow.collate(program, some)).sums

    together, alone = sums(samples), sum(sums([sample]) for sample in samples)
    assert together.tolist() == pytest.approx(alone.tolist(), rel=1e-4)
