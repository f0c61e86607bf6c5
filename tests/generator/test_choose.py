"""The best of many scores, their normaliser and draws in C, against torch and numpy."""

import numpy as np
import pytest
import torch

from ofasys.generator import SearchOptions
from ofasys.generator.choose import best_few, chances, chooses, drawn, normaliser, scores_of, settled
from ofasys.generator.sample import draw, drawn_by_torch, uniform
from ofasys.model import native

SIZES = [1, 3, 16, 17, 300, 2000, 50_004]
WAYS = [
    {},
    {"top_k": 1},
    {"top_k": 50},
    {"top_p": 0.9},
    {"top_p": 0.5, "temperature": 0.7},
    {"top_k": 40, "top_p": 0.8, "temperature": 1.5},
    {"top_p": 1e-6},
    {"temperature": 1e-4},
]


@pytest.fixture(autouse=True)
def there():
    if native.compiled("choose") is None:
        pytest.skip("no compiler here")


def some_scores(n, size, scale=2.0, ties=False, seed=0):
    """Some of them may not come."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(n, size, generator=random) * scale
    if ties:
        values = (values * 4).round() / 4
    barred = torch.rand(n, size, generator=random) < 0.1
    barred[:, size // 2] = False
    return values.masked_fill(barred, -torch.inf)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_best_and_the_normaliser_are_torch_s(size, ties):
    values = some_scores(5, size, ties=ties)
    for k in (0, 1, 5, 58):
        best, place, norm = best_few(values, k)
        assert torch.equal(best, torch.topk(values, min(k, size))[0])
        assert torch.equal(values.gather(1, place), best)
        assert all(len(set(row)) == len(row) for row in place.tolist())
        torch.testing.assert_close(norm, values.double().logsumexp(1).float(), atol=1e-6, rtol=1e-6)
    part = torch.cat([values, values], 1)[:, 1 : 1 + size]  # rows that do not follow each other
    torch.testing.assert_close(normaliser(part), part.logsumexp(1))


def test_what_is_no_number_is_told_in_the_normaliser():
    values = some_scores(3, 300)
    values[1, 77] = torch.nan
    values[2] = -torch.inf
    norm = best_few(values, 1)[2]
    assert norm[0].isfinite()
    assert norm[1].isnan()
    assert norm[2] == -torch.inf


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_draws_are_those_of_torch_for_the_same_chances(size, way):
    options = SearchOptions(sampling=True, **way)
    n = 16 if size > 9000 else 200
    for ties, scale in ((False, 0.3), (True, 2.0), (False, 8.0)):
        values = some_scores(n, size, scale, ties)
        assert chooses(values)
        chance = uniform([(0, row, 0) for row in range(n)], [1] * n)
        assert torch.equal(draw(values, chance, options), drawn_by_torch(values, chance, options))


@pytest.mark.parametrize("way", [{}, {"top_k": 7}, {"top_p": 0.8}, {"top_p": 0.9, "top_k": 12, "temperature": 0.6}])
def test_draws_have_the_chances_of_their_scores(way):
    """By chi square, over all tokens that may come: at most its 99.9th percentile; none that may not."""
    options, draws, size = SearchOptions(sampling=True, **way), 20_000, 30
    values = some_scores(1, size, scale=1.0, seed=3)
    logits = values[0].double() / options.temperature
    order = logits.argsort(descending=True)
    kept = order[: options.top_k or size]
    share = logits[kept].softmax(0)
    stays = share.cumsum(0) - share < options.top_p
    expected = torch.zeros(size, dtype=torch.float64)
    expected[kept[stays]] = logits[kept[stays]].softmax(0)
    chance = uniform([(5, row, 0) for row in range(draws)], [0] * draws)
    found = torch.bincount(draw(values.expand(draws, -1), chance, options), minlength=size).double()
    may = expected > 0
    assert found[~may].sum() == 0
    surprise = float(((found - draws * expected)[may] ** 2 / (draws * expected[may])).sum())
    degrees = int(may.sum()) - 1
    assert surprise < degrees * (1 - 2 / (9 * degrees) + 3.09 * (2 / (9 * degrees)) ** 0.5) ** 3  # Wilson and Hilferty
    wrong = float(((found - draws / degrees)[may] ** 2 / (draws / degrees)).sum())
    assert wrong > 10 * degrees  # of chances that were all alike it would be seen


def test_at_the_ends_of_the_chances_a_token_is_drawn_that_may_come():
    values = torch.full((2, 600), -torch.inf)
    values[:, 5], values[:, 590] = 0.0, 1.0
    ends = torch.tensor([0.0, 1.0 - 2**-53], dtype=torch.float64)
    assert drawn(values, ends, None, 1.0, 1.0).tolist() == [5, 590]
    assert drawn(torch.full((2, 600), -torch.inf), ends, None, 1.0, 0.5).tolist() == [0, 0]


def test_chances_are_numpy_s():
    keys = [(0,), (7, 0, 0, 3), (2**32 - 1, 2**32, 5), (2**63, 9, 1, 0), (2**100, 2**64 - 1, 0, 0, 1, 2)]
    keys += [(seed, row, answer, step) for seed in (0, 3) for row in (0, 99) for answer in (0, 1) for step in range(9)]
    assert chances(keys).tolist() == [np.random.default_rng(key).random() for key in keys]
    with pytest.raises(ValueError, match=r"by \(0, -1\); its numbers are 0 or more"):
        chances([(0, -1)])


@pytest.mark.parametrize("width", [3, 16, 66, 768])
def test_scores_of_a_few_tokens_are_their_products(width):
    random = torch.Generator().manual_seed(0)
    table, states = torch.randn(500, width, generator=random), torch.randn(4, width, generator=random)
    tokens = torch.randint(0, 500, (4, 21), generator=random)
    exact = (states.double() @ table.double().t()).gather(1, tokens).float()
    torch.testing.assert_close(scores_of(table, tokens, states), exact, atol=1e-4, rtol=1e-5)
    assert torch.equal(scores_of(table, tokens[2:3], states[2:3]), scores_of(table, tokens, states)[2:3])


@pytest.mark.parametrize("k", [1, 9, 58, 500])
def test_rough_scores_are_settled(k, monkeypatch):
    random = torch.Generator().manual_seed(k)
    table, states = torch.randn(500, 32, generator=random) * 0.3, torch.randn(4, 32, generator=random)
    scores = states.double() @ table.double().t()
    rough = (scores + 0.05 * torch.randn(4, 500, generator=random)).float()
    taken, tokens = rough.topk(k)
    norm = rough.logsumexp(1)
    values, order, own = settled(table, states, taken, tokens, norm)
    assert torch.equal(taken, rough.topk(k)[0]), "what is given stays"
    exact, place = scores.gather(1, tokens).sort(1, descending=True)
    assert torch.equal(order, tokens.gather(1, place))
    torch.testing.assert_close(values, exact.float())
    mixed = rough.double().scatter(1, tokens, exact.gather(1, place.argsort(1)))
    torch.testing.assert_close(own, mixed.logsumexp(1).float())
    monkeypatch.setattr("ofasys.generator.choose.compiled", lambda name: None)
    for mine, other in zip((values, order, own), settled(table, states, taken, tokens, norm), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_normaliser_that_is_no_number_stays_so():
    table, states = torch.randn(50, 16), torch.randn(1, 16)
    values, _, norm = settled(table, states, torch.zeros(1, 3), torch.tensor([[1, 2, 3]]), torch.tensor([torch.nan]))
    assert values.isfinite().all()
    assert norm.isnan().all()
