"""Programs of a model that answers: found by line and by column, and no more of them kept than their size allows."""

from __future__ import annotations

import copy

import pytest

from ofasys import GeneralistModel, OFASys
from ofasys.errors import ConfigError
from ofasys.flow import parse, plan
from ofasys.hub import programs as room
from ofasys.hub.programs import Kept, Programs
from ofasys.language import Instruction
from ofasys.types import TaskCard

LINE = "[TEXT:a] -> [CATEGORY:c]"
RANKED = LINE.replace("c]", "c,generator=rank]")


@pytest.fixture(scope="module")
def model(tiny):
    made = GeneralistModel(config=tiny.CONFIG, text_pieces=260)
    made.grow([(plan(parse(LINE)), {"c": ["yes", "no"]})], lambda: ["a cat"])
    return made


def test_a_set_seen_before_is_not_bound_again_and_a_changed_list_is_another(model, monkeypatch):
    served, bound = OFASys(model), []
    monkeypatch.setattr(room.flow, "bind", lambda m, p, labels: bound.append(labels) or m.bind(p, labels))
    labels = ["one", "two", "three"]
    ask = lambda given: {out.label for out in served.inference(RANKED, data={"a": "x"}, closed_set=given).nbest}  # noqa: E731
    assert ask(labels) == ask(list(labels)) == ask({"c": tuple(labels)}) == {"one", "two", "three"}
    assert len(bound) == 1
    labels[0] = "four"
    assert ask(labels) == {"four", "two", "three"}
    labels.append("five")
    assert ask(labels) == {"four", "two", "three", "five"}
    assert ask([1, True, 1.0, "1"]) == {"1", "True"}
    assert ask([True, 1]) == {"1", "True"}
    assert len(bound) == 5
    with pytest.raises(ConfigError, match="the closed set of 'c'"):
        ask(["one", ""])
    with pytest.raises(ConfigError, match="give a list of labels"):
        ask("yes")


def test_what_is_kept_is_bounded_by_number_and_by_size():
    kept = Kept(count=3, size=10)
    for name, size in (("a", 1), ("b", 1), ("c", 1), ("d", 1)):
        kept.put(name, name, size)
    assert list(kept) == ["b", "c", "d"]
    assert kept.get("b") == "b"  # the newest now
    kept.put("e", "e", 9)
    assert list(kept) == ["b", "e"]
    assert kept.put("f", "f", 99) == "f"  # the newest always
    assert (list(kept), kept.total) == (["f"], 99)
    assert kept.put("f", "other", 1) == "f"
    assert kept.get("a") is None


def test_large_sets_push_each_other_out(model, monkeypatch):
    monkeypatch.setattr(room, "KEPT_LABELS", 300)
    served = OFASys(model)
    for i in range(5):
        served.inference(LINE, data={"a": "x"}, closed_set=[f"{i} {j}" for j in range(100)])
    assert len(served.programs) == 2


def cards(count):
    settings = {"TEXT.max_length": 9, "CATEGORY.uncased": True}
    return [
        TaskCard(f"t{i}", (f"task {i} [TEXT:a] -> [CATEGORY:c{i}]",), settings, {f"c{i}": ["yes", "no"]})
        for i in range(count)
    ]


def test_a_line_not_seen_before_reads_no_other_tasks_lines(model, monkeypatch):
    served, read = Programs(model, cards(300)), []
    monkeypatch.setattr(room, "Instruction", lambda *given: read.append(given) or Instruction(*given))
    program, card = served.of(parse("and now [TEXT:a] -> [CATEGORY:c7]"))
    assert card is None
    assert program.labels[1] == ("yes", "no")
    assert program.plan.slots[0].values["max_length"] == 9
    assert served.of(parse("task 8 [TEXT:a] -> [CATEGORY:c8]"))[1].name == "t8"
    assert not read


def test_settings_that_tasks_agree_on_reach_a_new_line(model):
    def one(**second):
        first = TaskCard("a", ("[TEXT:a] -> [CATEGORY:c]",), {"TEXT.max_length": 9}, {"c": ["no", "yes"]})
        other = TaskCard("b", ("so [TEXT:a] -> [CATEGORY:c]",), second, {"c": ["no", "yes"]})
        return Programs(model, [first, other]).of(parse("new [TEXT:a] -> [CATEGORY:c]"))[0].plan.slots[0].values

    assert one(**{"TEXT.max_length": 9})["max_length"] == 9
    assert one(**{"TEXT.max_length": 8})["max_length"] not in (8, 9)
    assert one()["max_length"] != 9


def test_tasks_that_differ_must_be_told_apart(model):
    both = [
        TaskCard(n, (f"{n} [TEXT:a] -> [CATEGORY:c]",), {}, {"c": labels})
        for n, labels in (("a", ["x", "y"]), ("b", ["x"]))
    ]
    served = Programs(model, both)
    with pytest.raises(ConfigError, match="tasks a, b have different closed sets for 'c'"):
        served.of(parse(LINE))
    assert served.of(parse(LINE), ["y", "x"])[0].labels[1] == ("x", "y")  # in the order that a task learned
    assert served.of(parse(LINE), ["z", "x"])[0].labels[1] == ("z", "x")


def test_programs_are_copied_without_what_is_kept(model):
    served = OFASys(model, cards(2))
    served.inference(LINE, data={"a": "x"}, closed_set=["p", "q"])
    again = copy.deepcopy(served.programs)
    assert (len(served.programs), len(again)) == (1, 0)
    assert again.of(parse(LINE), ["p", "q"])[0].labels[1] == ("p", "q")
