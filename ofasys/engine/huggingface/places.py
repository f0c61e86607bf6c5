"""Where positions stand, told to modules of the library that would count them by the length of their cache.

A session may hold rows of different lengths, with places between that hold nothing, and trees of nodes: a count is then
wrong. Decoders alone take `position_ids`; BART's and Pegasus' tables and T5's biases read theirs here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from typing import Annotated as Int


@dataclass(frozen=True)
class Places:
    """Of one pass of one stack."""

    queries: Int[Tensor, "R n"]
    """Of the positions that are computed."""
    keys: Int[Tensor, "R L"]
    """Of all that they may see, themselves at the end."""


_HERE: ContextVar[Places | None] = ContextVar("places", default=None)


@contextmanager
def standing(places: Places) -> Iterator[None]:
    """Within it modules that were `placed` read these places, in this thread alone."""
    token = _HERE.set(places)
    try:
        yield
    finally:
        _HERE.reset(token)


def place(stack: nn.Module) -> None:
    """Let a stack of the library read `Places` instead of counting."""
    table = getattr(stack, "embed_positions", None)
    if isinstance(table, nn.Module):
        table.register_forward_pre_hook(_asked, with_kwargs=True)
        table.register_forward_hook(_shaped)
    for module in stack.modules():
        if hasattr(module, "relative_attention_bias") and hasattr(module, "compute_bias"):
            module.compute_bias = MethodType(_bias, module)  # type: ignore[assignment]


def _asked(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """A table of places is asked for these, flat, instead of those it would count."""
    here = _HERE.get()
    return None if here is None else (args, {**kwargs, "position_ids": here.queries.flatten()})


def _shaped(_module: nn.Module, _args: tuple[Any, ...], made: Tensor) -> Tensor:
    """Rows of the table, (R * n, D) -> (R, n, D)."""
    here = _HERE.get()
    return made if here is None else made.reshape(*here.queries.shape, -1)


def _bias(self: Any, _queries: int, _keys: int, device: Any = None, past_seen_tokens: int = 0) -> Tensor:
    """T5's bias of each pair of places, (R, heads, n, L). The arguments, counts, are those of `compute_bias`."""
    here = _HERE.get()
    assert here is not None, "a stack with relative biases is run within `standing`"
    buckets = self._relative_position_bucket(
        here.keys[:, None, :] - here.queries[:, :, None],
        bidirectional=not self.is_decoder,
        num_buckets=self.relative_attention_num_buckets,
        max_distance=self.relative_attention_max_distance,
    )
    made: Tensor = self.relative_attention_bias(buckets)
    return made.permute(0, 3, 1, 2)


def same_places(rows: int, count: int, device: torch.device) -> Int[Tensor, "R n"]:
    """0 to count-1 in each row."""
    return torch.arange(count, device=device).expand(rows, count)
