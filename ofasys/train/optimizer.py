"""AdamW with the field's usual care, and the learning rate over a run."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ofasys.errors import ConfigError


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


def adamw(model: nn.Module, rate: float, weight_decay: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, 2019). Matrices decay; norms, biases, scales and the token table do not.

    Parameters without a gradient in a step are left alone, moments and all: a task does not wear down what it does not
    use.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim >= 2 and not name.startswith("adaptors.tokens") and "positions" not in name
        (decayed if matrix else plain).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=betas, fused=True)


@torch.no_grad()
def gradient_norm(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """() float32: the length of all gradients of an optimizer's parameters as one vector; 0 where there is none."""
    squares = [
        torch.dot(flat, flat)  # a product with itself is read once and by all threads: twice as fast as torch's norm
        for group in optimizer.param_groups
        for flat in (p.grad.reshape(-1) for p in group["params"] if p.grad is not None)
    ]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())


def step_clipped(
    optimizer: torch.optim.Optimizer, norm: torch.Tensor, clip: float, skip: torch.Tensor | None = None
) -> None:
    """One step with gradients of length `norm` shortened to `clip` where they are longer. skip (): 1: no step after
    all.

    A fused optimizer divides by `grad_scale` as it reads a gradient, and looks at `found_inf` itself: clipping takes no
    pass of its own, and nobody waits for the norm.
    """
    own: Any = optimizer
    own.grad_scale = ((norm + 1e-6) / clip).clamp_(min=1.0)
    if skip is not None:
        own.found_inf = skip
    try:
        optimizer.step()
    finally:
        del own.grad_scale
        if skip is not None:
            del own.found_inf


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, torch.Tensor]:
    """The optimizer's state by parameter name, so that it is independent of construction order."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {f"{key}/{names[p]}": value for p, state in optimizer.state.items() for key, value in state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, saved: dict[str, torch.Tensor]) -> None:
    """Put the state back; parameters that had none then start fresh, as do rows that have been added since."""
    parameters = dict(model.named_parameters())
    for key, value in saved.items():
        kind, _, name = key.partition("/")
        if name not in parameters:
            continue
        parameter = parameters[name]
        if value.ndim and value.shape != parameter.shape:
            grown = torch.zeros_like(parameter)
            grown[: len(value)] = value
            value = grown
        optimizer.state[parameter][kind] = value if kind == "step" else value.to(parameter.device)
