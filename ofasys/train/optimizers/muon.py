"""Muon (Jordan et al., 2024) for the hidden matrices, AdamW for all else: https://kellerjordan.github.io/posts/muon.

A step of a matrix is its momentum made orthogonal, as long as one of AdamW (Liu et al., 2025,
https://arxiv.org/abs/2502.16982): the rate and the decay mean what they mean there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ofasys.model.low_rank import is_change
from ofasys.train.groups import Group
from ofasys.train.optimizers import adamw
from ofasys.train.optimizers.spec import OptimizerSpec, for_torch

if TYPE_CHECKING:
    from typing import Annotated as Float


TOGETHER = 2**22  # numbers of matrices that are stacked at once, at most: larger ones gain nothing


class Muon(torch.optim.Muon):
    """torch's, with matrices of one shape made orthogonal together: of small ones, most of a step is the starting of
    operations.
    """

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, nesterov=True, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; of matrices that processes share in pieces, torch's own."""
        if closure is not None or any(isinstance(one, DTensor) for g in self.param_groups for one in g["params"]):
            super().step(closure)
            return
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    short, long = sorted(matrix.shape)
                    alike.setdefault((short, long), []).append(matrix)
            for (short, long), matrices in alike.items():
                many = max(1, TOGETHER // (short * long))
                for first in range(0, len(matrices), many):
                    self._step(group, matrices[first : first + many])

    def _step(self, group: dict[str, Any], matrices: list[Tensor]) -> None:
        lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if "momentum_buffer" not in self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        moments = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(moments, gradients, 1 - momentum)
        wanted = torch._foreach_lerp(gradients, moments, momentum)
        tall = [matrix.shape[0] > matrix.shape[1] for matrix in matrices]
        flat = torch.stack([one.T if t else one for one, t in zip(wanted, tall, strict=True)]).bfloat16()
        found = orthogonal(flat, group["ns_coefficients"], group["ns_steps"], group["eps"])
        length = 0.2 * math.sqrt(max(flat.shape[1:]))  # of an update, as one of AdamW
        torch._foreach_mul_(matrices, 1 - lr * decay)
        updates = [one.T if t else one for one, t in zip(found, tall, strict=True)]
        torch._foreach_add_(matrices, updates, alpha=-lr * length)


def orthogonal(
    x: Float[Tensor, "n short long"], coefficients: tuple[float, float, float], steps: int, eps: float
) -> Float[Tensor, "n short long"]:
    """Matrices made nearly orthogonal by the iteration of Newton and Schulz, as Muon's authors chose its polynomial."""
    a, b, c = coefficients
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Joined(torch.optim.Optimizer):
    """Several optimizers as one: each steps its own parameters; groups and state are in one place."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each."""
        if closure is not None:
            raise TypeError("a joined optimizer takes no closure")
        for part in self.parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of any torch optimizer."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Give the parts the groups and the state that are here."""
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state


def hidden_matrices(model: nn.Module) -> set[str]:
    """The names of the matrices between hidden states: those of the engine that are no table, and no change of
    low rank.
    """
    tables = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    return {
        name
        for name, parameter in model.named_parameters()
        if name.startswith("engine.") and parameter.ndim == 2 and name not in tables and "positions" not in name
        if not is_change(name)
    }


def make(model: nn.Module, groups: Sequence[Group], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """torch's two, joined; AdamW alone where there is no hidden matrix."""
    hidden = hidden_matrices(model)
    matrices = [_only(group, group.parameters.keys() & hidden) for group in groups]
    others = [_only(group, group.parameters.keys() - hidden) for group in groups]
    parts: list[torch.optim.Optimizer] = []
    if taken := [group for group in matrices if group.parameters]:
        parts.append(Muon(for_torch(taken), lr))
    if left := [group for group in others if group.parameters]:
        parts.append(adamw.make(model, left, lr, betas))
    return Joined(parts)


def _only(group: Group, names: set[str]) -> Group:
    return replace(group, parameters={name: one for name, one in group.parameters.items() if name in names})


MUON = OptimizerSpec(
    "muon", "Muon for hidden matrices, AdamW for all else: one moment a matrix.", make, lr=1e-3, shards=True
)
