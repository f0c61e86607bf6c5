"""The best tokens by products in few bits, against those of all products."""

import numpy as np
import pytest
import torch

from ofasys.generator import SearchOptions, bind
from ofasys.generator.search import search
from ofasys.generator.shortlist import SPARE, EightBits
from ofasys.generator.vocabulary import ROUGHLY, OutputRows, screens
from ofasys.model import linear, native
from ofasys.types import Free

from .toy import Toy

PRECISIONS = list(ROUGHLY)


def rows(precision, table):
    if precision == "int8" and native.compiled("shortlist") is None:
        pytest.skip("no products in 8 bits here")
    return OutputRows(table, precision)


def drawn(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("span", [(0, 3001), (4, 3000), (33, 64), (31, 97), (2900, 3001)])
@pytest.mark.parametrize("n", [1, 7, 8, 19])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_best_are_the_best(precision, n, span):
    lo, hi = span
    table, states = drawn(3001, 66) * 0.1, drawn(n, 66, 1)
    values, tokens, norm = rows(precision, table).shortlist.best(states, lo, hi, 5)
    exact = states @ table[lo:hi].t()
    best, place = exact.topk(5)
    assert values.shape == tokens.shape == (n, min(5 + SPARE, hi - lo))
    assert torch.allclose(values[:, :5], best, atol=1e-5)
    assert torch.equal(tokens[:, :5], place + lo)
    assert torch.allclose(norm, exact.logsumexp(1), atol=5e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_of_any_size_are_normalised(precision):
    table = drawn(2000, 64) * torch.tensor([0.0, 1e-6, 1.0, 50.0]).repeat(500)[:, None]
    values, _, norm = rows(precision, table).shortlist.best(drawn(3, 64, 1), 0, 2000, 3)
    exact = drawn(3, 64, 1) @ table.t()
    assert torch.allclose(values[:, :3], exact.topk(3)[0], rtol=1e-4)
    assert torch.allclose(values[:, 0] - norm, exact.log_softmax(1).amax(1), atol=0.02)


def test_eight_bits_are_rounded_products():
    if native.compiled("shortlist") is None:
        pytest.skip("no products in 8 bits here")
    table, states = drawn(100, 32), drawn(4, 32, 1)
    steps = table.abs().amax(1, keepdim=True) / 127
    own = states.abs().amax(1, keepdim=True) / 127
    exact = ((states / own).round() * own) @ ((table / steps).round() * steps).t()
    values, tokens, norm = EightBits(table)(states, 0, 100, 100)
    assert torch.allclose(values, exact.gather(1, tokens), atol=1e-4)
    assert torch.equal(tokens.sort(1)[0], torch.arange(100).expand(4, 100))
    assert torch.allclose(norm, exact.logsumexp(1), atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(max_length=9),
        SearchOptions(max_length=9, min_length=9, no_repeat_ngram_size=1),
        SearchOptions(max_length=9, beam_size=3, n_best=2),
        SearchOptions(max_length=9, beam_size=4, min_length=5, no_repeat_ngram_size=2),
        SearchOptions(max_length=9, sampling=True, n_best=3, top_k=4, min_length=3),
        SearchOptions(max_length=9, sampling=True, top_k=6, top_p=0.9, no_repeat_ngram_size=1, temperature=2.0),
    ],
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_answers_are_those_of_all_scores(precision, options):
    constraint = bind([Free(0, "text")], encode=lambda text: [], ranges={"text": (3, 900)}, end=2)

    def answers(output):
        toy = Toy(900, range(3))
        toy.output = output(toy.table)
        return search(toy, constraint, [np.array([0])] * 3, options)

    for one, other in zip(answers(lambda t: rows(precision, t)), answers(lambda t: None), strict=True):
        assert [a.tokens.tolist() for a in one] == [a.tokens.tolist() for a in other]
        assert [a.logprob for a in one] == pytest.approx([a.logprob for a in other], abs=0.05)


class Rounded(OutputRows):
    """Scores of numbers that are rounded to bfloat16."""

    def scores(self, x, lo, hi):
        return x.bfloat16().float() @ self.table[lo:hi].bfloat16().float().t()


@pytest.mark.parametrize(
    "options",
    [SearchOptions(max_length=9, sampling=True, n_best=2), SearchOptions(max_length=9, sampling=True, top_p=0.8)],
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_drawn_from_all_is_drawn_by_products_in_bfloat16(precision, options):
    constraint = bind([Free(0, "text")], encode=lambda text: [], ranges={"text": (3, 900)}, end=2)
    if linear.library() is None:
        pytest.skip("no products of pairs here")
    toy, found = Toy(900, range(3), width=16), []
    for output in (rows(precision, toy.table), Rounded(toy.table)):
        toy.output = output
        found.append(search(toy, constraint, [np.array([0])] * 3, options))
    for one, other in zip(*found, strict=True):
        assert [a.tokens.tolist() for a in one] == [a.tokens.tolist() for a in other]
        assert [a.logprob for a in one] == pytest.approx([a.logprob for a in other], abs=0.05)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_drawn_from_is_near_the_scores_of_the_table(precision):
    table, states = drawn(301, 64) * 0.1, drawn(9, 64, 1)
    output = rows(precision, table)
    scores = output.drawn_from(states, 7, 299)
    assert torch.allclose(scores, states @ table[7:299].t(), atol=0.02)
    if linear.library() is not None:
        assert torch.equal(output.drawn_from(states[4:5], 7, 299), scores[4:5]), "whatever stands beside a row"


def test_what_is_laid_out_gives_the_scores_of_the_table():
    table, states = drawn(300, 64), drawn(6, 64, 1)
    for lo, hi in ((0, 300), (10, 290), (5, 20)):
        assert torch.allclose(OutputRows(table).scores(states, lo, hi), states @ table[lo:hi].t(), atol=1e-4)


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("scale", [0.02, 0.2, 2.0])
def test_what_is_proved_best_is_best(n, scale):
    if not screens():
        pytest.skip("no products in 8 bits here")
    table, states = drawn(9000, 64) * scale, drawn(n, 64, 1)
    exact = states @ table[7:8990].t()
    values, tokens = OutputRows(table).surely_best(states, 7, 8990, 3)
    assert torch.allclose(values[:, :3], exact.topk(3)[0], atol=1e-4 * scale)
    assert torch.equal(tokens[:, :3], exact.topk(3)[1] + 7)
    assert torch.allclose(OutputRows(table).norms(states, 7, 8990), exact.logsumexp(1), atol=1e-4)


def test_near_ties_are_not_proved():
    if not screens():
        pytest.skip("no products in 8 bits here")
    table = drawn(1, 64).repeat(9000, 1) + 1e-5 * drawn(9000, 64, 2)
    assert OutputRows(table).surely_best(drawn(2, 64, 1), 0, 9000, 1) is None


@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(max_length=9),
        SearchOptions(max_length=9, no_repeat_ngram_size=1),
        SearchOptions(max_length=9, sampling=True, top_k=5, min_length=4),
        SearchOptions(max_length=9, sampling=True, top_k=9, top_p=0.8, seed=1, no_repeat_ngram_size=1),
    ],
)
def test_answers_in_float32_are_those_of_all_scores(options, monkeypatch):
    if not screens():
        pytest.skip("no products in 8 bits here")
    constraint = bind([Free(0, "text")], encode=lambda text: [], ranges={"text": (3, 6000)}, end=2)
    proved = []
    real = OutputRows.surely_best
    monkeypatch.setattr(OutputRows, "surely_best", lambda *given: proved.append(real(*given)) or proved[-1])

    def answers(output):
        toy = Toy(6000, range(3), width=32)
        toy.output = output(toy.table)
        return search(toy, constraint, [np.array([0])] * 3, options)

    for one, other in zip(answers(OutputRows), answers(lambda table: None), strict=True):
        assert one[0].tokens.tolist() == other[0].tokens.tolist()
        assert one[0].logprob == pytest.approx(other[0].logprob, abs=1e-3)
    assert any(found is not None for found in proved)
