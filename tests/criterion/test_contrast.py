"""Contrast: the loss by hand, values of any length, and one batch over several processes."""

import numpy as np
import pytest
import torch

from ofasys.criterion.contrast import Contrast, mean_of
from ofasys.parallel.join import joined
from ofasys.parallel.sharing import sharing
from ofasys.types import SlotPrediction, SlotTargets
from tests.parallel.processes import on_ranks

D = 8
LENGTHS = ((2, 1, 3, 1), (1, 1, 2, 4))


def module():
    torch.manual_seed(0)
    return Contrast({}, D)


def view(states, lengths, slot):
    at = torch.arange(len(states))
    return SlotPrediction(
        SlotTargets(
            slot, "source", "contrast", at, torch.tensor(lengths), {}, {"lengths": tuple(lengths)}, len(lengths)
        ),
        states,
        {},
        None,
    )


def states():
    g = torch.Generator().manual_seed(1)
    return [torch.randn(sum(lengths), D, generator=g) for lengths in LENGTHS]


def test_the_loss_by_hand():
    made, (left, right) = module(), states()
    verdict = made([view(left, LENGTHS[0], 0), view(right, LENGTHS[1], 1)])
    a, b = (made.embed(view(s, n, 0)) for s, n in zip((left, right), LENGTHS, strict=True))
    scores = (a @ b.T / 0.07).detach().numpy().astype(np.float64)
    by_row = -np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).diagonal().mean()
    by_column = -np.log(np.exp(scores) / np.exp(scores).sum(0, keepdims=True)).diagonal().mean()
    assert float(verdict.sum.detach()) == pytest.approx(4 * (by_row + by_column) / 2, rel=1e-5)
    assert verdict.figures["accuracy"] == (scores.argmax(1) == np.arange(4)).mean()
    torch.testing.assert_close(a.norm(dim=1), torch.ones(4))


def test_means_are_of_each_value_alone():
    left = states()[0]
    want = torch.stack([part.mean(0) for part in left.split(LENGTHS[0])])
    torch.testing.assert_close(mean_of(left, torch.tensor(LENGTHS[0])), want)


def test_the_factor_stays_in_bounds():
    made, (left, right) = module(), states()
    with torch.no_grad():
        made.scale.fill_(50.0)
    assert torch.isfinite(made([view(left, LENGTHS[0], 0), view(right, LENGTHS[1], 1)]).sum)


def share(rank, cut):
    """The loss and gradient that all processes have. cut: how many of the four samples the first has."""
    made = module()
    mine = slice(0, cut) if rank == 0 else slice(cut, 4)
    own = [torch.cat(s.split(lengths)[mine] or [s[:0]]) for s, lengths in zip(states(), LENGTHS, strict=True)]
    with joined() as ranks:
        with sharing(ranks, [cut, 4 - cut]):
            if len(own[0]):
                loss = made([view(s, n[mine], i) for i, (s, n) in enumerate(zip(own, LENGTHS, strict=True))]).sum / 4
                loss.backward()
            else:
                loss = torch.zeros(())
                made.absent()
        ranks.sum_gradients(list(made.parameters()))
        return ranks.sum_rows(loss.detach()).numpy(), made.project.weight.grad.numpy()


@pytest.mark.parametrize("cut", [2, 1, 4])
def test_two_processes_share_one_batch(cut):
    made = module()
    whole = made([view(s, n, i) for i, (s, n) in enumerate(zip(states(), LENGTHS, strict=True))]).sum / 4
    whole.backward()
    for ended in on_ranks(2, share, cut):
        assert ended.error == ""
        loss, grad = ended.value
        assert float(loss) == pytest.approx(float(whole.detach()), rel=1e-5)
        np.testing.assert_allclose(grad, made.project.weight.grad.numpy(), atol=1e-5)
