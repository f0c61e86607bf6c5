"""How the sides of a batch and the marks around them are laid in rows: end to end, and where each would lie in a
rectangle.

Rows begin at the left, each part right after the one before it, so that no row has a gap; so do places. `R` rows, `P`
positions of a part, `N` of all parts, `W` places of the longest row, `D` width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofasys.model.rectangle import filled, picked
from ofasys.types import Stream

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int


@dataclass(frozen=True)
class Part:
    """What stands in each row from somewhere on."""

    embedding: Float[Tensor, "P D"]
    """As the backbone's first layer reads it."""
    row: Int[Tensor, "P"]
    """Which row each is in."""
    within: Int[Tensor, "P"]
    """Which of the part's own it is there: 0, 1, ..."""
    order: Int[Tensor, "P"]
    """Its place for the library, counted from the part's first."""
    block: Int[Tensor, "P"]
    """Places of one number above 0 see each other both ways."""
    blocked: bool
    """Whether any is above 0."""
    lengths: Int[Tensor, "R"]
    """How many each row has."""
    taken: Int[Tensor, "R"]
    """How many places of the library's they take: all patches of a picture stand at one."""
    longest: int
    """The most of them."""
    full: bool
    """Whether all rows have as many."""
    counted: bool
    """Whether `order` is `within`."""


@dataclass(frozen=True)
class Laid:
    """Parts one after the other."""

    embedding: Float[Tensor, "N D"]
    """Of all parts, the first part's first."""
    index: Int[Tensor, "N"]
    """Where each lies in the rectangle (R * W)."""
    valid: Bool[Tensor, "R W"]
    """Which places of the rectangle hold something."""
    blocks: Int[Tensor, "R W"]
    """Places of one number above 0 see each other both ways."""
    places: Int[Tensor, "R W"]
    """Which place of the library's each is."""
    lengths: Int[Tensor, "R"]
    """How many places of each row hold something."""
    full: bool
    """Whether all do."""
    counted: bool
    """Whether places are 0, 1, ... in each row."""

    @property
    def rectangle(self) -> Float[Tensor, "R W D"]:
        """The embeddings, zeros where nothing is."""
        R, W = self.valid.shape
        return filled(self.embedding, self.index, R * W).view(R, W, -1)

    def back(self, rectangle: Float[Tensor, "R W D"]) -> Float[Tensor, "N D"]:
        """What lies in a rectangle, end to end as the parts were."""
        return picked(rectangle.flatten(0, 1), self.index)


def of_stream(stream: Stream, embedding: Float[Tensor, "P D"], block: int = 0) -> Part:
    """A side. block: all of it sees each other; 0: what its layout says."""
    layout = stream.layout
    row = layout.padded_index // max(1, layout.length)
    within = layout.padded_index - row * layout.length
    blocks = torch.full_like(row, block) if block or layout.blocks is None else layout.blocks
    order = layout.positions[:, 0]
    counted, longest, full = layout.counted, layout.length, layout.full
    blocked = bool(block) or layout.blocks is not None
    taken = layout.lengths if counted else _taken(order, row, layout.batch)
    return Part(embedding, row, within, order, blocks, blocked, layout.lengths, taken, longest, full, counted)


def _taken(order: Int[Tensor, "P"], row: Int[Tensor, "P"], rows: int) -> Int[Tensor, "R"]:
    """One more than the highest order of each row, 0 of one that has nothing."""
    return order.new_zeros(rows).scatter_reduce_(0, row, order + 1, "amax")


def of_marks(embedding: Float[Tensor, "n D"], rows: int, block: int = 0) -> Part:
    """The same marks in each row. block: they see each other, and all else of that number."""
    n, device = len(embedding), embedding.device
    within = torch.arange(n, device=device).repeat(rows)
    row = torch.arange(rows, device=device).repeat_interleave(n)
    lengths = torch.full((rows,), n, device=device)
    blocks = torch.full_like(row, block)
    whole = embedding.repeat(rows, 1)
    return Part(whole, row, within, within, blocks, bool(block and n), lengths, lengths, n, full=True, counted=True)


def laid(parts: list[Part]) -> Laid:
    """Parts of the same rows, one after the other."""
    W, R = sum(part.longest for part in parts), len(parts[0].lengths)
    at = next_place = torch.zeros_like(parts[0].lengths)
    index, place = [], []
    for part in parts:
        first = at[part.row]
        index.append(part.row * W + first + part.within)
        place.append(next_place[part.row] + part.order)
        at, next_place = at + part.lengths, next_place + part.taken
    where = torch.cat(index)

    def spread(numbers: list[Tensor]) -> Tensor:
        return where.new_zeros(R * W).index_copy_(0, where, torch.cat(numbers)).view(R, W)

    counted = all(part.counted for part in parts)
    places = torch.arange(W, device=where.device).expand(R, W) if counted else spread(place)
    return Laid(
        torch.cat([part.embedding for part in parts]),
        where,
        torch.arange(W, device=where.device) < at[:, None],
        spread([part.block for part in parts]),
        places,
        at,
        all(part.full for part in parts),
        counted,
    )


def sides(found: Float[Tensor, "N D"], parts: list[Part]) -> list[Float[Tensor, "P D"]]:
    """What was found of each part."""
    return list(found.split([len(part.row) for part in parts]))
