import math

import pytest
import torch
from torch import nn

from ofasys import ConfigError
from ofasys.train.optimizer import (
    adamw,
    gradient_norm,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
    step_clipped,
)
from tests.train import tiny


def test_the_rate_warms_up_and_falls():
    rates = [learning_rate(step, 20, 1.0, 4, "linear") for step in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[12] == pytest.approx(0.02 + 0.98 * 0.5)
    assert rates == sorted(rates[:4]) + sorted(rates[4:], reverse=True)
    cosine = [learning_rate(step, 20, 1.0, 4, "cosine") for step in range(21)]
    assert cosine[8] == pytest.approx(0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert cosine[20] == pytest.approx(0.02)
    assert {learning_rate(step, 20, 0.5, 0, "constant") for step in range(30)} == {0.5}
    assert learning_rate(99, 20, 1.0, 4, "linear") == pytest.approx(0.02)
    with pytest.raises(ConfigError, match="decay is 'cosin'"):
        learning_rate(0, 20, 1.0, 4, "cosin")


def test_matrices_decay_and_the_rest_does_not():
    model = tiny.model()
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = adamw(model, 1e-3, 0.1, (0.9, 0.98)).param_groups
    decayed = {names[p] for p in groups[0]["params"]}
    plain = {names[p] for p in groups[1]["params"]}
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.1, 0.0)
    assert decayed | plain == set(names.values())
    assert "adaptors.tokens.weight" in plain
    assert not any("position" in name or "norm" in name or name.endswith("bias") for name in decayed)
    assert all(dict(model.named_parameters())[name].ndim == 2 for name in decayed)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)


def test_what_a_step_does_not_use_is_left_alone_moments_and_all():
    model = Two()
    optimizer = adamw(model, 0.1, 0.5, (0.9, 0.98))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    before = {name: value.clone() for name, value in optimizer_tensors(optimizer, model).items()}
    weight = model.b.weight.clone()
    optimizer.zero_grad(set_to_none=True)
    model.a.weight.grad = torch.ones(3, 3)
    optimizer.step()
    after = optimizer_tensors(optimizer, model)
    assert torch.equal(model.b.weight, weight)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"step/a.weight", "exp_avg/a.weight", "exp_avg_sq/a.weight"}


def test_moments_come_back_by_name_and_grow_with_their_parameter():
    model = Two()
    optimizer = adamw(model, 0.1, 0.0, (0.9, 0.98))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    saved = {name: value.clone() for name, value in optimizer_tensors(optimizer, model).items()}
    larger = Two()
    larger.a = nn.Linear(3, 5)
    again = adamw(larger, 0.1, 0.0, (0.9, 0.98))
    restore_optimizer(again, larger, saved | {"step/gone": torch.ones(())})
    state = again.state[larger.a.weight]
    assert torch.equal(state["exp_avg"][:3], saved["exp_avg/a.weight"])
    assert not state["exp_avg"][3:].any()
    assert float(state["step"]) == 1
    for parameter in larger.parameters():
        parameter.grad = torch.ones_like(parameter)
    again.step()


@pytest.mark.parametrize("clip", [0.5, 1e3])
def test_a_clipped_step_is_that_of_torch(clip):
    ends = []
    for clipped in (False, True):
        torch.manual_seed(0)
        model = Two()
        optimizer = adamw(model, 1e-2, 0.1, (0.9, 0.98))
        for step in range(3):
            optimizer.zero_grad(set_to_none=True)
            for parameter in list(model.parameters())[: step + 1]:  # not all have a gradient in every step
                parameter.grad = torch.randn_like(parameter) * 10
            norm = gradient_norm(optimizer)
            if clipped:
                step_clipped(optimizer, norm, clip)
            else:
                torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(model.parameters(), clip))
                optimizer.step()
        assert not hasattr(optimizer, "grad_scale")
        ends.append([p.detach().clone() for p in model.parameters()])
    torch.testing.assert_close(*ends)


def test_a_norm_is_zero_without_gradients_and_tells_what_is_not_finite():
    model = Two()
    optimizer = adamw(model, 1e-2, 0.1, (0.9, 0.98))
    assert gradient_norm(optimizer) == 0
    next(model.parameters()).grad = torch.full_like(next(model.parameters()), torch.inf)
    assert not torch.isfinite(gradient_norm(optimizer))
