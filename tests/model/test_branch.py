"""Norms of mixed precision and the joining of branches in C, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.model import branch
from ofasys.model.branch import LEAST, join, layer_norm
from ofasys.model.dropout import dropout

WIDE = 48
ROWS = LEAST // WIDE + 5
HALF = torch.bfloat16


@pytest.fixture(autouse=True)
def native() -> None:
    if branch._library() is None:
        pytest.skip("no compiler")


def exact(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x.double(), (WIDE,), gain.double(), bias.double(), 1e-5)


@pytest.mark.parametrize("given", [torch.float32, HALF])
@pytest.mark.parametrize("feeds", [True, False])
def test_a_norm_and_its_gradients(given: torch.dtype, feeds: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x = (3 + 2 * torch.randn(ROWS, WIDE, generator=g)).to(given).requires_grad_()
    gain, bias = (torch.randn(WIDE, generator=g).requires_grad_() for _ in range(2))
    with torch.autocast("cpu", HALF):
        y = layer_norm(x, gain, bias, 1e-5, feeds)
    assert y.dtype is (HALF if feeds else torch.float32)
    slope = torch.randn(ROWS, WIDE, generator=g).to(y.dtype)
    wanted = exact(x, gain, bias)
    mine = torch.autograd.grad(y, (x, gain, bias), slope)
    theirs = torch.autograd.grad(wanted, (x, gain, bias), slope.double())
    near = 1e-2 if feeds else 2e-5
    torch.testing.assert_close(y.double(), wanted, atol=near, rtol=near)
    near = 1e-2 if given is HALF else 2e-5
    torch.testing.assert_close(mine[0], theirs[0], atol=near, rtol=near)
    torch.testing.assert_close(mine[1:], theirs[1:], atol=1e-3, rtol=1e-4)


def test_in_one_precision_and_with_few_numbers_it_is_torchs() -> None:
    by, x = nn.LayerNorm(WIDE), torch.randn(ROWS, WIDE, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layer_norm(x, by.weight, by.bias, by.eps, True), by(x))
    with torch.autocast("cpu", HALF):
        few = layer_norm(x[:3], by.weight, by.bias, by.eps, True)
    assert torch.equal(few, by(x[:3]))


@pytest.mark.parametrize("other", [torch.float64, HALF])
def test_a_bias_of_another_type_is_left_to_torch(other: torch.dtype) -> None:
    x = torch.randn(ROWS, WIDE, generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", HALF), pytest.raises(RuntimeError, match="expected scalar type"):
        layer_norm(x, torch.ones(WIDE), torch.ones(WIDE, dtype=other), 1e-5)


@pytest.mark.parametrize("given", [torch.float32, HALF])
def test_a_branch_joins_the_stream_with_the_same_dropped(given: torch.dtype) -> None:
    g = torch.Generator().manual_seed(2)
    found = []
    inputs = torch.randn(ROWS, WIDE, generator=g), torch.randn(ROWS, WIDE, generator=g).to(given)
    slope = torch.randn(ROWS, WIDE, generator=g)
    for made in (lambda x, b: join(x, b, 0.3), lambda x, b: x + dropout(b.float(), 0.3)):
        x, b = (one.clone().requires_grad_() for one in inputs)
        torch.manual_seed(7)
        out = made(x, b)
        found.append((out, *torch.autograd.grad(out, (x, b), slope)))
    for mine, theirs in zip(*found, strict=True):
        assert mine.dtype is theirs.dtype
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)
    assert 0.25 < float((found[0][2] == 0).float().mean()) < 0.35


@pytest.mark.parametrize("threads", [1, 3])
def test_it_is_the_same_on_any_number_of_threads(threads: int) -> None:
    g = torch.Generator().manual_seed(3)
    x, slope = torch.randn(ROWS, WIDE, generator=g).requires_grad_(), torch.randn(ROWS, WIDE, generator=g)
    gain, found, before = torch.ones(WIDE, requires_grad=True), [], torch.get_num_threads()
    try:
        for number in (1, threads):
            torch.set_num_threads(number)
            with torch.autocast("cpu", HALF):
                y = layer_norm(x, gain, torch.zeros(WIDE), 1e-5)
            found.append((y, *torch.autograd.grad(y, (x, gain), slope)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
