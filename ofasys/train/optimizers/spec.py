"""What an optimizer is to a run: a record, built in or of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ofasys.errors import ConfigError, PluginError, nearest
from ofasys.train.groups import Group

Make = Callable[[nn.Module, Sequence[Group], float, tuple[float, float]], torch.optim.Optimizer]


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer that a run can name."""

    name: str
    about: str
    """In a sentence."""
    make: Make
    """(model, groups, learning rate, betas) -> the optimizer of the groups' parameters. A step sets `lr` of each of its
    `param_groups`, and leaves alone what has no gradient."""
    lr: float
    """The highest learning rate of a run that gives none."""
    shards: bool = False
    """Whether it learns parameters that lie in pieces on several processes (DTensor) as it learns whole ones."""

    def optimizer(
        self, model: nn.Module, groups: Sequence[Group], lr: float, betas: tuple[float, float]
    ) -> torch.optim.Optimizer:
        """One for these groups. Errors: PluginError where it is none, or lacks a parameter or has it twice."""
        try:
            made = self.make(model, groups, lr, betas)
        except Exception as error:
            raise PluginError(
                f"optimizer {self.name!r} cannot be made ({type(error).__name__}: {error}); mend its make, or give "
                "another optimizer"
            ) from error
        if not isinstance(made, torch.optim.Optimizer):
            raise PluginError(f"make of optimizer {self.name!r} gave a {type(made).__name__}; give a torch Optimizer")
        held = Counter(id(parameter) for group in made.param_groups for parameter in group["params"])
        for name, parameter in (one for group in groups for one in group.parameters.items()):
            if (times := held.pop(id(parameter), 0)) != 1:
                raise PluginError(
                    f"make of optimizer {self.name!r} put {name} in {times} places; give its param_groups each "
                    "parameter of the groups once"
                )
        if held:
            raise PluginError(f"make of optimizer {self.name!r} took {len(held)} parameters that are in no group")
        self._give_factors(made, groups)
        return made

    def _give_factors(self, made: torch.optim.Optimizer, groups: Sequence[Group]) -> None:
        """Each of its groups gets the `factor` of its rate. Errors: PluginError where one has several."""
        factors = {id(one): group.factor for group in groups for one in group.parameters.values()}
        for group in made.param_groups:
            own = {factors[id(parameter)] for parameter in group["params"]}
            if len(own) > 1:
                raise PluginError(
                    f"make of optimizer {self.name!r} joined groups of different rates; give it a param_group for each"
                )
            group["factor"] = own.pop() if own else 1.0


def for_torch(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The groups as torch's optimizers take them."""
    return [{"params": list(group.parameters.values()), "weight_decay": group.weight_decay} for group in groups]


def find(optimizer: str | OptimizerSpec, known: Mapping[str, OptimizerSpec]) -> OptimizerSpec:
    """The optimizer of that name; a record as it is. Errors: ConfigError for a name that is not known, or no record."""
    if isinstance(optimizer, OptimizerSpec):
        return optimizer
    if not isinstance(optimizer, str):
        raise ConfigError(f"trainer.optimizer is {optimizer!r:.80}; give a name or an OptimizerSpec")
    if optimizer not in known:
        raise ConfigError(
            f"trainer.optimizer is {optimizer!r}; {nearest(optimizer, known)}there are {', '.join(known)}"
        )
    return known[optimizer]
