from __future__ import annotations

import pickle
import time
from dataclasses import replace

import numpy as np
import pytest

from ofasys.generator.constraint import Constraint, bind
from ofasys.types import Branch, Fixed, Forced, Free, Gate, Given, Item, Loop, OneOf

RANGES = {"text": (4, 50), "bins": (50, 60)}
END = 3


def encode(text: str) -> list[int]:
    return [4 + ord(c) % 40 for c in text]


def make(*items: Item, closed: dict[int, list[list[int]]] | None = None) -> Constraint:
    return bind(items, encode=encode, ranges=RANGES, end=END, closed=closed or {})


def takes(constraint: Constraint, tokens: list[int]) -> bool:
    """Whether tokens are a whole sentence; step by step and as a walk."""
    states = np.array([constraint.start])
    seen = []
    for token in tokens:
        seen.append(int(states[0]))
        states = constraint.advance(states, np.array([token]))
    good = bool(states[0] >= 0)
    if good:
        assert constraint.walk(np.array(tokens)).tolist() == seen
    else:
        with pytest.raises(ValueError, match="position"):
            constraint.walk(np.array([*tokens, END]))
    return bool(states[0] == constraint.accept)


def test_free_text_ends_with_the_end_mark() -> None:
    constraint = make(Free(0, "text"))
    assert takes(constraint, [5, 6, 49, END])
    assert takes(constraint, [END])
    assert not takes(constraint, [5, 6])
    assert not takes(constraint, [5, 50, END])
    assert not takes(constraint, [5, END, 5])


def test_fixed_takes_exactly_its_bins() -> None:
    constraint = make(Fixed(0, "bins", 4, size=5))
    assert takes(constraint, [50, 54, 51, 50])
    assert not takes(constraint, [50, 54, 51])
    assert not takes(constraint, [50, 55, 51, 50])  # outside size
    assert not takes(constraint, [50, 5, 51, 50])  # a text token


def test_forced_text_is_a_chain() -> None:
    constraint = make(Forced("ab"), Free(0, "text"), Forced("c"))
    a, b, c = encode("abc")
    assert takes(constraint, [a, b, 7, END, c])
    assert not takes(constraint, [a, c])
    assert constraint.single[constraint.start] == a
    assert constraint.slot_of[constraint.start] == -1


def test_one_of_is_a_trie() -> None:
    labels = [[5, 6], [5, 6, 7], [8], [5, 9, 9], [8]]
    constraint = make(OneOf(0), closed={0: labels})
    for label in labels:
        assert takes(constraint, [*label, END])
    assert not takes(constraint, [5, END])
    assert not takes(constraint, [5, 6, 8])
    # prefixes 5, 56, 567, 8, 59, 599, the root and accept
    assert constraint.states == 8
    (group,) = constraint.classes
    assert group.candidates.tolist() == [END, 5, 6, 7, 8, 9]
    assert group.masked
    states = constraint.walk(np.array([5, 6, 7, END]))
    mask = constraint.allowed(states)
    assert [group.candidates[row].tolist() for row in mask] == [[5, 8], [6, 9], [END, 7], [END]]


def test_loop_of_boxes_and_texts() -> None:
    constraint = make(Loop((Fixed(0, "bins", 2), Free(1, "text"))))
    assert takes(constraint, [END])
    assert takes(constraint, [50, 51, 9, END, END])
    assert takes(constraint, [50, 51, END, 50, 51, 9, 9, END, END])  # here an empty text is no riddle
    assert not takes(constraint, [50, 51, 9, END])
    assert constraint.slot_of[constraint.start] == 0


def test_loop_of_texts_takes_no_empty_one() -> None:
    constraint = make(Loop((Free(0, "text"),)))
    assert takes(constraint, [9, 9, END, 8, END, END])
    assert takes(constraint, [9, END, END])
    assert not takes(constraint, [9, END, END, END])


def test_loop_that_begins_with_a_label_or_a_prompt() -> None:
    label = make(Loop((OneOf(0),)), closed={0: [[5], [6, 7]]})
    assert takes(label, [5, END, 6, 7, END, END])
    prompt = make(Loop((Forced("a"), Free(0, "text"))), Fixed(1, "bins", 1))
    (a,) = encode("a")
    assert takes(prompt, [a, 9, END, a, END, END, 55])
    assert takes(prompt, [END, 55])
    assert prompt.classes[int(prompt.class_of[prompt.start])].candidates.tolist() == sorted([END, a])


def test_whether_a_loop_goes_on_is_the_loss_of_its_first_slot() -> None:
    prompt = make(Loop((Forced("a"), Free(7, "text"))))
    assert prompt.slot_of[prompt.start] == -1
    assert prompt.loss_of[prompt.start] == 7
    label = make(Loop((OneOf(4), Free(7, "text"))), closed={4: [[5]]})
    assert label.loss_of.tolist() == label.slot_of.tolist()


@pytest.mark.parametrize(
    ("gate", "goes_on"),
    [
        (Gate(2, (Free(2, "text"),), None, ()), [9, 9, END]),
        (Gate(2, (Forced("a"), Fixed(2, "bins", 2)), None, ()), [*encode("a"), 50, 59]),
        (Gate(2, (Forced("a"),), None, ()), encode("a")),
        (Gate(2, (), "ways.again", ()), [60]),
        (Gate(2, (OneOf(2),), None, ()), [5, 6, END]),
    ],
)
def test_a_gate_ends_where_a_round_goes_on_elsewhere_or_what_comes_after(gate: Gate, goes_on: list[int]) -> None:
    ranges, closed = RANGES | {"ways.again": (60, 61)}, {2: [[5, 6]]}
    rest = replace(gate, rest=(Forced("c"), Fixed(3, "bins", 1)))
    two = replace(gate, rest=(rest,))
    for item, left, right in (
        (gate, [END], 1),
        (rest, [END, *encode("c"), 51], 1),
        (two, [END, END, *encode("c"), 51], 2),
    ):
        made = bind([Fixed(1, "bins", 1), item], encode=encode, ranges=ranges, end=END, closed=closed)
        for tokens, count in (([50, *goes_on], 0), ([50, *left], right)):
            assert takes(made, tokens)
            states = made.walk(np.array(tokens))
            assert made.left(states, np.array(tokens)) == count
            assert made.loss_of[states[1]] == 2
        assert not takes(made, [50, *goes_on, END])
        assert made.stoppable[made.walk(np.array([50, END]))[1]]
    assert made.left(made.walk(np.array([50, END, *goes_on])), np.array([50, END, *goes_on])) == 1
    again = pickle.loads(pickle.dumps(made))
    assert again.left(again.walk(np.array([50, END])), np.array([50, END])) == 1


def test_nested_loop() -> None:
    constraint = make(Loop((Fixed(0, "bins", 1), Loop((Free(1, "text"),)))))
    assert takes(constraint, [50, END, 51, 9, END, END, END])


def test_classes_are_slices_where_they_can_be() -> None:
    constraint = make(Free(0, "text"), Fixed(1, "bins", 4), Loop((Free(2, "text"),)))
    spans = {(group.lo, group.hi) for group in constraint.classes}
    assert spans == {(3, 50), (50, 60)}  # texts share one class, the end mark beside them
    assert not any(group.masked for group in constraint.classes)
    assert constraint.allowed(np.array([constraint.start])).all()


def test_reserve_is_what_must_still_come() -> None:
    constraint = make(Free(0, "text"), Fixed(1, "bins", 4), OneOf(2), closed={2: [[5], [6, 7, 8]]})
    assert constraint.reserve[constraint.start] == 1 + 4 + 3
    assert constraint.inside[constraint.start] == 1 + 8
    assert constraint.stoppable[constraint.start]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((Given(3),), "slot 3 is no choice among tokens"),
        ((Gate(0, (Forced(""),), None, ()),), "something to begin a round with"),
        ((Loop((Gate(0, (), "bins", ()),)),), "a loop may not begin with a loop"),
        ((Free(0, "codes"),), "no range 'codes'.*bins, text"),
        ((Fixed(0, "bins", 0),), "at least one"),
        ((Fixed(0, "bins", 4, size=11),), "1..10"),
        ((OneOf(0),), "no labels"),
        ((Loop(()),), "something to repeat"),
        ((Loop((Loop((Free(0, "text"),)),)),), "loop may not begin with a loop"),
        ((Free(0, "text", 0),), "room for a token"),
    ],
)
def test_refuses(items: tuple[Item, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(*items)


@pytest.mark.parametrize(
    ("labels", "message"), [([[5], []], "label 1 is empty"), ([[5, END]], "contains the end mark")]
)
def test_refuses_labels(labels: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(OneOf(0), closed={0: labels})


def test_end_mark_inside_a_range_is_refused() -> None:
    with pytest.raises(ValueError, match="inside the range"):
        bind([Free(0, "text")], encode=encode, ranges={"text": (0, 10)}, end=END)


def test_pickles() -> None:
    constraint = make(Forced("ab"), Loop((Fixed(0, "bins", 4), OneOf(1))), closed={1: [[5], [6, 7]]})
    tokens = np.array([*encode("ab"), 50, 50, 50, 50, 6, 7, END, END])
    states = constraint.walk(tokens)
    assert pickle.loads(pickle.dumps(constraint)).walk(tokens).tolist() == states.tolist()


def test_walk_of_a_long_text_is_no_loop_over_tokens() -> None:
    constraint = bind([Free(0, "text")], encode=encode, ranges={"text": (4, 50_000)}, end=END)
    tokens = np.append(np.random.default_rng(0).integers(4, 50_000, 1_000_000), END)
    began = time.perf_counter()
    states = constraint.walk(tokens)
    assert time.perf_counter() - began < 0.5
    assert (states == constraint.start).all()


def test_walk_names_the_position() -> None:
    with pytest.raises(ValueError, match="token 55 at position 2"):
        make(Free(0, "text")).walk(np.array([5, 6, 55, END]))


def test_ten_thousand_labels_build_fast() -> None:
    rng = np.random.default_rng(0)
    labels = [rng.integers(4, 50_000, size).tolist() for size in rng.integers(3, 7, 10_000)]
    ranges = {"text": (4, 50_000)}
    seconds = min(bind([OneOf(0)], encode=encode, ranges=ranges, end=END, closed={0: labels}).seconds for _ in range(5))
    assert seconds < 0.3  # 0.05 s on an idle machine; benchmarks/closed_set.md


def test_ways_and_labels_are_all_that_is_chosen_or_not() -> None:
    """A score is divided by its length only where a text is made: ways are not a length."""
    ways, closed = ((), (0,)), {0: [[5, 6], [7]]}
    ranges = RANGES | {"ways.2": (60, 62)}

    def labels(*inner: Item) -> bool:
        items = [Forced("ab"), Branch(0, "ways.2", (inner,), ways)]
        return bind(items, encode=encode, ranges=ranges, end=END, closed=closed, heads=[1]).labels

    assert labels(Forced("c"), OneOf(0))
    assert labels(Fixed(1, "bins", 1), OneOf(0))
    assert not labels(Fixed(0, "bins", 1))
    assert not labels(OneOf(0), Free(1, "text"))
