"""What a position scheme is: how a transformer knows where a position stands. A record, read without torch.

`N` stream positions, `B` samples, `T` query and `S` key positions, `H` heads, `K` head width, `D` width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ofasys.packages import loaded

if TYPE_CHECKING:
    from torch import Tensor

    from ofasys.model.sizes import ModelConfig


def _fine(config: ModelConfig) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class PositionScheme:
    """A way of telling positions apart, chosen by `ModelConfig(positions=NAME)`."""

    name: str
    about: str
    """In a sentence, for lists."""
    load: str
    """ "module:class", a `Positions`, one a side of the model; imported when a model is made."""
    cost: Callable[[ModelConfig, bool], int] = lambda config, decoder: 0
    """(configuration, decoder) -> learned numbers of one side."""
    check: Callable[[ModelConfig], str | None] = _fine
    """What is wrong with a configuration for this scheme, as a sentence; None: nothing."""

    def resolve(self) -> Any:
        """The class itself. Errors: PluginError where it cannot be imported."""
        return loaded(f"position scheme {self.name!r}", "load", self.load)


def positions_of(scheme: PositionScheme, config: ModelConfig, decoder: bool) -> Any:
    """The scheme's module for one side of a model."""
    return scheme.resolve()(config, decoder)


def top_of(positions: Tensor, top: Sequence[int] | None) -> Sequence[int]:
    """The largest order, y and x of positions (..., 3): as they are known, or asked of the device."""
    found: Sequence[int] = positions.reshape(-1, 3).amax(0).tolist() if top is None else top
    return found
