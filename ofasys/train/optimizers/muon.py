"""Muon (Jordan et al., 2024) for the hidden matrices, AdamW for all else: https://kellerjordan.github.io/posts/muon.

A step of a matrix is its momentum made orthogonal, as long as one of AdamW (Liu et al., 2025,
https://arxiv.org/abs/2502.16982): the rate and the decay mean what they mean there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ofasys.model.low_rank import is_change
from ofasys.train.groups import Group
from ofasys.train.optimizers import adamw
from ofasys.train.optimizers.spec import OptimizerSpec, for_torch


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
        parts.append(torch.optim.Muon(for_torch(taken), lr=lr, adjust_lr_fn="match_rms_adamw"))
    if left := [group for group in others if group.parameters]:
        parts.append(adamw.make(model, left, lr, betas))
    return Joined(parts)


def _only(group: Group, names: set[str]) -> Group:
    return replace(group, parameters={name: one for name, one in group.parameters.items() if name in names})


MUON = OptimizerSpec(
    "muon", "Muon for hidden matrices, AdamW for all else: one moment a matrix.", make, lr=1e-3, shards=True
)
