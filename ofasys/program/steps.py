"""The model as generators see it: token by token, or in inputs, after all that came before, with a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding

from ofasys.generator.constraint import Ints
from ofasys.model import Cache, UniversalModel
from ofasys.model.tree import Tree
from ofasys.types import Hidden, Stream


@dataclass(frozen=True)
class Past:
    """What stands in the target before a stage, in a rectangle: a row's positions end where all rows end.

    embedding (B, P, D), positions (B, P, 3). skip (B,): a row's first places that hold nothing. order (B,): the place
    in the sentence that comes next. blocks (B, P): places of one number above 0 see each other both ways; None where
    none do.
    """

    embedding: Tensor
    positions: Tensor
    skip: Tensor
    order: Tensor
    blocks: Tensor | None = None

    @classmethod
    def of(cls, stream: Stream) -> Past:
        """Of a flat stream, each row with at least one position."""
        layout = stream.layout
        B, P, lengths = layout.batch, layout.length, layout.lengths
        skip = P - lengths
        place = layout.padded_index + skip.repeat_interleave(lengths)
        filled = stream.embedding.new_zeros(B * P, stream.embedding.shape[1]).index_copy_(0, place, stream.embedding)
        positions = layout.positions.new_zeros(B * P, 3).index_copy_(0, place, layout.positions)
        last = torch.cumsum(lengths, 0) - 1
        blocks = None
        if layout.blocks is not None:
            blocks = layout.blocks.new_zeros(B * P).index_copy_(0, place, layout.blocks).view(B, P)
        return cls(filled.view(B, P, -1), positions.view(B, P, 3), skip, layout.positions[last, 0] + 1, blocks)

    def start(self, model: UniversalModel, cache: Cache, group: int) -> Tensor:
        """Feed it to a new cache of `group` rows a source -> the state after it (R, D)."""
        if bool((self.skip > 0).any()):
            cache.skip = self.skip.repeat_interleave(group)
        sees = self.sees()
        return model.step(
            self.embedding.repeat_interleave(group, 0),
            self.positions.repeat_interleave(group, 0),
            cache,
            None if sees is None else sees.repeat_interleave(group, 0),
        )

    def sees(self) -> Tensor | None:
        """(B, 1, P, P) bool: what each place may see, where some see each other both ways; as in training."""
        if self.blocks is None or not bool((self.blocks > 0).any()):
            return None
        places = torch.arange(self.blocks.shape[1], device=self.blocks.device)
        together = (self.blocks[:, :, None] == self.blocks[:, None, :]) & (self.blocks > 0)[:, :, None]
        there = (places >= self.skip[:, None])[:, None, :]
        return (((places <= places[:, None]) | together) & there | (places == places[:, None]))[:, None]


class StepDecoder:
    """A universal model, its sources encoded, joined to the token table. See `ofasys.generator.decoder.Decoder`.

    past: what stands in the target before the tokens, if anything does.
    """

    def __init__(
        self,
        model: UniversalModel,
        table: Tensor,
        memory: Hidden | None,
        sources: int,
        transposed: Tensor | None = None,
        past: Past | None = None,
    ) -> None:
        self.model, self.table, self.memory, self.sources, self.transposed = model, table, memory, sources, transposed
        self.past, self.group, self.before = past, 1, 0
        self.cache: Cache | None = None

    def start(self, group: int, max_length: int) -> None:
        """Begin anew with `group` rows a source."""
        self.group, self.before = group, 0 if self.past is None else self.past.embedding.shape[1]
        room = min(max_length + self.before, self.model.config.max_positions)
        self.cache = self.model.start(self.memory, self.sources * group, room, group)
        if self.past is not None:
            self.past.start(self.model, self.cache, group)

    def step(self, tokens: Tensor, parents: Tensor | None, grid: Tensor | None = None) -> Tensor:
        """tokens (R, n), parents (R,), grid (R, n, 2) -> hidden state after the last (R, D)."""
        cache = self.cache
        assert cache is not None, "start comes before step"
        if parents is not None:
            cache.reorder(parents)
        R, n = tokens.shape
        positions = torch.full((n, 3), -1, dtype=torch.int64, device=tokens.device)
        done = cache.filled - self.before
        positions[:, 0] = torch.arange(done, done + n, device=tokens.device)
        if self.past is not None or grid is not None:
            positions = positions.repeat(R, 1, 1)
        if self.past is not None:
            positions[..., 0] += self.past.order.repeat_interleave(self.group)[:, None]
        if grid is not None:
            positions[..., 1:] = grid
        return self.model.step(embedding(tokens, self.table), positions, cache)

    def plant(self, prefixes: Sequence[Ints]) -> tuple[Branches, Tensor]:
        """A row a source, each after its own prefix -> (ways on from there, the state after it (B, D))."""
        lengths = torch.tensor([len(prefix) for prefix in prefixes])
        B, T = len(prefixes), int(lengths.max())
        tokens = np.zeros((B, T), dtype=np.int64)
        for row, prefix in zip(tokens, prefixes, strict=True):
            row[: len(prefix)] = prefix
        self.start(1, T)
        assert self.cache is not None
        device = self.table.device
        order = torch.zeros(B, dtype=torch.int64, device=device) if self.past is None else self.past.order
        positions = torch.full((B, T, 3), -1, dtype=torch.int64, device=device)
        positions[..., 0] = order[:, None] + torch.arange(T, device=device)
        states = self.model.fill(embedding(torch.from_numpy(tokens).to(device), self.table), positions, self.cache)
        lengths = lengths.to(device)
        seen = None
        if bool((lengths < T).any()) or self.cache.skip is not None:
            places = torch.arange(self.cache.filled, device=device)
            seen = places < (self.before + lengths)[:, None]
            seen &= True if self.cache.skip is None else places >= self.cache.skip[:, None]
        last = states[torch.arange(B, device=device), lengths - 1]
        return Branches(self.model, self.table, Tree(self.cache, seen), order + lengths), last

    def branch(self) -> Branches:
        """Ways on from the rows as they stand."""
        cache = self.cache
        assert cache is not None, "start comes before branch"
        device = self.table.device
        order = torch.full((cache.rows,), cache.filled - self.before, dtype=torch.int64, device=device)
        if self.past is not None:
            order += self.past.order.repeat_interleave(self.group)
        seen = None if cache.skip is None else torch.arange(cache.filled, device=device) >= cache.skip[:, None]
        return Branches(self.model, self.table, Tree(cache, seen), order)


class Branches:
    """Many ways to go on from the rows of a cache. See `ofasys.generator.decoder.Branches`.

    order (R,): the place in the sentence that comes next in each row.
    """

    chunk = 4096  # nodes that go through the model at once

    def __init__(self, model: UniversalModel, table: Tensor, tree: Tree, order: Tensor) -> None:
        self.model, self.table, self.tree, self.order = model, table, tree, order
        self.depth = np.zeros(64, dtype=np.int64)

    @property
    def count(self) -> int:
        """Nodes so far."""
        return self.tree.count

    @count.setter
    def count(self, count: int) -> None:
        self.tree.count = count

    def grow(self, rows: Ints, parents: Ints, tokens: Ints) -> Tensor:
        """Add nodes (n,) -> the states after them (n, D)."""
        n, first, device = len(rows), self.count, self.table.device
        if first + n > len(self.depth):
            self.depth = np.resize(self.depth, max(2 * len(self.depth), first + n))
        self.depth[first : first + n] = np.where(parents < 0, 0, self.depth[np.maximum(parents, 0)] + 1)
        positions = torch.full((n, 3), -1, dtype=torch.int64, device=device)
        positions[:, 0] = self.order[torch.from_numpy(rows).to(device)]
        positions[:, 0] += torch.from_numpy(self.depth[first : first + n]).to(device)
        embedded = embedding(torch.from_numpy(tokens).to(device), self.table)
        parts = [slice(start, start + self.chunk) for start in range(0, n, self.chunk)]
        made = [
            self.model.grow(embedded[part], positions[part], self.tree, rows[part], parents[part]) for part in parts
        ]
        return made[0] if len(made) == 1 else torch.cat(made)


class ValueContinuation:
    """What came before a value that is drawn, one row a source. See `ofasys.generator.decoder.Continuation`.

    kept: positions to leave for what comes after the value.
    """

    def __init__(self, model: UniversalModel, memory: Hidden | None, past: Past, kept: int = 0) -> None:
        self.model, self.rows, self.order, self.kept = model, len(past.order), past.order, kept
        self.cache = model.start(memory, self.rows, past.embedding.shape[1] + 64)
        self.hidden = past.start(model, self.cache, 1)

    @property
    def room(self) -> int:
        """Positions the model still has places for, but for those to be kept for what comes after."""
        return max(1, self.model.config.max_positions - int(self.order.max()) - self.kept)

    def step(self, embedding: Tensor) -> Tensor:
        """embedding (R, n, D), appended -> the state after the last (R, D)."""
        self.hidden = self.model.step(embedding, self._positions(embedding.shape[1]), self.cache)
        self.order = self.order + embedding.shape[1]
        return self.hidden

    def peek(self, embedding: Tensor) -> Tensor:
        """embedding (R, n, D), seeing each other and all before -> their states (R, n, D). Nothing is kept."""
        return self.model.peek(embedding, self._positions(embedding.shape[1]), self.cache)

    def _positions(self, n: int) -> Tensor:
        positions = torch.full((self.rows, n, 3), -1, dtype=torch.int64, device=self.order.device)
        positions[..., 0] = self.order[:, None] + torch.arange(n, device=self.order.device)
        return positions
