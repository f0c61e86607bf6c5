"""Labels of closed sets are chosen as wholes: the likeliest of all, whatever the beams, wherever the slot stands."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.generator import Constraint, SearchOptions, bind
from ofasys.generator.on_demand import OnDemand
from ofasys.generator.rank import rank
from ofasys.generator.search import Hypothesis, search
from ofasys.types import Branch, Fixed, Forced, Free, Item, Loop, OneOf
from tests.generator.toy import Toy

END, V = 3, 24
RANGES = {"text": (4, 14), "bins": (14, 24), "ways.2": (24, 26)}
PREFIXES = [np.array([1]), np.array([1, 2, 5])]
LABELS = [[4], [4, 5], [4, 5, 6, 7, 8], [5], [6, 7], [6, 8, 9]]


def make(items: list[Item], labels: list[list[int]] = LABELS, **more: Any) -> Constraint:
    closed = {2: labels, 5: [[9, 9, 9, 9], [10]]}
    return bind(
        items, encode=lambda text: [4 + ord(c) % 10 for c in text], ranges=RANGES, end=END, closed=closed, **more
    )


def exact(toy: Toy, prefix: np.ndarray, source: int, answer: list[int], constraint: Constraint) -> float:
    """Log-probability of an answer, token by token, over what may come."""
    state, total = constraint.start, 0.0
    hidden = toy.first[source]
    for token in prefix:
        hidden = torch.tanh(hidden @ toy.mix + toy.table[int(token)])
    for token in answer:
        may = [t for t in range(len(toy.table)) if constraint.advance(np.array([state]), np.array([t]))[0] >= 0]
        total += float(torch.log_softmax((toy.table[may] @ hidden).double(), 0)[may.index(token)])
        state = int(constraint.advance(np.array([state]), np.array([token]))[0])
        hidden = torch.tanh(hidden @ toy.mix + toy.table[token])
    return total


label_sets = st.lists(
    st.lists(st.integers(4, 8), min_size=1, max_size=5).map(tuple), min_size=1, max_size=30, unique=True
).map(lambda found: [list(label) for label in found])


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(label_sets, st.integers(0, 50), st.integers(1, 5), st.sampled_from([0.0, 1.0, -1.0]), st.integers(1, 5))
def test_search_agrees_with_rank_and_with_every_label_by_hand(
    labels: list[list[int]], seed: int, beams: int, penalty: float, chunk: int
) -> None:
    constraint, toy = make([OneOf(2)], labels), Toy(V, [seed, seed + 1], seed)
    table = rank(toy, constraint, PREFIXES, chunk=chunk)
    options = SearchOptions(beam_size=beams, n_best=beams, length_penalty=penalty, max_length=1)
    for source, (row, found) in enumerate(zip(table, search(toy, constraint, PREFIXES, options), strict=True)):
        assert np.exp(row).sum() == pytest.approx(1)
        by_hand = [exact(toy, PREFIXES[source], source, [*label, END], constraint) for label in labels]
        np.testing.assert_allclose(row, by_hand, atol=1e-4)
        best = np.argsort(-row, kind="stable")[:beams]
        assert [answer.tokens.tolist() for answer in found] == [[*labels[i], END] for i in best]
        np.testing.assert_allclose([answer.score for answer in found], row[best], atol=1e-4)
        assert all(answer.finished and answer.score == answer.logprob for answer in found)


def test_over_the_vocabulary_labels_share_less_than_all() -> None:
    constraint, toy = make([OneOf(2)]), Toy(V, [0, 1])
    table = rank(toy, constraint, PREFIXES, normalise="vocabulary", chunk=2)
    for source, label in product(range(2), range(len(LABELS))):
        total, hidden = 0.0, toy.first[source]
        for token in PREFIXES[source]:
            hidden = torch.tanh(hidden @ toy.mix + toy.table[int(token)])
        for token in [*LABELS[label], END]:
            total += float(torch.log_softmax((toy.table @ hidden).double(), 0)[token])
            hidden = torch.tanh(hidden @ toy.mix + toy.table[token])
        assert table[source, label] == pytest.approx(total, abs=1e-4)


def test_a_head_is_ranked_by_its_one_token() -> None:
    constraint, toy = make([Fixed(0, "bins", 1)], heads=[0]), Toy(V, [0, 1])
    table = rank(toy, constraint, PREFIXES)
    assert np.exp(table).sum(1) == pytest.approx([1, 1])
    for row, found in zip(table, search(toy, constraint, PREFIXES), strict=True):
        assert found[0].tokens.tolist() == [14 + int(row.argmax())]
        assert found[0].score == pytest.approx(row.max(), abs=1e-5)


@pytest.mark.parametrize("scale", [0.0, 30.0])
def test_a_model_that_is_certain_and_one_that_knows_nothing(scale: float) -> None:
    labels = [list(label) for label in product([4, 5, 6], repeat=4)]
    constraint, toy = make([OneOf(2)], labels), Toy(V, [0, 1])
    toy.table = toy.table * scale
    table = rank(toy, constraint, PREFIXES, chunk=7)
    found = search(toy, constraint, PREFIXES, SearchOptions(beam_size=3, n_best=3))
    for row, answers in zip(table, found, strict=True):
        np.testing.assert_allclose([a.logprob for a in answers], np.sort(row)[::-1][:3], atol=1e-4)


def test_few_beginnings_are_looked_at_where_one_label_is_likely() -> None:
    labels = [list(label) for label in product(range(4, 14), repeat=4)]
    toy = Toy(V, [0], scale=6.0)
    search(toy, make([OneOf(2)], labels), [np.array([1])])
    assert toy.steps < 12


def whole(toy: Toy, items: list[Item], **options: Any) -> tuple[Constraint, list[list[Hypothesis]]]:
    constraint = make(items)
    return constraint, search(toy, constraint, PREFIXES, SearchOptions(**{"max_length": 12, **options}))


@pytest.mark.parametrize(
    "items",
    [
        [OneOf(2), Free(0, "text")],
        [OneOf(2), Forced("ab"), OneOf(5), Fixed(1, "bins", 2)],
        [Free(0, "text", 3), OneOf(2)],
        [Fixed(1, "bins", 2), OneOf(2), Forced("a")],
    ],
)
@pytest.mark.parametrize("seed", range(6))
def test_greedy_takes_the_likeliest_label_given_what_came_before(items: list[Item], seed: int) -> None:
    toy = Toy(V, [seed, seed + 1], seed)
    constraint, found = whole(toy, items)
    for source, (answer,) in enumerate(found):
        prefix, state = PREFIXES[source].tolist(), constraint.start
        tokens = answer.tokens.tolist()
        for place, token in enumerate(tokens):
            trie = int(constraint.trie_of[state])
            if trie >= 0 and constraint.tries[trie].root == state:
                before = np.array([*prefix, *tokens[:place]])
                own = LABELS if constraint.slot_of[state] == 2 else [[9, 9, 9, 9], [10]]
                alone = make([OneOf(2)], own)
                scores = [exact(toy, before, source, [*label, END], alone) for label in own]
                best = own[int(np.argmax(scores))]
                assert tokens[place : place + len(best) + 1] == [*best, END]
            state = int(constraint.advance(np.array([state]), np.array([token]))[0])
        assert state == constraint.accept


@pytest.mark.slow
def test_beams_weigh_whole_answers_and_a_label_counts_as_one_token() -> None:
    items: list[Item] = [OneOf(2), Fixed(1, "bins", 1)]
    for seed in range(8):
        toy = Toy(V, [seed, seed + 1], seed)
        constraint, found = whole(toy, items, beam_size=60, n_best=5)
        every = [[*label, END, b] for label in LABELS for b in range(14, 24)]
        for source, answers in enumerate(found):
            want = sorted((exact(toy, PREFIXES[source], source, one, constraint) for one in every), reverse=True)
            np.testing.assert_allclose([a.logprob for a in answers], want[:5], atol=1e-3)
            np.testing.assert_allclose([a.score for a in answers], np.array(want[:5]) / 2, atol=1e-3)


def test_of_labels_alone_the_score_is_the_log_probability() -> None:
    for seed in range(5):
        toy = Toy(V, [seed, seed + 1], seed)
        constraint, found = whole(toy, [OneOf(2), Forced("abc"), OneOf(5)], beam_size=12, n_best=12)
        for source, answers in enumerate(found):
            assert len(answers) == 12
            assert sum(np.exp(a.score) for a in answers) == pytest.approx(1, abs=1e-3)
            for answer in answers:
                by_hand = exact(toy, PREFIXES[source], source, answer.tokens.tolist(), constraint)
                assert answer.score == pytest.approx(by_hand, abs=1e-3)


def test_of_ways_and_labels_alone_the_score_is_the_log_probability() -> None:
    """That a label is left out is one answer beside all labels, not a shorter one."""
    items: list[Item] = [Branch(2, "ways.2", ((Forced("ab"), OneOf(2)),), ((), (0,)))]
    for seed in range(5):
        toy = Toy(V + 2, [seed, seed + 1], seed)
        constraint, found = whole(toy, items, beam_size=12, n_best=12)
        for source, answers in enumerate(found):
            assert len(answers) == len(LABELS) + 1
            assert sum(np.exp(a.score) for a in answers) == pytest.approx(1, abs=1e-3)
            for answer in answers:
                by_hand = exact(toy, PREFIXES[source], source, answer.tokens.tolist(), constraint)
                assert answer.score == pytest.approx(by_hand, abs=1e-3)


@pytest.mark.parametrize("beams", [1, 3])
def test_labels_in_a_loop_are_whole_and_the_loop_stops_in_time(beams: int) -> None:
    for items in ([Loop((OneOf(2),))], [Loop((OneOf(2), Fixed(1, "bins", 2)))], [Loop((Free(0, "text"), OneOf(2)))]):
        for seed in range(6):
            constraint, found = whole(Toy(V, [seed, seed + 1], seed), items, beam_size=beams, max_length=20)
            for answers in found:
                states = constraint.walk(answers[0].tokens)
                assert constraint.advance(states[-1:], answers[0].tokens[-1:])[0] == constraint.accept
                assert len(answers[0].tokens) <= 21


def test_a_label_is_never_cut() -> None:
    _, found = whole(Toy(V, [0, 1]), [Free(0, "text"), OneOf(2)], max_length=1, min_length=1)
    for (answer,) in found:
        end = int(np.flatnonzero(answer.tokens == END)[0])
        assert answer.tokens[end + 1 : -1].tolist() in LABELS


def test_draws_and_scores_over_the_vocabulary_go_token_by_token() -> None:
    toy = Toy(V, [0, 1])
    _, drawn = whole(toy, [OneOf(2)], sampling=True, n_best=40)
    assert {tuple(a.tokens[:-1].tolist()) for answers in drawn for a in answers} <= set(map(tuple, LABELS))
    _, found = whole(toy, [OneOf(2)], normalise="vocabulary", length_penalty=0.0)
    table = rank(toy, make([OneOf(2)]), PREFIXES, normalise="vocabulary")
    for row, (answer,) in zip(table, found, strict=True):
        assert answer.score == pytest.approx(row[LABELS.index(answer.tokens[:-1].tolist())], abs=1e-4)


def test_elements_on_demand_are_made_once_and_when_asked() -> None:
    made: list[int] = []
    found: OnDemand[int] = OnDemand(5, lambda i: made.append(i) or i * i)
    assert (len(found), found[1], found[-1], found[1:3]) == (5, 1, 16, (1, 4))
    assert made == [1, 4, 2]
    assert list(found) == [0, 1, 4, 9, 16] == found
    assert repr(found) == "[0, 1, 4, ...]"
    with pytest.raises(IndexError):
        found[5]
