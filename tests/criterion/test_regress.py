"""Losses of numbers against closed forms."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from ofasys.criterion import CRITERIA
from ofasys.criterion.regress import Gaussian, Huber, SquaredError, negative_log_likelihood
from ofasys.types import SlotPrediction, SlotTargets

N = 7


def seen(n=N, seed=0):
    """A prediction of n numbers, its mean and spread leaves that want a gradient."""
    random = np.random.default_rng(seed)
    mean, truth = (torch.tensor(random.normal(size=(n, 1)), dtype=torch.float32) for _ in range(2))
    spread = torch.tensor(random.uniform(0.1, 3, (n, 1)), dtype=torch.float32)
    mean.requires_grad_(), spread.requires_grad_()
    targets = SlotTargets(
        0,
        "target",
        "gaussian",
        torch.arange(n),
        torch.ones(n, dtype=torch.long),
        {"frames": truth},
        {"lengths": (1,) * n},
        n,
    )
    return (
        SlotPrediction(targets, torch.zeros(n, 4), {"frames": mean, "spread": spread}, None),
        mean,
        spread,
        truth,
    )


def test_plain_likelihood_is_that_of_torch():
    made, mean, spread, truth = seen()
    verdict = Gaussian({"beta": 0.0}, 4)(made)
    expected = -Normal(mean, spread).log_prob(truth)
    torch.testing.assert_close(verdict.sum, expected.mean() * N)
    assert float(verdict.figures["nll"]) == pytest.approx(float(expected.mean().detach()), rel=1e-6)
    assert float(verdict.figures["l2"]) == pytest.approx(float(((mean - truth) ** 2).mean().detach()), rel=1e-6)
    assert CRITERIA["gaussian"].counted(np.ones(N, dtype=np.int64), {}) == N


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_weighs_the_gradient_of_a_row_by_its_spread(beta):
    made, mean, spread, truth = seen()
    Gaussian({"beta": beta}, 4)(made).sum.div(N).backward()
    e, s = (truth - mean).detach(), spread.detach()
    torch.testing.assert_close(mean.grad, -e / s**2 * s ** (2 * beta) / N)
    torch.testing.assert_close(spread.grad, (1 / s - e**2 / s**3) * s ** (2 * beta) / N)


def test_the_mean_of_beta_1_is_learned_as_by_the_squared_error():
    one, mean, *_ = seen()
    Gaussian({"beta": 1.0}, 4)(one).sum.div(N).backward()
    other, again, *_ = seen()
    SquaredError({}, 4)(other).sum.div(N).backward()
    torch.testing.assert_close(2 * mean.grad, again.grad)


@pytest.mark.parametrize(
    ("criterion", "loss"),
    [
        (SquaredError({}, 4), torch.nn.functional.mse_loss),
        (Huber({"delta": 0.3}, 4), lambda a, b: torch.nn.functional.huber_loss(a, b, delta=0.3)),
    ],
)
def test_the_spread_beside_another_loss_changes_nothing_of_the_mean(criterion, loss):
    made, mean, spread, truth = seen()
    verdict = criterion(made)
    verdict.sum.div(N).backward()
    alone = mean.detach().clone().requires_grad_()
    loss(alone, truth).backward()
    torch.testing.assert_close(mean.grad, alone.grad)
    free = spread.detach().clone().requires_grad_()
    (negative_log_likelihood(mean.detach(), free, truth) * spread.detach() ** 2).mean().backward()
    torch.testing.assert_close(spread.grad, free.grad)


def test_half_precision_is_judged_in_full():
    made, *_ = seen()
    half = {name: tensor.detach().bfloat16() for name, tensor in made.made.items()}
    verdict = Gaussian({"beta": 0.5}, 4)(SlotPrediction(made.targets, made.hidden, half, None))
    assert verdict.sum.dtype == torch.float32
