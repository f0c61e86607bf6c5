"""Rows of two tables as one: those a backbone brings, and ours after them. Neither is copied.

`V` rows in all, `D` width, `n` ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

Ids = NDArray[np.int64]


class JoinedRows:
    """What a table of V rows is asked for, of two that lie one after the other.

    scale: what rows are multiplied by where they are looked up; products of states are with the rows as they are.
    """

    def __init__(self, first: Float[Tensor, "F D"], second: Float[Tensor, "S D"], scale: float = 1.0) -> None:
        self.first, self.second, self.scale = first, second, scale

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    @property
    def shape(self) -> tuple[int, int]:
        """(V, D)."""
        return len(self), self.first.shape[1]

    @property
    def device(self) -> torch.device:
        """Of both tables."""
        return self.first.device

    @property
    def dtype(self) -> torch.dtype:
        """Of ours."""
        return self.second.dtype

    def __getitem__(self, at: Any) -> Tensor:
        """Rows of a slice, a view where they lie in one table; or of ids (n,)."""
        if not isinstance(at, slice):
            return self.index_select(0, at)
        lo, hi, _ = at.indices(len(self))
        count = len(self.first)
        if hi <= count:
            return self.first[lo:hi]
        if lo >= count:
            return self.second[lo - count : hi - count]
        return torch.cat([self.first[lo:], self.second[: hi - count]])

    def __setitem__(self, at: Int[Tensor, "n"], value: Float[Tensor, "n D"]) -> None:
        """New values for rows of ours."""
        self.second[at - len(self.first)] = value

    def index_select(self, _axis: int, ids: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Rows of ids in any order, as they are."""
        count = len(self.first)
        brought = self.first.index_select(0, ids.clamp(max=count - 1))
        if not len(self.second):
            return brought
        own = self.second.index_select(0, (ids - count).clamp(min=0))
        return torch.where((ids < count)[:, None], brought, own.to(brought.dtype))


def chosen(
    table: Tensor | JoinedRows, ids: Int[Ids, "n"], put: Callable[[Ids], Tensor] | None = None
) -> Float[Tensor, "n D"]:
    """Rows of ascending ids. put: ids as a tensor on the table's device, where that is not to wait for it."""
    device = table.device
    put = put or (lambda own: torch.from_numpy(own).to(device))
    if not isinstance(table, JoinedRows):
        return table.index_select(0, put(ids))
    count = int(np.searchsorted(ids, len(table.first)))
    parts = [
        part.index_select(0, put(own))
        for part, own in ((table.first, ids[:count]), (table.second, ids[count:] - len(table.first)))
        if len(own)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def looked_up(table: Tensor | JoinedRows, ids: Int[Tensor, "..."]) -> Float[Tensor, "... D"]:
    """What a model reads of tokens."""
    if not isinstance(table, JoinedRows):
        return embedding(ids, table)
    rows = table.index_select(0, ids.flatten()).unflatten(0, ids.shape)
    return rows if table.scale == 1.0 else rows * table.scale


def products(states: Float[Tensor, "n D"], table: Tensor | JoinedRows) -> Float[Tensor, "n V"]:
    """The product of each state with each row."""
    if not isinstance(table, JoinedRows):
        return states @ table.t()
    return torch.cat([states @ table.first.t(), states @ table.second.t()], 1)


def looked_up_beside(
    table: Float[Tensor, "V D"], ids: Int[Tensor, "n"]
) -> tuple[Float[Tensor, "n D"], Float[Tensor, "V D"]]:
    """What a model reads of tokens, and the table again, for what else of a pass reads it.

    The gradients of both are one: those of the rows are added to that of the table, where autograd would make a table
    of them, nearly all zeros, and add that.
    """
    rows, again = _Beside.apply(table, ids)
    return rows, again


def filled(gradient: Tensor) -> Tensor:
    """A gradient that nothing else holds: `looked_up_beside` may add to it where it is. Autograd does not tell."""
    gradient.__dict__[_ALONE] = True
    return gradient


_ALONE = "held_by_nothing_else"


class _Beside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(ids)
        ctx.like = table.shape, table.dtype
        return table.index_select(0, ids), table.data  # no view of it: a slice has its gradient from here

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (ids,), (of_rows, of_table) = ctx.saved_tensors, grads
        if of_rows is None:
            return of_table, None
        if of_table is None:
            of_table = torch.zeros(ctx.like[0], dtype=ctx.like[1])
        elif _ALONE not in of_table.__dict__:
            of_table = of_table.clone()
        return of_table.index_add_(0, ids, of_rows), None
