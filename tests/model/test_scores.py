"""Scores turned into gradients in C, against torch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ofasys.model.scores import turned, turns_scores

DTYPES = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def case(n: int, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(n + size)
    scores = (3 * torch.randn(n, size, generator=g)).to(dtype)
    if not turns_scores(scores):
        pytest.skip("no compiler")
    return scores, torch.randint(0, size, (n,), generator=g)


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("size", [16, 17, 31, 32, 1000, 5003])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_and_gradients(size: int, smoothing: float, dtype: torch.dtype) -> None:
    scores, labels = case(5, size, dtype)
    labels[0], labels[1] = 0, size - 1
    exact = scores.double().requires_grad_()
    wanted = F.cross_entropy(exact, labels, label_smoothing=smoothing, reduction="none")
    (gradients,) = torch.autograd.grad(wanted.sum(), exact)
    right = scores.gather(1, labels[:, None])[:, 0] >= scores.amax(1)
    losses, correct = turned(scores, labels, smoothing, True)
    torch.testing.assert_close(losses.double(), wanted.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores.double(), gradients, atol=DTYPES[dtype], rtol=DTYPES[dtype])
    assert torch.equal(correct, right)


def test_scores_are_left_alone_where_no_gradient_is_wanted() -> None:
    scores, labels = case(3, 40, torch.float32)
    before = scores.clone()
    assert torch.equal(turned(scores, labels, 0.0, False)[0], turned(scores, labels, 0.0, True)[0])
    assert not torch.equal(scores, before)


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_rows_may_lie_apart_and_what_is_between_them_is_not_touched(dtype: torch.dtype) -> None:
    scores, labels = case(4, 60, dtype)
    inside = scores[:, 5:38]
    before = scores.clone()
    turned(inside, labels % 33, 0.0, True)
    assert torch.equal(scores[:, :5], before[:, :5])
    assert torch.equal(scores[:, 38:], before[:, 38:])


@pytest.mark.parametrize("far", [1e4, 1e30])
def test_scores_that_are_far_apart(far: float) -> None:
    scores, labels = case(2, 20, torch.float32)
    scores[0, 3], scores[1, 3] = far, -far
    labels[:] = torch.tensor([3, 3])
    losses, correct = turned(scores, labels, 0.0, True)
    assert losses[0] == 0.0
    assert losses[1] == pytest.approx(far, rel=1e-3)
    assert correct.tolist() == [True, False]
    assert scores[1, 3] == -1.0


def test_what_is_no_number_is_not_lost() -> None:
    scores, labels = case(3, 33, torch.float32)
    scores[1, 32] = torch.nan
    losses, _ = turned(scores, labels, 0.0, True)
    assert losses.isnan().tolist() == [False, True, False]
    assert scores[1].isnan().all()


@pytest.mark.parametrize("wrong", [-100, -1, 40, 10**9])
def test_a_label_that_is_none_of_the_scores_is_an_error_and_nothing_is_written(wrong: int) -> None:
    scores, labels = case(3, 40, torch.float32)
    before = scores.clone()
    labels[1] = wrong
    with pytest.raises(IndexError, match="scores from 0 to 39"):
        turned(scores, labels, 0.0, True)
    assert torch.equal(scores, before)


def test_labels_may_be_of_32_bits_and_lie_apart() -> None:
    scores, labels = case(6, 40, torch.float32)
    wanted = turned(scores, labels, 0.0, False)[0]
    apart = torch.stack((labels, labels + 1), 1).int()[:, 0]
    assert torch.equal(turned(scores, apart, 0.0, False)[0], wanted)
