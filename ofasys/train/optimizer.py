"""An update with the field's usual care, the learning rate over a run, and what an optimizer keeps of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ofasys.errors import ConfigError, PluginError
from ofasys.parallel.placed import placed_as
from ofasys.train.groups import groups_of
from ofasys.train.optimizers import ADAMW

NUMBER = ".number"  # ends the name of what an optimizer keeps that is no tensor


def learning_rate(step: int, max_steps: int, peak: float, warmup: int, decay: str, floor: float = 0.02) -> float:
    """The rate at a step: linear warm-up to `peak`, then "cosine" or "linear" down to floor * peak, or "constant"."""
    if decay not in ("cosine", "linear", "constant"):
        raise ConfigError(f"decay is {decay!r}; it is 'cosine', 'linear' or 'constant'")
    if step < warmup:
        return peak * (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, max_steps - warmup))
    if decay == "constant":
        return peak
    fall = 0.5 * (1 + math.cos(math.pi * share)) if decay == "cosine" else 1 - share
    return peak * (floor + (1 - floor) * fall)


def adamw(model: nn.Module, rate: float, weight_decay: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """AdamW for all of a model.

    Parameters without a gradient in a step are left alone, moments and all: a task does not wear down what it does not
    use.
    """
    return ADAMW.optimizer(model, groups_of(model, weight_decay), rate, betas)


def gradients(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Of all its parameters that have one."""
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


@torch.no_grad()
def gradient_norm(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """() float32: the length of all gradients of an optimizer's parameters as one vector; 0 where there is none."""
    squares = [
        torch.dot(flat, flat)  # a product with itself is read once and by all threads: twice as fast as torch's norm
        for flat in (gradient.reshape(-1) for gradient in gradients(optimizer))
    ]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())


def step_clipped(
    optimizer: torch.optim.Optimizer,
    norm: torch.Tensor,
    clip: float,
    skip: torch.Tensor | None = None,
    times: torch.Tensor | None = None,
) -> None:
    """One step with gradients of length `norm` shortened to `clip` where they are longer. skip (): 1: no step after
    all. times (): what the gradients are multiplied by, which `norm` is not.

    A fused optimizer divides by `grad_scale` as it reads a gradient, and looks at `found_inf` itself: clipping takes no
    pass of its own, and nobody waits for the norm. For any other the gradients are shortened where they are, and the
    device is asked whether to take the step.
    """
    scale = ((norm + 1e-6) / clip).clamp_(min=1.0)
    scale = scale if times is None else scale * times
    if getattr(optimizer, "_step_supports_amp_scaling", False):  # torch's word for what GradScaler leaves to it
        _step_fused(optimizer, scale, skip)
    elif skip is None or not bool(skip):
        torch._foreach_div_(gradients(optimizer), scale)
        optimizer.step()


def _step_fused(optimizer: torch.optim.Optimizer, scale: torch.Tensor, skip: torch.Tensor | None) -> None:
    own: Any = optimizer
    own.grad_scale = scale
    if skip is not None:
        own.found_inf = skip
    try:
        optimizer.step()
    finally:
        del own.grad_scale
        if skip is not None:
            del own.found_inf


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, torch.Tensor]:
    """KIND/NAME -> the optimizer's state, by parameter name, so that it is independent of construction order.

    A number that is no tensor is KIND.number/NAME. Errors: PluginError for what a checkpoint cannot hold.
    """
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    found: dict[str, torch.Tensor] = {}
    for parameter, state in optimizer.state.items():
        for kind, value in state.items():
            if isinstance(value, torch.Tensor):
                found[f"{kind}/{names[parameter]}"] = value
            elif isinstance(value, int | float):
                dtype = torch.float64 if isinstance(value, float) else torch.int64
                found[f"{kind}{NUMBER}/{names[parameter]}"] = torch.tensor(value, dtype=dtype)
            elif value is not None:
                raise PluginError(
                    f"{type(optimizer).__name__} keeps {kind}={value!r:.60} of {names[parameter]}, which a checkpoint "
                    "cannot hold; keep tensors and numbers"
                )
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, saved: Mapping[str, torch.Tensor]) -> None:
    """Put the state back; parameters that had none then start fresh, as do rows that have been added since.

    As in torch, an optimizer counts its steps where its parameters are if it is fused or capturable, else on the host.
    """
    parameters = dict(model.named_parameters())
    counting = [group for group in optimizer.param_groups if group.get("fused") or group.get("capturable")]
    beside = {p for group in counting for p in group["params"]}
    for key, value in saved.items():
        kind, _, name = key.partition("/")
        if name not in parameters:
            continue
        parameter = parameters[name]
        if kind.endswith(NUMBER):
            optimizer.state[parameter][kind.removesuffix(NUMBER)] = value.item()
        elif not value.ndim:
            there = kind != "step" or parameter in beside
            optimizer.state[parameter][kind] = value.to(parameter.device) if there else value
        else:
            optimizer.state[parameter][kind] = placed_as(_grown(value, parameter), parameter)


def _grown(value: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """What was kept of each row of a parameter, or of all together where it has one row, with zeros for new rows."""
    more = len(parameter) - len(value) if len(value) > 1 else 0
    return torch.cat([value, value.new_zeros(more, *value.shape[1:])]) if more > 0 else value
