"""What incremental decoding remembers: keys and values of each layer, and what can be prepared once.

`R` rows (hypotheses), `B` sources, R = B * group, `L` room for positions, `H` heads, `K` head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ofasys.model.prepared import PreparedLayers

if TYPE_CHECKING:
    from typing import Annotated as Float


@dataclass(frozen=True)
class CrossCache:
    """The source, of at most S positions, as one layer sees it."""

    k: Float[Tensor, "B H S K"]
    """Keys."""
    v: Float[Tensor, "B H S K"]
    """Values."""


class Cache:
    """The state of one decoding of R rows. `filled` positions are in it; `self_kv` is (layers, 2, R, L, H, K).

    layers: the decoder's, laid out for it. skip (R,): a row's first places that hold nothing, where rows began at
    different lengths; None where all are full.
    positions (R, L, 3): where they stand, for schemes that bias scores; None for others. source (B, H, S, K): as of
    `Positions.across`, for schemes that bias scores over the source; None for others.
    """

    def __init__(
        self,
        self_kv: Tensor,
        layers: PreparedLayers,
        cross: list[CrossCache] | None,
        mask: Tensor | None,
        group: int,
        positions: Tensor | None = None,
        source: Tensor | None = None,
    ) -> None:
        self.self_kv = self_kv
        self.layers = layers
        self.cross = cross
        self.mask = mask
        self.group = group
        self.positions = positions
        self.source = source
        self.filled = 0
        self.skip: Tensor | None = None
        self._call: tuple[tuple[Tensor | None, ...], Any] | None = None

    def called(self, make: Callable[[Cache], Any]) -> Any:
        """What `make` gives of it, made anew when its tensors are others."""
        now = (self.self_kv, None if self.cross is None else self.cross[0].k, self.mask, self.skip)
        if self._call is None or any(one is not other for one, other in zip(self._call[0], now, strict=True)):
            self._call = now, make(self)
        return self._call[1]

    @property
    def rows(self) -> int:
        """R."""
        return self.self_kv.shape[2]

    @property
    def room(self) -> int:
        """L: positions that fit before the cache has to grow."""
        return self.self_kv.shape[3]

    def reserve(self, more: int) -> None:
        """Make room for `more` positions beyond those filled."""
        if self.filled + more <= self.room:
            return
        layers, two, R, _, H, K = self.self_kv.shape
        grown = self.self_kv.new_empty(layers, two, R, max(2 * self.room, self.filled + more), H, K)
        grown[:, :, :, : self.filled] = self.self_kv[:, :, :, : self.filled]
        self.self_kv = grown
        if self.positions is not None:
            room = self.positions.new_zeros(R, grown.shape[3], 3)
            room[:, : self.filled] = self.positions[:, : self.filled]
            self.positions = room

    def reorder(self, parents: Tensor) -> None:
        """Row r goes on from what row parents[r] was; parents (R,). A parent is of the same source as its row."""
        rows = torch.nonzero(parents != torch.arange(self.rows, device=parents.device))[:, 0]
        if len(rows) == 0 or self.filled == 0:
            return
        filled = self.self_kv[:, :, :, : self.filled]
        filled[:, :, rows] = filled[:, :, parents[rows]]  # only rows that change, only what is filled
        if self.positions is not None:
            self.positions[rows, : self.filled] = self.positions[parents[rows], : self.filled]

    def keep(self, sources: Tensor) -> None:
        """Go on with these sources alone, each with all rows of its group; sources (b,) out of 0..B-1."""
        rows = (sources[:, None] * self.group + torch.arange(self.group, device=sources.device)).flatten()
        layers, two, _, L, H, K = self.self_kv.shape
        kept = self.self_kv.new_empty(layers, two, len(rows), L, H, K)
        kept[:, :, :, : self.filled] = self.self_kv[:, :, :, : self.filled].index_select(2, rows)
        self.self_kv = kept
        self.skip = None if self.skip is None else self.skip[rows]
        self.positions = None if self.positions is None else self.positions[rows]
        if self.cross is not None:
            self.cross = [CrossCache(c.k[sources], c.v[sources]) for c in self.cross]
        self.source = None if self.source is None else self.source[sources]
        if self.mask is not None:
            self.mask = self.mask[sources]
