"""Which parameters of a model are trained alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Group:
    """Parameters that are trained alike."""

    parameters: Mapping[str, nn.Parameter]
    """By their names in the model."""
    weight_decay: float
    """Share of each that is taken off at a learning rate of 1, a step."""


def groups_of(model: nn.Module, weight_decay: float) -> list[Group]:
    """All parameters of a model. Matrices decay; norms, biases, scales, positions and the token table do not."""
    decayed: dict[str, nn.Parameter] = {}
    plain: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim >= 2 and not name.startswith("adaptors.tokens") and "positions" not in name
        (decayed if matrix else plain)[name] = parameter
    return [Group(group, decay) for group, decay in ((decayed, weight_decay), (plain, 0.0)) if group]
