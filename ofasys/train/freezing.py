"""Keeping what is frozen from learning, from which update to which."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ofasys.errors import ConfigError
from ofasys.train.groups import Group


class Freezing:
    """Keeps gradients from what is frozen. Use as a context: after it all is as it was."""

    def __init__(self, groups: Sequence[Group]) -> None:
        """Errors: ConfigError where the first update would have nothing to learn."""
        self.groups = [group for group in groups if group.freeze]
        if groups and all(group.frozen(0) for group in groups):
            raise ConfigError(
                "trainer.groups freezes every parameter from the first update on, so there is nothing to learn; leave "
                "some out"
            )
        self.given: list[tuple[nn.Parameter, bool]] = []

    def __enter__(self) -> Freezing:
        self.given = [(one, one.requires_grad) for group in self.groups for one in group.parameters.values()]
        return self

    def at(self, step: int) -> None:
        """Before an update. step: updates before it."""
        given = iter(self.given)
        for group in self.groups:
            frozen = group.frozen(step)
            for parameter in group.parameters.values():
                parameter.requires_grad_(next(given)[1] and not frozen)

    def __exit__(self, *problem: object) -> None:
        for parameter, learned in self.given:
            parameter.requires_grad_(learned)
