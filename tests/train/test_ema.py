"""A moving average where torch's own goes wrong: halves, buffers, whole numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ofasys.train.callback import RunView
from ofasys.train.callbacks import EMA


class Odd(nn.Module):
    """Weights in half precision, and buffers and a parameter that are no weights."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
        self.table = nn.Parameter(torch.tensor([30, 50]), requires_grad=False)
        self.register_buffer("count", torch.tensor(30))
        self.register_buffer("seen", torch.tensor([True, False]))
        self.register_buffer("mean", torch.tensor(4.0))


def viewed(model):
    return RunView(model, torch.optim.SGD([model.weight], lr=0.1), (), 1000)


def test_a_half_moves_as_the_formula_says_and_torch_s_does_not():
    model, ema = Odd(), EMA(0.999)
    run, theirs = viewed(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    ema.before_fit(run)
    theirs.update_parameters(model)
    with torch.no_grad():
        model.weight.fill_(2.0)
    for _ in range(1000):
        ema.after_step(run)
        theirs.update_parameters(model)
    assert ema.average["weight"].tolist() == pytest.approx([2 - 0.999**1000] * 3, rel=1e-4)
    assert theirs.module.weight.tolist() == [1.0] * 3  # why it is not used here
    with ema.averaged(model):
        assert model.weight.tolist() == pytest.approx([1.632] * 3, abs=5e-3)
    assert model.weight.tolist() == [2.0] * 3


def test_what_is_no_weight_is_the_model_s_own():
    model, ema = Odd(), EMA(0.9)
    run = viewed(model)
    ema.before_fit(run)
    model.count.fill_(50)
    model.seen.logical_not_()
    model.mean.fill_(8.0)
    model.table.fill_(7)
    ema.after_step(run)
    assert set(ema.average) == set(ema.answering_weights()) == set(ema.state()) == {"weight"}
    ema.before_evaluation(run)
    assert (int(model.count), model.seen.tolist(), float(model.mean)) == (50, [False, True], 8.0)
    assert model.table.tolist() == [7, 7]
    ema.after_evaluation(run)
    assert model.table.tolist() == [7, 7]
