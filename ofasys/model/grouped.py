"""The product of attention on a CPU where samples differ in length: those of like length share a rectangle.

A rectangle over all samples costs batch * longest ** 2, however short the others are. `N` and `M` positions of queries
and keys, `H` heads, `K` head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ofasys.model.flat import Flat
from ofasys.model.product import attend
from ofasys.types import Layout

Ints = NDArray[np.int64]

OVERHEAD = 2_000_000  # what a group costs besides: pairs of query and key times width that take as long (two cores)


class _Gather(torch.autograd.Function):
    """Rows of a flat stream into rectangles that lie end to end; backward picks the rows again."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, take: Tensor, where: Tensor) -> Tensor:
        ctx.save_for_backward(where)
        return flat.index_select(0, take)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (where,) = ctx.saved_tensors
        return grads[0].index_select(0, where), None, None


class _Back(torch.autograd.Function):
    """Rows of rectangles that lie end to end into a flat stream; backward puts zeros at the padding."""

    @staticmethod
    def forward(ctx: Any, rectangles: Tensor, where: Tensor) -> Tensor:
        ctx.save_for_backward(where)
        ctx.size = len(rectangles)
        return rectangles.index_select(0, where)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (where,) = ctx.saved_tensors
        return grads[0].new_zeros(ctx.size, *grads[0].shape[1:]).index_copy_(0, where, grads[0]), None


@dataclass(frozen=True)
class Rectangles:
    """A side's positions in a rectangle for each group of samples, the rectangles end to end."""

    take: Tensor
    """Of each place the row of the flat stream; at padding, whose gradient is zero, the last of its sample."""
    where: Tensor
    """(N,) of each row of the flat stream its place."""
    shapes: tuple[tuple[int, int], ...]
    """(samples, positions of the longest) of each group."""
    seen: tuple[Tensor | None, ...]
    """(samples, 1, 1, positions) of each group: True where there is a position; None where all are."""

    @classmethod
    def of(cls, lengths: Ints, groups: list[Ints]) -> Rectangles:
        """lengths: of all samples. groups: numbers of samples, each in one."""
        starts = np.cumsum(lengths) - lengths
        take, where, shapes, seen, begin = [], np.empty(lengths.sum(), dtype=np.int64), [], [], 0
        for group in groups:
            n = lengths[group]
            longest = int(n.max())
            within = np.arange(longest)
            rows = starts[group][:, None] + np.minimum(within, np.maximum(n - 1, 0)[:, None])
            there = within < n[:, None]
            where[rows[there]] = begin + np.flatnonzero(there)
            take.append(rows.ravel())
            shapes.append((len(group), longest))
            seen.append(None if there.all() else torch.from_numpy(there)[:, None, None])
            begin += there.size
        rows = np.minimum(np.concatenate(take), max(0, len(where) - 1))  # a sample may have no position
        return cls(torch.from_numpy(rows), torch.from_numpy(where), tuple(shapes), tuple(seen))

    def split(self, flat: Tensor) -> Iterator[Tensor]:
        """(N, ...) -> of each group (samples, positions, ...)."""
        rows = cast(Tensor, _Gather.apply(flat, self.take, self.where))
        parts = rows.split([samples * longest for samples, longest in self.shapes])
        return (part.unflatten(0, shape) for part, shape in zip(parts, self.shapes, strict=True))

    def joined(self, parts: list[Tensor]) -> Tensor:
        """Of each group (samples * positions, ...) -> (N, ...)."""
        return cast(Tensor, _Back.apply(torch.cat(parts), self.where))


@dataclass(frozen=True)
class Grouped(Flat):
    """The product of queries and keys of the same samples, group by group."""

    queries: Rectangles
    keys: Rectangles

    @classmethod
    def of(cls, queries: Layout, keys: Layout, width: int) -> Grouped | None:
        """Of two sides, or of one with itself. None where one rectangle for all is as good, and elsewhere than on a
        CPU.
        """
        if queries.lengths.device.type != "cpu":
            return None
        q, k = queries.lengths.numpy(), keys.lengths.numpy()
        groups = alike(q, k, OVERHEAD // width)
        if len(groups) < 2:
            return None
        of_queries = Rectangles.of(q, groups)
        return cls(of_queries, of_queries if keys is queries else Rectangles.of(k, groups))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float | None) -> Tensor:
        """See `Flat`."""
        made = []
        parts = zip(self.queries.split(q), self.keys.split(k), self.keys.split(v), self.keys.seen, strict=True)
        for own, key, value, seen in parts:
            mask = None if causal else seen
            y = attend(own.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask, causal, scale=scale)
            made.append(y.transpose(1, 2).flatten(0, 1))
        return self.queries.joined(made)


def alike(queries: Ints, keys: Ints, overhead: int) -> list[Ints]:
    """Samples in groups, so that pairs in the groups' rectangles, and `overhead` pairs for each group, are fewest.

    queries, keys: lengths (B,). Samples are sorted by their pairs, and the best cuts of that order are found by dynamic
    programming.
    """
    count = len(queries)
    order = np.lexsort((queries, queries * keys))
    q, k = queries[order], keys[order]
    if count * q.max(initial=0) * k.max(initial=0) - int((q * k).sum()) <= overhead:
        return [order]
    best, cut = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        longest = [np.maximum.accumulate(side[:end][::-1])[::-1] for side in (q, k)]
        costs = best[:end] + np.arange(end, 0, -1) * longest[0] * longest[1] + overhead
        cut[end] = costs.argmin()
        best[end] = costs[cut[end]]
    groups, end = [], count
    while end:
        groups.append(order[cut[end] : end])
        end = int(cut[end])
    return groups
