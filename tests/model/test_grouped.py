"""Attention of samples of like length in a rectangle of their own, against one rectangle for all."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ofasys.model import grouped
from ofasys.model.grouped import Grouped, alike
from ofasys.model.product import attend
from ofasys.model.rectangle import key_mask, to_flat, to_rectangle
from ofasys.program.batch import layout
from ofasys.types import Layout

H, K = 2, 4
MIXED = np.array([3, 40, 1, 38, 7, 90, 2])
OTHERS = np.array([30, 5, 2, 44, 8, 1, 60])


def side(lengths: np.ndarray) -> Layout:
    return layout(lengths, np.zeros((int(lengths.sum()), 3), dtype=np.int64))


def whole(q: Tensor, k: Tensor, v: Tensor, queries: Layout, keys: Layout, causal: bool) -> Tensor:
    def rectangle(x: Tensor, of: Layout) -> Tensor:
        return to_rectangle(x.reshape(len(x), -1), of).view(of.batch, of.length, H, K).transpose(1, 2)

    parts = rectangle(q, queries), rectangle(k, keys), rectangle(v, keys)
    y = attend(*parts, None if causal else key_mask(keys), causal)
    return to_flat(y.transpose(1, 2).reshape(-1, H * K), queries)


@pytest.fixture(autouse=True)
def cheap_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "OVERHEAD", 100 * H * K)


@pytest.mark.parametrize(
    ("of_queries", "of_keys", "causal"),
    [(MIXED, MIXED, False), (MIXED, MIXED, True), (MIXED, OTHERS, False), (MIXED, np.full(7, 9), False)],
)
def test_it_is_the_product_over_one_rectangle(of_queries: np.ndarray, of_keys: np.ndarray, causal: bool) -> None:
    queries = side(of_queries)
    keys = queries if of_keys is of_queries else side(of_keys)
    g = torch.Generator().manual_seed(0)
    given_ = [torch.randn(int(n.sum()), H, K, generator=g) for n in (of_queries, of_keys, of_keys)]
    by = Grouped.of(queries, keys, H * K)
    assert by is not None
    assert len(by.queries.shapes) > 2
    weights, found = torch.randn(int(of_queries.sum()), H * K, generator=g), []
    for make in (
        lambda *x: by.attend(*x, causal, None).reshape(-1, H * K),
        lambda *x: whole(*x, queries, keys, causal),
    ):
        leaves = [x.clone().requires_grad_() for x in given_]
        y = make(*leaves)
        (y * weights).sum().backward()
        found.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


def test_what_is_no_number_stays_in_its_sample() -> None:
    queries = side(MIXED)
    by = Grouped.of(queries, queries, H * K)
    assert by is not None
    x = torch.randn(int(MIXED.sum()), H, K, generator=torch.Generator().manual_seed(0))
    x[5] = torch.nan  # of the second sample
    y = by.attend(x, x, x, False, None)
    spoilt = y.isnan().flatten(1).any(1)
    assert spoilt[3:43].all()
    assert not spoilt[:3].any()
    assert not spoilt[43:].any()


def test_a_sample_without_keys_and_one_without_queries() -> None:
    of_queries, of_keys = np.array([0, 50, 3, 2]), np.array([4, 0, 60, 1])
    queries, keys = side(of_queries), side(of_keys)
    by = Grouped.of(queries, keys, H * K)
    assert by is not None
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(int(n.sum()), H, K, generator=g) for n in (of_queries, of_keys, of_keys))
    mine, theirs = by.attend(q, k, v, False, None).reshape(-1, H * K), whole(q, k, v, queries, keys, False)
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("lengths", [np.full(8, 40), np.array([5]), np.array([9, 10, 9, 10])])
def test_samples_that_are_alike_need_no_groups(lengths: np.ndarray) -> None:
    assert Grouped.of(side(lengths), side(lengths), H * K) is None


def cost(groups: list[np.ndarray], q: np.ndarray, k: np.ndarray, overhead: int) -> int:
    return sum(len(group) * int(q[group].max()) * int(k[group].max()) + overhead for group in groups)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=7), st.integers(1, 2000))
def test_groups_of_one_side_cost_the_least_that_groups_can(lengths: list[int], overhead: int) -> None:
    q = np.array(lengths)
    groups = alike(q, q, overhead)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(q)))
    order = np.argsort(q, kind="stable")
    cuts = [c for n in range(len(q)) for c in combinations(range(1, len(q)), n)]
    assert cost(groups, q, q, overhead) == min(cost(np.split(order, list(c)), q, q, overhead) for c in cuts)
