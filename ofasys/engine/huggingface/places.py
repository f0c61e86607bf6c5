"""Where positions stand, told to modules of the library that would count them by the length of their cache.

A session may hold rows of different lengths, with places between that hold nothing, and trees of nodes: a count is then
wrong. Decoders alone take `position_ids`; BART's and Pegasus' tables and T5's biases read theirs here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MethodType
from typing import TYPE_CHECKING, Any

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
    counted: bool = False
    """Whether both are 0, 1, ... in each row."""
    computed: Int[Tensor, "N"] | None = None
    """Which of the R * n positions are computed, where these lie end to end; None: all, in rows."""
    sums: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)
    """A bias, a mask and their sum, by who both are; they are held, so that none other is taken for them."""

    @property
    def own(self) -> Int[Tensor, "R n"]:
        """Of the positions as they lie: in rows, or in one row end to end."""
        return self.queries if self.computed is None else self.queries.flatten()[self.computed][None]

    def together(self, bias: Tensor, mask: Tensor) -> Tensor:
        """Their sum; all layers share one."""
        key = (id(bias), id(mask))
        if key not in self.sums:
            self.sums[key] = bias, mask, bias + mask
        return self.sums[key][2]


_HERE: ContextVar[Places | None] = ContextVar("places", default=None)


@contextmanager
def standing(places: Places) -> Iterator[None]:
    """Within it modules that were `placed` read these places, in this thread alone."""
    token = _HERE.set(places)
    try:
        yield
    finally:
        _HERE.reset(token)


def here() -> Places:
    """What was said by `standing` around this call."""
    found = _HERE.get()
    assert found is not None, "stacks of a backbone are run within `standing`"
    return found


def place(stack: nn.Module) -> None:
    """Let a stack of the library read `Places` instead of counting."""
    table = getattr(stack, "embed_positions", None)
    if isinstance(table, nn.Module):
        table.register_forward_pre_hook(_asked, with_kwargs=True)
        table.register_forward_hook(_shaped)
    for module in stack.modules():
        if hasattr(module, "compute_bias"):
            learned = hasattr(module, "relative_attention_bias")
            module.compute_bias = MethodType(_bias if learned else _no_bias, module)  # type: ignore[assignment]
            module.has_relative_attention_bias = True  # type: ignore[assignment]


def _asked(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """A table of places is asked for these, flat, instead of those it would count."""
    return args, {**kwargs, "position_ids": here().own.flatten()}


def _shaped(_module: nn.Module, _args: tuple[Any, ...], made: Tensor) -> Tensor:
    """Rows of the table, (R * n, D) -> (R, n, D)."""
    return made.reshape(*here().own.shape, -1)


def _bias(self: Any, _queries: int, _keys: int, device: Any = None, past_seen_tokens: int = 0) -> Tensor:
    """T5's bias of each pair of places, (R or 1, heads, n, L). The arguments, counts, are those of `compute_bias`."""
    places = here()
    rows = slice(0, 1) if places.counted else slice(None)
    buckets = self._relative_position_bucket(
        places.keys[rows, None, :] - places.queries[rows, :, None],
        bidirectional=not self.is_decoder,
        num_buckets=self.relative_attention_num_buckets,
        max_distance=self.relative_attention_max_distance,
    )
    made: Tensor = self.relative_attention_bias(buckets)
    return made.permute(0, 3, 1, 2)


def _no_bias(_self: Any, _queries: int, _keys: int, device: Any = None, past_seen_tokens: int = 0) -> None:
    """Of T5's products that have none: zeros of their whole shape would be made and added."""
