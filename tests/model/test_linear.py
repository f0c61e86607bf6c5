"""Products of linear layers in C, against torch's in float64 of the same numbers in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.model import linear as module
from ofasys.model.linear import FEW, LEAST, LaidOut, Linear, linear

HALF = torch.bfloat16


@pytest.fixture(autouse=True)
def native() -> None:
    if module.library() is None:
        pytest.skip("no compiler, or no products of pairs")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def case(n: int, inputs: int, outputs: int, dtype: torch.dtype = HALF) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, weight, bias, and the gradient of what comes of them."""
    g = torch.Generator().manual_seed(n + inputs + outputs)
    x, slope = torch.randn(n, inputs, generator=g).to(dtype), torch.randn(n, outputs, generator=g).to(HALF)
    weight, bias = torch.randn(outputs, inputs, generator=g), torch.randn(outputs, generator=g)
    return x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), slope


def wanted(x: Tensor, weight: Tensor, bias: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    """y and all gradients, in float64, of x and weight as they are in bfloat16."""
    x, weight = (part.detach().to(HALF).double().requires_grad_() for part in (x, weight))
    bias = bias.detach().double().requires_grad_()
    y = F.linear(x, weight, bias)
    return y, *torch.autograd.grad(y, (x, weight, bias), slope.double())


def found(x: Tensor, weight: Tensor, bias: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    """The same in C, however few they are."""
    y = module._Linear.apply(x.to(HALF), weight, bias)
    return y, *torch.autograd.grad(y, (x, weight, bias), slope)


def far(mine: Tensor, exact: Tensor) -> float:
    """The largest error, as a share of the largest number."""
    return float((mine.detach().double() - exact.detach()).abs().max() / exact.detach().abs().max())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 6), st.integers(1, 6))
def test_whatever_the_sizes(n: int, inputs: int, outputs: int) -> None:
    own = case(n, 16 * inputs, 16 * outputs)
    for mine, exact, near in zip(found(*own), wanted(*own), (4e-3, 4e-3, 2e-6, 2e-6), strict=True):
        assert far(mine, exact) < near


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 6), st.integers(1, 17), st.sampled_from([None, *module.ACTIVATIONS]))
def test_a_weight_that_was_laid_out(
    n: int, inputs: int, outputs: int, activation: Callable[[Tensor], Tensor] | None
) -> None:
    x, weight, bias, _ = (part.detach() for part in case(n, 16 * inputs, 16 * outputs, torch.float32))
    assert LaidOut.takes(weight, bias)
    y = LaidOut(weight, bias, activation)(x)
    exact = F.linear(x.to(HALF).double(), weight.to(HALF).double(), bias.double())
    assert y.dtype is torch.float32
    assert far(y, exact if activation is None else activation(exact)) < 2e-6
    for rows in (slice(n // 2, None), slice(n - 1, None)):
        assert torch.equal(y[rows], LaidOut(weight, bias, activation)(x[rows])), "whatever stands beside a row"


def test_what_cannot_be_laid_out() -> None:
    weight = torch.zeros(32, 48)
    assert LaidOut.takes(weight, None)
    for other, bias in (
        (weight[:20], None),
        (weight[:, :40], None),
        (weight.to(HALF), None),
        (weight, torch.zeros(32, dtype=torch.float64)),
    ):
        assert not LaidOut.takes(other, bias)


def test_more_rows_than_are_summed_over_at_once() -> None:
    own = case(2 * 2048 + 5, 32, 48)
    for mine, exact, near in zip(found(*own), wanted(*own), (4e-3, 4e-3, 1e-5, 1e-5), strict=True):
        assert far(mine, exact) < near


@pytest.mark.parametrize("dtype", [HALF, torch.float32])
def test_it_is_as_near_as_torchs(dtype: torch.dtype) -> None:
    own = case(130, 128, 192, dtype)
    with torch.autocast("cpu", HALF):
        mine = linear(*own[:3])
        theirs = F.linear(*own[:3])
    assert mine.dtype is theirs.dtype is HALF
    exact = wanted(*own)
    results = [(y, *torch.autograd.grad(y, own[:3], own[3])) for y in (mine, theirs)]
    for ours, torchs, right in zip(*results, exact, strict=True):
        assert ours.dtype is torchs.dtype
        assert far(ours, right) <= 1.1 * far(torchs, right) < 1e-2


@pytest.mark.usefixtures("threads")
def test_any_number_of_threads_gives_the_same_bits() -> None:
    own, results = case(83, 80, 112), []
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        results.append(found(*own))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_only_what_is_wanted_has_a_gradient() -> None:
    x, weight, bias, slope = case(64, 128, 256)
    for kept in ((x,), (weight,), (bias,), (x, bias)):
        parts = [part if any(part is one for one in kept) else part.detach() for part in (x, weight, bias)]
        with torch.autocast("cpu", HALF):
            got = torch.autograd.grad(linear(*parts), kept, slope)
            all_of = dict(
                zip("xwb", torch.autograd.grad(linear(x, weight, bias), (x, weight, bias), slope), strict=True)
            )
        names = ["x" if one is x else "w" if one is weight else "b" for one in kept]
        assert all(torch.equal(mine, all_of[name]) for mine, name in zip(got, names, strict=True))


def test_without_a_bias() -> None:
    x, weight, _, slope = case(64, 128, 256)
    with torch.autocast("cpu", HALF):
        y = linear(x, weight, None)
        zero = linear(x, weight, torch.zeros(256))
    assert torch.equal(y, zero)
    (dx,) = torch.autograd.grad(y, x, slope)
    assert torch.equal(dx, torch.autograd.grad(zero, x, slope)[0])


def test_what_is_no_number_is_not_lost() -> None:
    x, weight, bias, _ = case(64, 128, 256)
    with torch.no_grad(), torch.autocast("cpu", HALF):
        weight[3, 5] = torch.nan
        x[7, 1] = torch.inf
        y = linear(x, weight, bias)
    assert y[:, 3].isnan().all()
    assert not y[7].isfinite().any()
    assert y[:7, :3].isfinite().all()


@pytest.mark.parametrize(
    ("n", "inputs", "outputs", "dtype"),
    [
        (FEW - 1, 256, 512, torch.float32),  # few rows
        (64, 40, 512, torch.float32),  # a width that is no multiple of 16
        (64, 128, LEAST // (64 * 128) - 16, torch.float32),  # little to do
        (64, 128, 256, torch.float64),  # a weight of another type
    ],
)
def test_what_it_is_not_for_is_torchs(n: int, inputs: int, outputs: int, dtype: torch.dtype) -> None:
    own = case(n, inputs, outputs, torch.float32)
    x, weight, bias = (part.detach().to(dtype) for part in own[:3])
    with torch.autocast("cpu", HALF):
        assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))


def test_in_one_precision_it_is_torchs() -> None:
    layer = Linear(128, 256)
    x = torch.randn(64, 128, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    assert isinstance(layer, nn.Linear)
