"""A toy engine of one stack of layers over one stream: the source, then the target. Right, and no more than that.

`R` rows, `L` places of a row, some of which hold nothing, `n` new ones, `D` width, `H` heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofasys.engine import EngineSpec
from ofasys.engine.protocol import Ints
from ofasys.errors import ConfigError
from ofasys.types import Hidden, Layout, States, Stream


@dataclass(frozen=True)
class CausalConfig:
    """The shape of a toy."""

    width: int = 32
    heads: int = 2
    layers: int = 2
    max_positions: int = 128
    max_grid: int = 16

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"engine 'causal' has width {self.width}, which {self.heads} heads do not divide")


class Block(nn.Module):
    """A layer: attention over what stands before, then a feed-forward."""

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.ffn = nn.Sequential(
            nn.Linear(config.width, 2 * config.width), nn.GELU(), nn.Linear(2 * config.width, config.width)
        )

    def forward(self, x: Tensor, kv: Tensor, sees: Tensor) -> tuple[Tensor, Tensor]:
        """x (R, n, D), what came before kv (R, L, 2D), sees (R, n, L + n) -> (x, kv (R, L + n, 2D))."""
        q, new = self.qkv(self.norms[0](x)).split([x.shape[2], 2 * x.shape[2]], 2)
        kv = torch.cat([kv, new], 1)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, *kv.chunk(2, 2)))
        y = nn.functional.scaled_dot_product_attention(q, k, v, sees[:, None])
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.ffn(self.norms[1](x)), kv


class CausalEngine(nn.Module):
    """See `ofasys.engine.Engine`."""

    empty_source = True
    reads_states = False

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        self.width, self.max_positions = config.width, config.max_positions
        self.side = nn.Embedding(2, config.width)
        self.order = nn.Embedding(config.max_positions, config.width)
        self.grid = nn.Embedding(2 * config.max_grid + 2, config.width)
        self.max_grid = config.max_grid
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, source: Stream | None, target: Stream | None) -> States:
        """Both sides laid end to end in a rectangle, with padding between them."""
        sides = [(stream, side) for side, stream in enumerate((source, target)) if stream is not None]
        x, valid, blocks = (torch.cat(parts, 1) for parts in zip(*(self.rectangle(*one) for one in sides), strict=True))
        made = self.run(x, self.nothing(len(x)), seen(valid, blocks))[0]
        found: list[Hidden | None] = [None, None]
        for stream, side in sides:
            T = stream.layout.length
            part, made = made[:, :T], made[:, T:]
            found[side] = Hidden(part.flatten(0, 1)[stream.layout.padded_index], stream.layout)
        return States(*found)

    @torch.no_grad()
    def open(self, source, states, sources, group=1, prefix=None, room=64):
        """See `ofasys.engine.Engine.open`."""
        assert states is None, "it opens on streams"
        session = CausalSession(self, sources)
        for stream, side in ((source, 0), (prefix, 1)):
            if stream is not None:
                x, valid, blocks = self.rectangle(stream, side)
                made = session.extend(x, valid, blocks)
        if prefix is not None:
            session.hidden = made[torch.arange(sources), prefix.layout.lengths - 1]
        return session.repeated(group)

    def begin(self, embedding: Tensor, positions: Tensor, side: int) -> Tensor:
        """embedding (..., D), positions (..., 3) -> what the first layer reads (..., D)."""
        y, x = positions[..., 1] + 1, positions[..., 2] + self.max_grid + 2
        return embedding + self.side.weight[side] + self.order(positions[..., 0]) + self.grid(y) + self.grid(x)

    def rectangle(self, stream: Stream, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """(what the first layer reads (R, T, D), which places hold something (R, T), blocks (R, T))."""
        layout: Layout = stream.layout
        size = layout.batch * layout.length

        def spread(flat: Tensor) -> Tensor:
            filled = flat.new_zeros(size, *flat.shape[1:]).index_copy(0, layout.padded_index, flat)
            return filled.unflatten(0, (layout.batch, layout.length))

        ones = torch.ones_like(layout.padded_index)
        x = self.begin(stream.embedding, layout.positions, side)
        return spread(x), spread(ones).bool(), spread(ones * 0 if layout.blocks is None else layout.blocks)

    def nothing(self, rows: int) -> list[Tensor]:
        """Of each layer what came before, where nothing did."""
        return [self.norm.weight.new_zeros(rows, 0, 2 * self.width) for _ in self.blocks]

    def run(self, x: Tensor, past: list[Tensor], sees: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x (R, n, D), of each layer kv (R, L, 2D), sees (R, n, L + n) -> (states (R, n, D), of each layer kv)."""
        after = []
        for block, before in zip(self.blocks, past, strict=True):
            x, kv = block(x, before, sees)
            after.append(kv)
        return self.norm(x), after


def seen(valid: Tensor, blocks: Tensor, n: int | None = None) -> Tensor:
    """(R, n, L): what each of the last n places sees: what stands before it, its block, and itself."""
    L = valid.shape[1]
    place = torch.arange(L)
    together = (blocks[:, :, None] == blocks[:, None, :]) & (blocks > 0)[:, :, None]
    sees = ((place <= place[:, None]) | together) & valid[:, None, :] | torch.eye(L, dtype=torch.bool)
    return sees if n is None else sees[:, L - n :]


class CausalSession:
    """See `ofasys.engine.Session`. past: of each layer (R, L, 2D); valid (R, L): which places hold something."""

    def __init__(self, engine: CausalEngine, rows: int) -> None:
        self.engine, self.past, self.hidden = engine, engine.nothing(rows), None
        self.valid, self.added = torch.zeros(rows, 0, dtype=torch.bool), 0

    def repeated(self, group: int) -> CausalSession:
        """With `group` rows a source."""
        self.past = [kv.repeat_interleave(group, 0) for kv in self.past]
        self.valid = self.valid.repeat_interleave(group, 0)
        self.hidden = None if self.hidden is None else self.hidden.repeat_interleave(group, 0)
        return self

    def extend(self, x: Tensor, valid: Tensor, blocks: Tensor, keep: bool = True) -> Tensor:
        """What the first layer reads (R, n, D) of places of which some hold something -> states (R, n, D)."""
        there = torch.cat([self.valid, valid], 1)
        before = torch.zeros_like(self.valid, dtype=torch.int64)
        made, past = self.engine.run(x, self.past, seen(there, torch.cat([before, blocks], 1), x.shape[1]))
        if keep:
            self.past, self.valid = past, there
        return made

    @torch.no_grad()
    def fill(self, embedding: Tensor, positions: Tensor, block: int = 0, keep: bool = True) -> Tensor:
        """The next n positions -> their states (R, n, D)."""
        x = self.engine.begin(embedding, positions.expand(*embedding.shape[:2], 3), 1)
        valid = torch.ones(x.shape[:2], dtype=torch.bool)
        self.added += x.shape[1] if keep else 0
        return self.extend(x, valid, valid.long() * block, keep)

    def append(self, embedding: Tensor, positions: Tensor) -> Tensor:
        """The next n positions -> the state after them (R, D)."""
        return self.fill(embedding, positions)[:, -1]

    def peek(self, embedding: Tensor, positions: Tensor) -> Tensor:
        """n positions that see each other -> their states (R, n, D)."""
        return self.fill(embedding, positions, block=1, keep=False)

    def reorder(self, parents: Tensor) -> None:
        """Row r goes on from what row parents[r] was."""
        self.past, self.valid = [kv[parents] for kv in self.past], self.valid[parents]

    def branch(self, lengths: Tensor | None = None) -> CausalTree:
        """Ways on from the rows as they stand."""
        valid = self.valid.clone()
        if lengths is not None:
            valid[:, valid.shape[1] - self.added :] &= torch.arange(self.added) < lengths[:, None]
        return CausalTree(self.engine, list(self.past), valid)


class CausalTree:
    """See `ofasys.engine.Tree`. kv: of each node, of each layer (2D,)."""

    def __init__(self, engine: CausalEngine, past: list[Tensor], valid: Tensor) -> None:
        self.engine, self.past, self.valid = engine, past, valid
        self.kv: list[list[Tensor]] = []
        self.parent: list[int] = []

    @property
    def count(self) -> int:
        """Nodes so far."""
        return len(self.kv)

    @count.setter
    def count(self, count: int) -> None:
        del self.kv[count:], self.parent[count:]

    @torch.no_grad()
    def grow(self, embedding: Tensor, positions: Tensor, rows: Ints, parents: Ints) -> Tensor:
        """New nodes -> their states (n, D): each one alone, after its row and its ancestors."""
        made, first = [], self.count
        for x, row, parent in zip(self.engine.begin(embedding, positions, 1), rows, parents, strict=True):
            assert parent < first, "a node goes on from one that was there"
            path, at = [], int(parent)
            while at >= 0:
                path.insert(0, at)
                at = self.parent[at]
            past = [
                torch.cat([kv[[row]], *(self.kv[i][layer][None, None] for i in path)], 1)
                for layer, kv in enumerate(self.past)
            ]
            sees = torch.cat([self.valid[[row]], torch.ones(1, len(path) + 1, dtype=torch.bool)], 1)[:, None]
            state, after = self.engine.run(x[None, None], past, sees)
            made.append(state[0, 0])
            self.kv.append([kv[0, -1] for kv in after])
            self.parent.append(int(parent))
        return torch.stack(made) if made else embedding.new_zeros(0, self.engine.width)


CAUSAL = EngineSpec(
    name="causal",
    about="one stack of layers over the source and then the target",
    load="tests.engine.causal:CausalEngine",
    config="tests.engine.causal:CausalConfig",
)
