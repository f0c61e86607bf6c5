"""How OFA knows where a position stands: what is added to the scores of attention, and what kinds of places begin with.

`B` samples, `T` query and `S` key positions, `H` heads, `K` head width, `D` width. Places are (..., 3), as of `places`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.engine.ofa.config import FRAME, KINDS, Kind, OFAConfig
from ofasys.engine.ofa.places import CODES, FILM, GRID, buckets, kind_of
from ofasys.model.positions.positions import Bias, Positions


class Place(nn.Module):
    """One kind of place on one side: its norms, its type, embeddings of places (rows, D), a table of biases a layer."""

    def __init__(self, config: OFAConfig, kind: Kind, number: int, layers: int, typed: bool) -> None:
        super().__init__()
        self.kind, self.number = kind, number
        D = config.width
        self.embed_norm = nn.LayerNorm(D) if kind.embed_norm else None
        self.added = nn.Parameter(torch.zeros(D)) if typed and kind.typed else None
        self.table = nn.Embedding(kind.rows, D)
        self.norm = nn.LayerNorm(D) if kind.place_norm else None
        self.drawn = number in (GRID, CODES)
        self.biases = (2 * kind.near - 1) ** 2 + 3 if self.drawn else 2 * kind.near - 1
        tables = 1 if config.shared_bias else layers
        self.relative = nn.ModuleList([nn.Embedding(self.biases, config.heads) for _ in range(tables)])
        self.bucket: Tensor
        if not self.drawn:
            self.register_buffer("bucket", buckets(kind.near, kind.far, kind.rows), persistent=False)

    def index(self, places: Tensor) -> Tensor:
        """Places (..., 3) -> rows of the table (...); of places of another kind anything."""
        a, b = places[..., 1], places[..., 2]
        if self.drawn:
            found = torch.where(a < 0, 0, 1 + a * self.kind.near + b)
        else:
            found = torch.div(a, FRAME, rounding_mode="floor") if self.number == FILM else a
        return found.clamp(0, self.kind.rows - 1)

    def apart(self, queries: Tensor, keys: Tensor) -> Tensor:
        """queries (B, T, 3), keys (B, S, 3) -> which bias is theirs (B, T, S); of another kind anything."""
        if self.drawn:
            return self._cells_apart(queries, keys)
        query, key = self.index(queries), self.index(keys)
        return self.bucket[(query[:, :, None] - key[:, None]) + self.kind.rows]

    def _cells_apart(self, queries: Tensor, keys: Tensor) -> Tensor:
        near = self.kind.near
        query, key = queries[:, :, None, 1:], keys[:, None, :, 1:]
        y, x = ((query - key).clamp(1 - near, near - 1) + near - 1).unbind(-1)
        found = y * (2 * near - 1) + x
        first, second = queries[:, :, None, 1] < 0, keys[:, None, :, 1] < 0  # the mark before the cells
        found = torch.where(first, self.biases - 3, torch.where(second, self.biases - 2, found))
        return torch.where(first & second, self.biases - 1, found)


class OFAPositions(Positions):
    """Biases of the scores of one side, and of a decoder's over its source."""

    def __init__(self, config: OFAConfig, decoder: bool) -> None:
        super().__init__(config, decoder)
        layers = config.decoder_layers if decoder else config.encoder_layers
        self.heads, self.scale, self.shared = config.heads, config.score_scale, config.shared_bias
        self.places = nn.ModuleDict(
            {
                name: Place(config, kind, KINDS.index(name), layers, not decoder)
                for name, kind in config.kinds(decoder).items()
            }
        )
        absolute, D = config.absolute, config.width
        self.query = nn.Linear(D, D) if absolute else None
        self.key = nn.Linear(D, D) if absolute else None
        self.source_query = nn.Linear(D, D) if absolute and decoder else None
        self.source_key = nn.Linear(D, D) if absolute and decoder else None

    @property
    def kinds(self) -> list[Place]:
        """Those it has."""
        return [cast(Place, place) for place in self.places.values()]

    def each(self, places: Tensor, of: Callable[[Place], Tensor]) -> Tensor:
        """What each position's own kind gives (..., D)."""
        kinds = self.kinds
        found = of(kinds[0])
        for kind in kinds[1:]:
            found = torch.where((kind_of(places) == kind.number)[..., None], of(kind), found)
        return found

    def enter(self, embedding: Tensor, places: Tensor) -> Tensor:
        """Embeddings (..., D) at places -> what the first block reads, dropout apart."""
        return self.each(places, lambda kind: self._entered(kind, embedding, places))

    def _entered(self, kind: Place, embedding: Tensor, places: Tensor) -> Tensor:
        x = embedding if kind.kind.scale == 1.0 else embedding * kind.kind.scale
        if kind.kind.entangled:
            x = x + self._raw(kind, places)
        if kind.added is not None:
            x = x + kind.added
        if kind.kind.gradient != 1.0:
            x = x * kind.kind.gradient + x.detach() * (1 - kind.kind.gradient)
        return x if kind.embed_norm is None else kind.embed_norm(x)

    def points(self, places: Tensor) -> Tensor:
        """Places (..., 3) -> their embeddings after their norms (..., D)."""

        def point(kind: Place) -> Tensor:
            raw = self._raw(kind, places)
            return raw if kind.norm is None else kind.norm(raw)

        return self.each(places, point)

    def _raw(self, kind: Place, places: Tensor) -> Tensor:
        found = F.embedding(kind.index(places), kind.table.weight)
        if kind.number == FILM:
            grid = self._grid()
            found = found + F.embedding(grid.index(_cells(places)), grid.table.weight)
        return found

    def _grid(self) -> Place:
        return cast(Place, self.places[KINDS[GRID]])

    def biases(self, queries: Tensor, keys: Tensor) -> Bias:
        """As of `Positions`: by how far two places of one run are apart, and by their embeddings."""
        asked = self.apart(queries, keys)
        both = None if self.query is None else self._absolute(queries, keys)

        def of(layer: int) -> Tensor:
            tables = [cast(nn.Embedding, kind.relative[0 if self.shared else layer]).weight for kind in self.kinds]
            table = torch.cat([*tables, tables[0].new_zeros(1, self.heads)])
            bias = sum(F.embedding(index, table) for index in asked)
            assert isinstance(bias, Tensor)
            bias = bias.permute(0, 3, 1, 2)
            return bias if both is None else bias + both

        return of

    def apart(self, queries: Tensor, keys: Tensor) -> list[Tensor]:
        """Rows (B, T, S) of all kinds' tables on end, whose sum is the bias of a pair; the last is of other runs."""
        same = queries[:, :, None, 0] == keys[:, None, :, 0]
        number = kind_of(queries)[:, :, None]
        nothing = torch.full_like(same, sum(kind.biases for kind in self.kinds), dtype=torch.int64)
        found, more, start = nothing, None, 0
        for kind in self.kinds:
            found = torch.where(same & (number == kind.number), kind.apart(queries, keys) + start, found)
            if kind.number == GRID and KINDS[FILM] in self.places:
                cells = kind.apart(_cells(queries), _cells(keys)) + start
                more = torch.where(same & (number == FILM), cells, nothing)
            start += kind.biases
        return [found] if more is None else [found, more]

    def _absolute(self, queries: Tensor, keys: Tensor) -> Tensor:
        assert self.query is not None
        assert self.key is not None
        points = self.points(queries)
        others = points if queries is keys else self.points(keys)
        return (self.split(self.query(points)) * self.scale) @ self.split(self.key(others)).transpose(2, 3)

    def across(self, queries: Tensor, keys: Tensor) -> Tensor:
        """As of `Positions`."""
        assert self.source_query is not None
        return (self.split(self.source_query(self.points(queries))) * self.scale) @ keys.transpose(2, 3)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, K)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def _cells(places: Tensor) -> Tensor:
    """Places of a film as those of a picture."""
    return torch.stack([places[..., 0], places[..., 1] % FRAME, places[..., 2]], -1)
