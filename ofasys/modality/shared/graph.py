"""What a graph that runs without this package reads for a slot: a value whose shape is known before data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from typing import Annotated as Int

    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GraphInput:
    """A value of a slot as an exported graph takes it. What a `Part` of a preprocessor names with `graph` gives it."""

    about: str
    """What to hand over, for those who make it without this package."""
    shape: tuple[int, ...]
    """Of one value."""
    dtype: torch.dtype
    """Of its numbers."""
    length: int
    """Stream positions it takes."""
    orders: int
    """Places of the sentence it takes."""
    grid: Int[Tensor, "length 2"] | None
    """(y, x) of each position. None: none has."""
    tensors: Callable[[Tensor], Mapping[str, Tensor]]
    """Values (B, *shape) -> what the slot's adaptor embeds, B * `length` positions. torch alone, without a branch."""
