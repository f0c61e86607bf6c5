"""Each slot of an answer has room, whatever `max_length` is and however long the texts before it would go on."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ofasys import AnswerSession, GeneralistModel, OFASys, Task, Trainer
from ofasys.errors import ConfigError
from ofasys.generator import Constraint, SearchOptions, bind
from ofasys.generator.search import search
from ofasys.hub.asked import parsed
from ofasys.types import Branch, Fixed, Forced, Free, Item, Loop, OneOf, TaskCard
from tests.generator.toy import Toy

END, RANGES, V = 3, {"text": (4, 14), "bins": (14, 20)}, 20
LONG = 50
LABELS = [[5], [6, 7], [6, 8, 9]]

texts = st.builds(Free, st.just(0), st.just("text"), st.none() | st.integers(1, 6))
others = st.sampled_from([Fixed(0, "bins", 3), OneOf(0), Forced("ab"), Loop((Fixed(0, "bins", 2), Free(0, "text")))])
ways = st.sampled_from([{}, {"beam_size": 3}, {"sampling": True}, {"normalise": "vocabulary"}])


@st.composite
def sentences(draw: st.DrawFn) -> list[Item]:
    """A text first, then more; each item with a slot of its own."""
    items = [draw(texts), *draw(st.lists(texts | others, min_size=1, max_size=4))]
    return [numbered(item, place) for place, item in enumerate(items)]


def numbered(item: Item, slot: int) -> Item:
    if isinstance(item, Loop):
        return Loop(tuple(replace(one, slot=slot + 10 * place) for place, one in enumerate(item.items, 1)))
    return item if isinstance(item, Forced) else replace(item, slot=slot)


def made(items: list[Item], expected: int | None) -> Constraint:
    """expected: of texts that have no limit."""
    free = {item.slot: item.max_length or expected for item in items if isinstance(item, Free)} if expected else {}
    return bind(
        items,
        encode=lambda text: [4 + ord(c) % 10 for c in text],
        ranges=RANGES,
        end=END,
        closed=dict.fromkeys(range(6), LABELS),
        expected=free,
    )


def answered(constraint: Constraint, seed: int, most: int, **way: object) -> np.ndarray:
    (found,) = search(Toy(V, [seed], seed), constraint, [np.array([1])], SearchOptions(max_length=most, **way))
    return found[0].tokens


def slots(constraint: Constraint, tokens: np.ndarray) -> list[tuple[int, int]]:
    """(slot, how many tokens without end marks) of each slot, in order."""
    states = constraint.walk(tokens)
    owner = np.where(constraint.loops[states] & (tokens == END), -2, constraint.slot_of[states])
    return [
        (slot, sum(token != END for _, token in run))
        for slot, run in ((slot, list(run)) for slot, run in groupby(zip(owner, tokens, strict=True), lambda x: x[0]))
        if slot >= 0
    ]


@settings(max_examples=80, deadline=None)
@given(sentences(), st.none() | st.integers(1, 5), st.integers(0, 30), st.integers(0, 9), ways)
def test_whatever_goes_on_every_slot_has_room(items, expected, spare, seed, way):
    """Texts that never end of themselves: each has a token at least, and all it may have or is expected to have where
    there is room for that; what has one length is whole; the answer is as long as it may be.
    """
    constraint = made(items, expected)
    most = constraint.rest.tokens + spare
    tokens = answered(constraint, seed, most, min_length=most, min_items=1, **way)
    assert len(tokens) <= most + 1  # the last end mark is not counted
    found = slots(constraint, tokens)
    roomy = spare >= len(constraint.rest.wishes) * max((w.expected for w in constraint.rest.wishes), default=0)
    lengths = dict(found)
    for item in items:
        if isinstance(item, Free):
            length, limit = lengths[item.slot], item.max_length
            assert 1 <= length <= (limit or most)
            assert not roomy or length >= (limit or expected or 1)
        elif isinstance(item, Fixed):
            assert lengths[item.slot] == item.count
        elif isinstance(item, OneOf):
            assert lengths[item.slot] in (1, 2, 3)
        elif isinstance(item, Loop) and roomy:
            assert lengths.get(item.items[0].slot, 0) >= 2
    assert np.sum(constraint.takes, axis=0).tolist() == [constraint.rest.least, constraint.rest.tokens]


@settings(max_examples=30, deadline=None)
@given(sentences(), st.none() | st.integers(1, 5), st.integers(0, 20), st.sampled_from([{}, {"sampling": True}]))
def test_an_answer_that_leaves_the_others_their_room_is_what_it_is_without_a_limit(items, expected, seed, way):
    constraint = made(items, expected)
    kept = constraint.rest.tokens + sum(wish.expected for wish in constraint.rest.wishes)
    free = answered(constraint, seed, LONG + kept, max_items=2, **way)
    assume(len(free) < LONG)  # it came to its end by itself
    for most in (len(free) + kept, LONG):
        assert answered(constraint, seed, most, max_items=3, **way).tolist() == free.tolist()


@pytest.mark.parametrize("spare", [0, 1, 4, 9, 30])
@pytest.mark.parametrize("seed", range(4))
def test_every_way_on_has_room(spare, seed):
    """One long text on one of the ways, several on the other."""
    parts = (Free(1, "text"),), (Free(2, "text"), Free(3, "text"), Forced("a"), Free(4, "text", 3))
    items = [Free(0, "text"), Branch(0, "ways", parts, ((0,), (1,))), Free(5, "text")]
    expected = {0: 16, 1: 128, 2: 16, 3: 16, 4: 3, 5: 16}
    spans = {"text": (4, 14), "ways": (14, 16)}
    constraint = bind(items, encode=lambda text: [4], ranges=spans, end=END, expected=expected)
    most = constraint.rest.tokens + spare
    tokens = answered(constraint, seed, most, min_length=most)
    states = constraint.walk(tokens)
    way = [2, 3, 4] if 15 in tokens else [1]
    of_text = constraint.text[states] & (tokens != END)
    made = np.bincount(constraint.slot_of[states][of_text], minlength=6)
    assert (made[[0, *way, 5]] >= 1).all()
    assert len(tokens) <= most + 1


@settings(max_examples=30, deadline=None)
@given(sentences(), st.integers(1, 5), st.integers(0, 25), st.lists(st.integers(0, 99), min_size=2, max_size=4), ways)
def test_neighbours_change_nothing_of_it(items, expected, spare, numbers, way):
    constraint = made(items, expected)
    asked = SearchOptions(max_length=constraint.rest.tokens + spare, **way)
    prefixes = [np.arange(1, 2 + place) for place in range(len(numbers))]
    together = search(Toy(V, numbers), constraint, prefixes, asked, sources=numbers)
    for number, prefix, found in zip(numbers, prefixes, together, strict=True):
        (alone,) = search(Toy(V, [number]), constraint, [prefix], asked, sources=[number])
        assert [one.tokens.tolist() for one in alone] == [one.tokens.tolist() for one in found]


@pytest.mark.parametrize(
    ("items", "most", "lengths"),
    [
        ([Free(0, "text"), Free(1, "text")], 20, [10, 9]),  # one expects 16 too: both are cut to one height
        ([Free(0, "text"), Free(1, "text")], 60, [43, 16]),
        ([Free(0, "text"), Free(1, "text", 4)], 20, [15, 4]),
        ([Free(0, "text"), Free(1, "text"), Free(2, "text", 3)], 23, [9, 9, 3]),
        ([Free(0, "text", 2), Free(1, "text")], 20, [2, 17]),
        ([Free(0, "text"), OneOf(1)], 10, [6, 3]),
        ([Free(0, "text"), Loop((Fixed(1, "bins", 4), Free(2, "text")))], 14, [7, 4, 1]),
        ([Free(0, "text"), Loop((Fixed(1, "bins", 4), Free(2, "text")))], 13, [12]),  # no whole round has its share
    ],
)
def test_what_is_held(items, most, lengths):
    expected = {item.slot: item.max_length or 16 for item in items if isinstance(item, Free)}
    constraint = bind(items, encode=list, ranges=RANGES, end=END, closed={1: [[6, 8, 9]]}, expected=expected)
    tokens = answered(constraint, 1, most, min_length=most, min_items=1)
    assert [length for _, length in slots(constraint, tokens)] == lengths


WAYS = {"greedy": {}, "beams": {"beam_size": 3, "n_best": 2}, "drawn": {"sampling": True, "temperature": 2.0}}


@pytest.fixture
def two(tiny):
    """A model that answers with two texts and a label, and that line."""
    line = tiny.INSTRUCTIONS["two"]
    return OFASys(tiny.model(), [TaskCard("two", (line,), labels=tiny.LABELS)]), line


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_slots_of_a_line_have_room_alone_in_a_batch_and_in_a_session(tiny, two, way):
    model, line = two
    rows = [{"question": text} for text in ("what is it", "see", "a red cat and a dog")]
    least = model.program(parsed(line, model.model.modalities)).constraint.rest.tokens
    for most in (least, least + 7, least + 40):
        asked = {"max_length": most, "min_length": most, **way}
        found = model.inference(line, data=rows, **asked)
        with AnswerSession(model) as session:
            joined = [session.submit(line, row, seed=0, **asked) for row in rows]
            together = [one.result(60) for one in joined]
        for row, one, other in zip(rows, found, together, strict=True):
            assert one["first"] != ""
            assert one["second"] != ""
            assert one["group"] in tiny.LABELS["group"]
            if not way.get("sampling"):
                alone = model.inference(line, data=row, **asked)
                assert alone.values == one.values == other.values


def test_too_few_tokens_for_all_slots_are_an_error_that_names_them(two):
    model, line = two
    with pytest.raises(ConfigError) as told:
        model.inference(line, data={"question": "see"}, max_length=3)
    message = str(told.value)
    words = (
        r"max_length=3 has no room .* need (\d+) to (\d+) tokens \(TEXT:first 2, 'and' 2, TEXT:second 2, .* 2 to 13\);"
    )
    least, enough = map(int, re.search(words, message).groups())
    assert message.endswith(f"give max_length={enough} or more")
    assert all(model.inference(line, data={"question": "see"}, max_length=enough).values.values())
    assert model.inference(line, data={"question": "see"}, max_length=least)["group"]
    with pytest.raises(ConfigError, match="has no room"):
        model.inference(line, data={"question": "see"}, max_length=least - 1)


def test_a_limit_of_what_has_one_length_stays_without_effect(tiny):
    model = OFASys(tiny.model(), [TaskCard("ground", (tiny.INSTRUCTIONS["ground"],), tiny.SETTINGS)])
    row = tiny.ROWS["ground"][0]
    assert len(model.inference(tiny.INSTRUCTIONS["ground"], data=row, max_length=1)["box"]) == 4


def test_a_run_whose_answers_have_no_room_does_not_begin(tmp_path):
    rows = [{"q": "a", "b": "see", "c": "no"}] * 4
    task = Task("both", "[TEXT:q] -> [TEXT:b] [TEXT:c]", rows, rows, metrics=["accuracy"], generate={"max_length": 2})
    with pytest.raises(ConfigError, match="task 'both': they need 3 tokens"):
        Trainer(max_steps=1, out=tmp_path, live=False).fit(model=GeneralistModel(size="tiny"), tasks=[task])
