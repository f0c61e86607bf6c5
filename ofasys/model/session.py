"""A session of the universal model: what stands in the targets so far, and a cache that goes on from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofasys.model.cache import Cache
from ofasys.model.tree import Ints, Tree
from ofasys.types import Stream

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int

    from ofasys.model.universal import UniversalModel


@dataclass(frozen=True)
class Prefix:
    """What stands in the targets before a session, in a rectangle: a row's positions end where all rows end."""

    embedding: Float[Tensor, "B P D"]
    """Zeros where a row has nothing."""
    positions: Int[Tensor, "B P 3"]
    skip: Int[Tensor, "B"]
    """A row's first places that hold nothing."""
    blocks: Int[Tensor, "B P"] | None = None
    """Places of one number above 0 see each other both ways; None where none do."""

    @classmethod
    def of(cls, stream: Stream) -> Prefix:
        """Of a flat stream, each row with at least one position."""
        layout = stream.layout
        B, P, lengths = layout.batch, layout.length, layout.lengths
        skip = P - lengths
        place = layout.padded_index + skip.repeat_interleave(lengths)
        filled = stream.embedding.new_zeros(B * P, stream.embedding.shape[1]).index_copy_(0, place, stream.embedding)
        positions = layout.positions.new_zeros(B * P, 3).index_copy_(0, place, layout.positions)
        blocks = None
        if layout.blocks is not None:
            blocks = layout.blocks.new_zeros(B * P).index_copy_(0, place, layout.blocks).view(B, P)
        return cls(filled.view(B, P, -1), positions.view(B, P, 3), skip, blocks)

    def sees(self) -> Bool[Tensor, "B 1 P P"] | None:
        """What each place may see, where some see each other both ways; as in training."""
        if self.blocks is None or not bool((self.blocks > 0).any()):
            return None
        places = torch.arange(self.blocks.shape[1], device=self.blocks.device)
        together = (self.blocks[:, :, None] == self.blocks[:, None, :]) & (self.blocks > 0)[:, :, None]
        there = (places >= self.skip[:, None])[:, None, :]
        return (((places <= places[:, None]) | together) & there | (places == places[:, None]))[:, None]


class CachedSession:
    """See `ofasys.engine.Session`."""

    def __init__(self, model: UniversalModel, cache: Cache, group: int, prefix: Prefix | None) -> None:
        self.model, self.cache, self.before = model, cache, 0
        self.hidden: Float[Tensor, "R D"] | None = None
        if prefix is None:
            return
        self.before = prefix.embedding.shape[1]
        if bool((prefix.skip > 0).any()):
            cache.skip = prefix.skip.repeat_interleave(group)
        sees = prefix.sees()
        embedding, positions = (part.repeat_interleave(group, 0) for part in (prefix.embedding, prefix.positions))
        self.hidden = model.step(
            embedding, positions, cache, None if sees is None else sees.repeat_interleave(group, 0)
        )

    def append(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R D"]:
        """The next n positions of each row -> the states of the last of them."""
        return self.model.step(embedding, positions, self.cache)

    def fill(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R n D"]:
        """As `append` -> the states of all n positions."""
        return self.model.fill(embedding, positions, self.cache)

    def reorder(self, parents: Int[Tensor, "R"]) -> None:
        """Row r goes on from what row parents[r] was."""
        self.cache.reorder(parents)

    def peek(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R n D"]:
        """n positions that see each other and all before -> their states. Nothing is kept."""
        return self.model.peek(embedding, positions, self.cache)

    def branch(self, lengths: Int[Tensor, "R"] | None = None) -> CachedTree:
        """Ways on from the rows as they stand. lengths: the positions after the prefix that each row has."""
        cache = self.cache
        if lengths is not None and bool((lengths == cache.filled - self.before).all()):
            lengths = None
        if lengths is None and cache.skip is None:
            return CachedTree(self.model, Tree(cache))
        places = torch.arange(cache.filled, device=cache.self_kv.device)
        seen = torch.ones(cache.rows, cache.filled, dtype=torch.bool, device=places.device)
        if lengths is not None:
            seen &= places < (self.before + lengths)[:, None]
        if cache.skip is not None:
            seen &= places >= cache.skip[:, None]
        return CachedTree(self.model, Tree(cache, seen))


class CachedTree:
    """See `ofasys.engine.Tree`."""

    def __init__(self, model: UniversalModel, tree: Tree) -> None:
        self.model, self.tree = model, tree

    @property
    def count(self) -> int:
        """Nodes so far."""
        return self.tree.count

    @count.setter
    def count(self, count: int) -> None:
        self.tree.count = count

    def grow(
        self,
        embedding: Float[Tensor, "n D"],
        positions: Int[Tensor, "n 3"],
        rows: Int[Ints, "n"],
        parents: Int[Ints, "n"],
    ) -> Float[Tensor, "n D"]:
        """New nodes -> their states."""
        return self.model.grow(embedding, positions, self.tree, rows, parents)
