"""CTC: against torch's own on padded tensors, against a sum over all alignments, and what it does with values that are
too short.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ofasys.criterion.ctc import CTC, fitting, join, needed
from ofasys.types import SlotPrediction, SlotTargets

D = 6


@dataclass(frozen=True)
class Seen(SlotPrediction):
    """A prediction, and the criterion that is to judge it."""

    module: CTC | None = None


def targets(lengths, tokens, counts):
    given = {"tokens": np.array(tokens, dtype=np.int64), "token_lengths": np.array(counts)}
    arrays = join(np.array(lengths), given)
    return SlotTargets(
        slot=0,
        side="source",
        criterion="ctc",
        at=torch.arange(sum(lengths)),
        lengths=torch.tensor(lengths),
        tensors={name: torch.from_numpy(array) for name, array in arrays.items()},
        sizes={"lengths": tuple(lengths), "token_lengths": tuple(counts)},
        count=fitting(np.array(lengths), arrays),
        label_slot=1,
    )


def seen(lengths, tokens, counts, labels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    module = CTC({}, D)
    with torch.no_grad():
        module.blank.copy_(torch.randn(D, generator=generator))
    hidden = torch.randn(sum(lengths), D, generator=generator).requires_grad_()
    table = torch.randn(labels, D, generator=generator).requires_grad_()
    return Seen(targets(lengths, tokens, counts), hidden, {}, table, module)


def brute(log_probs, tokens):
    """Minus the log of the sum over all paths that collapse to `tokens`."""
    total = []
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [label - 1 for label, _ in itertools.groupby(path) if label] == tokens:
            total.append(sum(log_probs[t, label] for t, label in enumerate(path)))
    return -torch.logsumexp(torch.stack(total), 0)


@pytest.mark.parametrize("tokens", [[0], [1, 2], [2, 2], [0, 1, 0], [1, 1, 2]])
def test_it_is_the_sum_over_all_alignments(tokens):
    given = seen([5], tokens, [len(tokens)])
    truth = brute(given.module.log_probs(given).detach(), tokens)
    verdict = given.module(given)
    assert float(verdict.sum.detach()) == pytest.approx(float(truth), rel=1e-5)
    assert given.targets.count == len(tokens)
    assert verdict.left_out == {"ctc_short": 0}


@pytest.mark.parametrize("labels", [3, 4, 50])
@pytest.mark.parametrize("sharp", [0.1, 1, 10])
def test_a_batch_is_torch_s_own_loss_on_padded_tensors_gradients_included(labels, sharp):
    lengths, tokens, counts = [7, 4, 9], [0, 1, 1, 2, 2, 0, 1], [3, 1, 3]
    given = seen(lengths, tokens, counts, labels=labels)
    with torch.no_grad():
        given.hidden.mul_(sharp)
    verdict = given.module(given)
    verdict.sum.backward()
    hidden, table = given.hidden.detach().clone().requires_grad_(), given.candidates.detach().clone().requires_grad_()
    blank = given.module.blank.detach().clone().requires_grad_()
    padded = torch.nn.utils.rnn.pad_sequence(hidden.split(lengths))
    wanted = torch.nn.utils.rnn.pad_sequence(torch.tensor(tokens).split(counts), batch_first=True)
    logits = (
        padded @ torch.cat([table, blank[None]]).T
    )  # torch's blank last, and labels padded: another way to the same
    loss = torch.nn.CTCLoss(blank=labels, reduction="sum")(
        logits.log_softmax(-1), wanted, torch.tensor(lengths), torch.tensor(counts)
    )
    loss.backward()
    assert given.targets.count == 7
    assert float(verdict.sum.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
    torch.testing.assert_close(given.hidden.grad, hidden.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(given.candidates.grad, table.grad, atol=1e-4 * sharp, rtol=1e-4)
    torch.testing.assert_close(given.module.blank.grad, blank.grad, atol=1e-4 * sharp, rtol=1e-4)


def test_neighbours_change_nothing():
    alone = [seen([5], [0, 1], [2]), seen([3], [2], [1], seed=1)]
    module = alone[0].module
    joined = SlotPrediction(
        targets=targets([5, 3], [0, 1, 2], [2, 1]),
        hidden=torch.cat([one.hidden for one in alone]),
        made={},
        candidates=alone[0].candidates,
    )
    apart = [module(SlotPrediction(one.targets, one.hidden, {}, joined.candidates)) for one in alone]
    whole = sum(float(verdict.sum.detach()) for verdict in apart)
    assert float(module(joined).sum.detach()) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    ("length", "tokens", "short"),
    [(2, [0, 1], 0), (1, [0, 1], 1), (3, [0, 0], 0), (2, [0, 0], 1), (4, [1, 1, 1], 1), (5, [1, 1, 1], 0)],
)
def test_labels_that_do_not_fit_are_counted_and_left_out(length, tokens, short):
    given = seen([length, 4], [*tokens, 2], [len(tokens), 1])
    verdict = given.module(given)
    verdict.sum.backward()
    assert verdict.left_out == {"ctc_short": short}
    assert given.targets.count == 1 + (0 if short else len(tokens))
    assert torch.isfinite(verdict.sum)
    assert torch.isfinite(given.hidden.grad).all()
    assert bool(given.hidden.grad[:length].any()) != bool(short)


def test_a_batch_of_short_values_alone_learns_nothing():
    given = seen([1, 1], [0, 1, 2, 2], [2, 2])
    verdict = given.module(given)
    verdict.sum.backward()
    assert (float(verdict.sum.detach()), given.targets.count, verdict.left_out) == (0.0, 0, {"ctc_short": 2})
    assert not given.hidden.grad.any()


def test_equal_labels_of_neighbours_are_not_one_value():
    assert needed(np.array([0, 1, 1, 1]), np.array([2, 2])).tolist() == [2, 3]
    assert needed(np.array([5, 5]), np.array([1, 1])).tolist() == [1, 1]
    assert needed(np.array([1, 1]), np.array([0, 2])).tolist() == [0, 3]


def test_it_learns_an_alignment():
    """Five positions, three of them labels: gradient descent on free states finds a path."""
    given = seen([5], [0, 2, 1], [3])
    optimiser = torch.optim.Adam([given.hidden, *given.module.parameters()], lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        given.module(given).sum.backward()
        optimiser.step()
    from ofasys.generator.ctc import ctc

    tokens, _ = ctc(given.module.log_probs(given), [5], {"ctc_beam": 1})[0]
    assert tokens.tolist() == [0, 2, 1]
