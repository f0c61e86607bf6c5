"""Attention sample by sample in C, against torch's in float64 on each sample."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ofasys.model import SIZES, UniversalModel, attention
from ofasys.model.samplewise import Samplewise, samplewise
from ofasys.program.batch import layout
from ofasys.types import Layout, Stream

CPU = torch.device("cpu")
OWN = [5, 64, 1, 0, 130, 17]
OTHERS = [33, 0, 128, 7, 1, 200]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}
DTYPES = [
    pytest.param(
        dtype,
        marks=pytest.mark.skipif(not samplewise(CPU, 64, dtype), reason="no compiler, or no products of pairs"),
    )
    for dtype in TOLERANCE
]


def side(lengths: list[int]) -> Layout:
    return layout(np.array(lengths), np.zeros((sum(lengths), 3), dtype=np.int64))


def apart(q: Tensor, k: Tensor, v: Tensor, own: list[int], others: list[int], causal: bool) -> Tensor:
    """q (N, H, K), k and v (M, H, K) -> (N, H, K), each sample by itself; zeros where nothing is to be seen."""
    made = []
    parts = zip(pairwise(np.cumsum([0, *own])), pairwise(np.cumsum([0, *others])), strict=True)
    for (a, b), (c, d) in parts:
        if c == d:
            made.append(torch.zeros_like(q[a:b]))
            continue
        heads = (x.transpose(0, 1)[None] for x in (q[a:b], k[c:d], v[c:d]))
        made.append(F.scaled_dot_product_attention(*heads, is_causal=causal)[0].transpose(0, 1))
    return torch.cat(made)


def close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...], dtype: torch.dtype) -> None:
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.dtype is dtype
        torch.testing.assert_close(mine.double(), theirs, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def own(lengths: list[int], heads: int, head: int, causal: bool, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(sum(lengths))
    qkv = torch.randn(sum(lengths), 3, heads, head, generator=g).to(dtype).requires_grad_()
    slope = torch.randn(sum(lengths), heads, head, generator=g).to(dtype)
    y = Samplewise.of(side(lengths), side(lengths)).own(qkv, causal, None)
    exact = qkv.detach().double().requires_grad_()
    wanted = apart(*exact.unbind(1), lengths, lengths, causal)
    (mine,), (theirs,) = torch.autograd.grad(y, qkv, slope), torch.autograd.grad(wanted, exact, slope.double())
    close((y, mine), (wanted, theirs), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "head"), [(4, 64), (2, 16), (3, 48)])
@pytest.mark.parametrize("causal", [False, True])
def test_a_side_that_sees_itself(heads: int, head: int, causal: bool, dtype: torch.dtype) -> None:
    own(OWN, heads, head, causal, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 140), min_size=1, max_size=5), causal=st.booleans())
def test_samples_of_any_lengths(lengths: list[int], causal: bool, dtype: torch.dtype) -> None:
    if sum(lengths):
        own(lengths, 1, 16, causal, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_side_that_sees_another(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(1)
    q = torch.randn(sum(OWN), 2, 32, generator=g).to(dtype).requires_grad_()
    kv = torch.randn(sum(OTHERS), 2, 2, 32, generator=g).to(dtype).requires_grad_()
    slope = torch.randn(sum(OWN), 2, 32, generator=g).to(dtype)
    y = Samplewise.of(side(OWN), side(OTHERS)).across(q, kv, None)
    exact = [x.detach().double().requires_grad_() for x in (q, kv)]
    wanted = apart(exact[0], *exact[1].unbind(1), OWN, OTHERS, False)
    mine, theirs = torch.autograd.grad(y, (q, kv), slope), torch.autograd.grad(wanted, exact, slope.double())
    close((y, *mine), (wanted, *theirs), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_the_same_on_any_number_of_threads(dtype: torch.dtype) -> None:
    x = torch.randn(sum(OWN), 3, 2, 32, generator=torch.Generator().manual_seed(2)).to(dtype).requires_grad_()
    by, before, found = Samplewise.of(side(OWN), side(OWN)), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = by.own(x, True, None)
            found.append((y, *torch.autograd.grad(y.float().square().sum(), x)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf])
def test_what_is_no_number_stays_in_its_sample_and_is_not_lost(spoilt: float, dtype: torch.dtype) -> None:
    x = torch.randn(sum(OWN), 3, 2, 16, generator=torch.Generator().manual_seed(3)).to(dtype)
    x[7] = spoilt  # of the second sample
    wrong = ~Samplewise.of(side(OWN), side(OWN)).own(x, False, None).isfinite().flatten(1).all(1)
    assert wrong[5:69].all()
    assert not wrong[:5].any()
    assert not wrong[69:].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_are_scaled_as_asked(dtype: torch.dtype) -> None:
    x = torch.randn(9, 3, 1, 16, generator=torch.Generator().manual_seed(4)).to(dtype)
    y = Samplewise.of(side([9]), side([9])).own(x, False, 0.7)
    q, k, v = x.double().transpose(0, 2).unbind(1)
    wanted = F.scaled_dot_product_attention(q, k, v, scale=0.7).transpose(0, 1)
    close((y,), (wanted,), dtype)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_model_computes_what_it_computes_in_rectangles(positions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not samplewise(CPU, 32, torch.float32):
        pytest.skip("no compiler")
    config = replace(SIZES["tiny"], dropout=0.0, positions=positions)
    torch.manual_seed(0)
    model, found = UniversalModel(config).train(), []
    source, target = layout_of([9, 2, 30]), layout_of([4, 11, 1])
    g = torch.Generator().manual_seed(0)
    streams = [Stream(torch.randn(len(one.positions), model.width, generator=g), one) for one in (source, target)]
    for native in (True, False):
        if not native:
            monkeypatch.setattr(attention, "samplewise", lambda *_: False)
        states = model.decode(streams[1], model.encode(streams[0])).states
        gradients = torch.autograd.grad(states.square().sum(), list(model.parameters()), allow_unused=True)
        found.append([states, *(one for one in gradients if one is not None)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def layout_of(lengths: list[int]) -> Layout:
    order = np.concatenate([np.arange(n) for n in lengths])
    return layout(np.array(lengths), np.stack([order, order * 0 - 1, order * 0 - 1], 1))


def test_it_is_for_a_cpu_and_heads_of_whole_registers() -> None:
    assert not samplewise(torch.device("cuda"), 64, torch.float32)
    assert not samplewise(CPU, 24, torch.float32)
    assert not samplewise(CPU, 64, torch.float64)
    assert not samplewise(CPU, 64, torch.float16)


@pytest.mark.parametrize(
    ("queries", "memory"),
    [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_numbers_that_c_would_read_as_others_are_an_error(queries: torch.dtype, memory: torch.dtype) -> None:
    by = Samplewise.of(side([4]), side([3]))
    with pytest.raises(TypeError, match="all float32, or all bfloat16"):
        by.across(torch.ones(4, 1, 16, dtype=queries), torch.ones(3, 2, 1, 16, dtype=memory), None)
