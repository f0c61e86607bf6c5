"""Whatever the model says, the answer is a sentence of the target's language."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.generator import Constraint, SearchOptions, bind
from ofasys.generator.rank import rank
from ofasys.generator.search import search
from ofasys.types import Fixed, Forced, Free, Item, Loop, OneOf
from tests.generator.toy import Toy

END, RANGES, V = 3, {"text": (4, 14), "bins": (14, 20)}, 20


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors this small are slower on two threads, far slower where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


labels = st.lists(st.lists(st.integers(4, 13), min_size=1, max_size=4), min_size=1, max_size=6)
texts = st.builds(Free, st.just(0), st.just("text"), st.none() | st.integers(1, 4))
bins = st.builds(Fixed, st.just(1), st.just("bins"), st.integers(1, 4), st.none() | st.integers(1, 6))
simple = st.one_of(texts, bins, st.just(OneOf(2)), st.just(Forced("ab")))
loops = st.lists(simple, min_size=1, max_size=3).map(lambda items: Loop(tuple(items)))
sentences = st.lists(simple | loops, min_size=1, max_size=4)


@st.composite
def options(draw: st.DrawFn, sampling: bool = True) -> SearchOptions:
    length = draw(st.integers(1, 12))
    beams = draw(st.integers(1, 4))
    return SearchOptions(
        beam_size=beams,
        n_best=draw(st.integers(1, beams)),
        length_penalty=draw(st.sampled_from([0.0, 1.0, -1.0])),
        early_stopping=draw(st.sampled_from([True, False, "never"])),
        sampling=sampling and beams == 1 and draw(st.booleans()),
        top_k=draw(st.integers(0, 3)),
        top_p=draw(st.sampled_from([0.3, 1.0])),
        no_repeat_ngram_size=draw(st.integers(0, 3)),
        max_length=length,
        min_length=draw(st.integers(0, length)),
        normalise=draw(st.sampled_from(["allowed", "vocabulary"])),
    )


def make(items: list[Item], closed: list[list[int]]) -> Constraint:
    return bind(items, encode=lambda text: [4 + ord(c) % 10 for c in text], ranges=RANGES, end=END, closed={2: closed})


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(sentences, labels, options(), st.integers(0, 5), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_every_answer_is_a_sentence_and_there_is_one(
    items: list[Item], closed: list[list[int]], asked: SearchOptions, seed: int, lengths: list[int]
) -> None:
    constraint = make(items, closed)
    prefixes = [np.arange(1, length + 1) for length in lengths]
    answers = search(Toy(V, list(range(len(lengths))), seed), constraint, prefixes, asked)
    assert len(answers) == len(prefixes)
    most = max(asked.max_length, int(constraint.reserve[constraint.start])) + 1
    for found in answers:
        assert 1 <= len(found) <= asked.n_best
        assert sorted(found, key=lambda answer: -answer.score) == found
        for answer in found:
            states = constraint.walk(answer.tokens)  # raises if a token is not allowed
            assert states.tolist() == answer.states.tolist()
            assert constraint.advance(states[-1:], answer.tokens[-1:])[0] == constraint.accept
            assert len(answer.tokens) <= most
            assert np.isfinite(answer.logprob)
            assert answer.logprob <= 1e-4


def test_beam_one_is_greedy() -> None:
    constraint = make([Free(0, "text"), Fixed(1, "bins", 2)], [[4]])
    for seed in range(10):
        toy = Toy(V, [seed], seed)
        (found,) = search(toy, constraint, [np.array([1])], SearchOptions(max_length=8))[0]
        toy.start(1, 99)
        state, hidden, total = constraint.start, toy.step(torch.tensor([[1]]), None), 0.0
        for place, token in enumerate(found.tokens.tolist()):
            may = [t for t in range(V) if constraint.advance(np.array([state]), np.array([t]))[0] >= 0]
            if state == constraint.start and place + constraint.inside[state] > 8:
                may = [END]
            scores = torch.log_softmax((hidden @ toy.table.T)[0, may], 0)
            assert token == may[int(scores.argmax())]
            total += float(scores.max())
            state = int(constraint.advance(np.array([state]), np.array([token]))[0])
            hidden = toy.step(torch.tensor([[token]]), None)
        assert abs(total - found.logprob) < 1e-4


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(sentences, labels, options(), st.lists(st.tuples(st.integers(0, 99), st.integers(1, 4)), min_size=2, max_size=4))
def test_a_batch_of_one_equals_that_source_in_a_batch(
    items: list[Item], closed: list[list[int]], asked: SearchOptions, sources: list[tuple[int, int]]
) -> None:
    constraint = make(items, closed)
    numbers = [number for number, _ in sources]
    prefixes = [np.arange(1, length + 1) for _, length in sources]
    together = search(Toy(V, numbers), constraint, prefixes, asked, sources=numbers)
    for number, prefix, found in zip(numbers, prefixes, together, strict=True):
        (alone,) = search(Toy(V, [number]), constraint, [prefix], asked, sources=[number])
        assert [a.tokens.tolist() for a in alone] == [b.tokens.tolist() for b in found]
        np.testing.assert_allclose([a.score for a in alone], [b.score for b in found], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(labels, st.integers(0, 20))
def test_rank_sums_to_one_and_agrees_with_exhaustive_beams(closed: list[list[int]], seed: int) -> None:
    closed = [list(label) for label in {tuple(label) for label in closed}]
    constraint = make([OneOf(2)], closed)
    prefixes = [np.array([1]), np.array([1, 2, 5])]
    toy = Toy(V, [seed, seed + 1], seed)
    table = torch.from_numpy(rank(toy, constraint, prefixes))
    torch.testing.assert_close(table.exp().sum(1), torch.ones(2, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    asked = SearchOptions(beam_size=8, n_best=6, length_penalty=0.0, early_stopping="never")
    for row, found in zip(table, search(toy, constraint, prefixes, asked), strict=True):
        assert len(found) == len(closed)
        by_label = {tuple(answer.tokens[:-1].tolist()): answer.logprob for answer in found}
        for label, score in zip(closed, row.tolist(), strict=True):
            assert abs(by_label[tuple(label)] - score) < 1e-4
