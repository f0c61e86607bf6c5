"""Frames: the loss by hand, where a value stops, and what an adaptor without postnet or stop gets."""

import pytest
import torch

from ofasys.criterion.frames import Frames
from ofasys.types import SlotPrediction, SlotTargets

LENGTHS = [3, 1, 4]


def seen(made, truth):
    targets = SlotTargets(
        slot=0,
        side="target",
        criterion="frames",
        at=torch.arange(8),
        lengths=torch.tensor(LENGTHS),
        tensors={"frames": truth},
        sizes={"lengths": tuple(LENGTHS)},
        count=8,
    )
    return SlotPrediction(targets, torch.zeros(8, 4), made, None)


def judged(given, weight=5.0):
    return Frames({"stop_weight": weight}, 4)(given)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_what_tacotron_s_is():
    truth = random(16, 5)
    made = {"coarse": random(8, 2, 5, seed=1), "frames": random(8, 2, 5, seed=2), "stop": random(8, seed=3)}
    given = seen(made, truth)
    verdict = judged(given)
    expected = 0.0
    for guess in (made["coarse"], made["frames"]):
        off = guess.reshape(16, 5) - truth
        expected += float(off.abs().mean() + off.square().mean())
    last = torch.tensor([0, 0, 1, 1, 0, 0, 0, 1.0])
    p = torch.sigmoid(made["stop"])
    stop = float(-(5 * last * p.log() + (1 - last) * (1 - p).log()).mean())
    assert float(verdict.sum) / 8 == pytest.approx(expected + stop, rel=1e-5)
    assert float(verdict.figures["stop"]) == pytest.approx(stop, rel=1e-5)
    assert set(verdict.figures) == {"l1", "l2", "stop"}


def test_the_truth_is_nothing_to_lose():
    truth = random(16, 5)
    last = torch.tensor([0, 0, 1, 1, 0, 0, 0, 1.0])
    made = {"coarse": truth.view(8, 2, 5), "frames": truth.view(8, 2, 5), "stop": (last - 0.5) * 100}
    given = seen(made, truth)
    assert float(judged(given).sum) == pytest.approx(0, abs=1e-6)


def test_without_postnet_and_stop():
    truth, guess = random(8, 5), random(8, 5, seed=1)
    given = seen({"frames": guess}, truth)
    verdict = judged(given)
    off = guess - truth
    assert float(verdict.sum) / 8 == pytest.approx(float(off.abs().mean() + off.square().mean()), rel=1e-5)
    assert set(verdict.figures) == {"l1", "l2"}


def test_it_has_gradients_and_no_weights():
    made = {"frames": random(8, 2, 5).requires_grad_(), "stop": random(8).requires_grad_()}
    given = seen(made, random(16, 5, seed=1))
    judged(given).sum.backward()
    assert all(x.grad.any() for x in made.values())
    assert not Frames({"stop_weight": 5.0}, 4).state_dict()
