"""Sessions of a backbone: the library's cache, and which of its places hold what.

`R` rows, `L` places in the cache, `n` new positions, `S` places of a source, `H` heads, `K` head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, EncoderDecoderCache

from ofasys.engine.huggingface.places import Places
from ofasys.engine.huggingface.sight import visible
from ofasys.engine.protocol import Ints

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int

KeysValues = list[tuple[Tensor, Tensor]]  # of each layer (R, H, L, K) twice


@dataclass(frozen=True)
class Memory:
    """A source as a decoder's rows see it."""

    states: Float[Tensor, "R S D"]
    """Of the encoder."""
    mask: Float[Tensor, "R 1 1 S"] | None
    """None: all of it is seen."""

    def repeated(self, group: int) -> Memory:
        """Each source for `group` rows."""
        rows = torch.arange(len(self.states), device=self.states.device).repeat_interleave(group)
        return self if group == 1 else self.at(rows)

    def at(self, rows: Int[Tensor, "G"]) -> Memory:
        """Of some rows."""
        return Memory(self.states[rows], None if self.mask is None else self.mask[rows])


class Decoder(Protocol):
    """What a session computes with: a `Backbone`."""

    @property
    def input_rows(self) -> Tensor:
        """What tokens are looked up in (F, D)."""
        ...

    def run(
        self,
        x: Float[Tensor, "R n D"],
        sees: Bool[Tensor, "R n L"] | None,
        places: Places,
        cache: Any,
        memory: Memory | None,
    ) -> Float[Tensor, "R n D"]:
        """Its states at n new places; the cache then holds them."""
        ...


def cache_of(own: KeysValues) -> DynamicCache:
    """The library's cache with these keys and values; windows are left to masks, so all layers keep all places."""
    cache = DynamicCache()
    for keys, values in own:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def held(cache: Any) -> KeysValues:
    """The keys and values of a decoder's own side."""
    own: Any = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
    return [(layer.keys, layer.values) for layer in own.layers]


class BackboneSession:
    """See `ofasys.engine.Session`.

    valid, places (R, L): which places of the cache hold something, and where that stands. first (R,): the place of the
    target's first position. kept: how many places were there before what is appended.
    """

    def __init__(self, engine: Decoder, rows: int, memory: Memory | None) -> None:
        device = engine.input_rows.device
        self.engine, self.memory = engine, memory
        self.own: KeysValues = []
        self.cross: KeysValues = []
        self.hidden: Float[Tensor, "R D"] | None = None
        self.valid = torch.zeros(rows, 0, dtype=torch.bool, device=device)
        self.places = torch.zeros(rows, 0, dtype=torch.int64, device=device)
        self.first = torch.zeros(rows, dtype=torch.int64, device=device)
        self.kept = 0

    def repeated(self, group: int) -> BackboneSession:
        """With `group` rows a source."""
        if group > 1:
            rows = torch.arange(len(self.first), device=self.first.device).repeat_interleave(group)
            self.own = _picked(self.own, rows)
            self.valid, self.places, self.first = self.valid[rows], self.places[rows], self.first[rows]
            self.hidden = None if self.hidden is None else self.hidden[rows]
        return self

    def cache(self, own: KeysValues, rows: Int[Tensor, "G"] | None = None) -> Any:
        """The library's cache for rows with these keys and values; what is known of their source is in it."""
        if self.memory is None:
            return cache_of(own)
        cross = self.cross if rows is None else _picked(self.cross, rows)
        cache = EncoderDecoderCache(cache_of(own), cache_of(cross))
        for layer in range(len(cross)):
            cache.is_updated[layer] = True
        return cache

    def extend(
        self,
        x: Float[Tensor, "R n D"],
        valid: Bool[Tensor, "R n"],
        blocks: Int[Tensor, "R n"] | None,
        places: Int[Tensor, "R n"],
        keep: bool = True,
    ) -> Float[Tensor, "R n D"]:
        """n more places a row, some of which hold something -> their states."""
        there, keys = torch.cat([self.valid, valid], 1), torch.cat([self.places, places], 1)
        if blocks is not None:
            blocks = torch.cat([torch.zeros_like(self.places), blocks], 1)
        cache = self.cache(self.own)
        sees = visible(there, blocks, x.shape[1])
        states = self.engine.run(x, sees, Places(places, keys), cache, self.memory)
        if self.memory is not None and not self.cross:
            self.cross = [(layer.keys, layer.values) for layer in cache.cross_attention_cache.layers]
        if keep:
            self.own, self.valid, self.places = held(cache), there, keys
        return states

    @torch.no_grad()
    def fill(
        self,
        embedding: Float[Tensor, "R n D"],
        positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"],
    ) -> Float[Tensor, "R n D"]:
        """The next n positions of each row -> the states of all of them."""
        places = self._placed(embedding, positions)
        return self.extend(embedding, torch.ones_like(places, dtype=torch.bool), None, places)

    def append(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R D"]:
        """The next n positions of each row -> the states of the last of them."""
        return self.fill(embedding, positions)[:, -1]

    @torch.no_grad()
    def peek(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R n D"]:
        """n positions that see each other and all before -> their states. Nothing is kept."""
        places = self._placed(embedding, positions)
        ones = torch.ones_like(places)
        return self.extend(embedding, ones.bool(), ones, places, keep=False)

    def reorder(self, parents: Int[Tensor, "R"]) -> None:
        """Row r goes on from what row parents[r] was."""
        self.own = _picked(self.own, parents)
        self.valid, self.places = self.valid[parents], self.places[parents]

    def branch(self, lengths: Int[Tensor, "R"] | None = None) -> BackboneTree:
        """Ways on from the rows as they stand."""
        valid = self.valid
        if lengths is not None:
            at = torch.arange(valid.shape[1], device=valid.device)
            valid = valid & (at < (self.kept + lengths)[:, None])
        return BackboneTree(self, valid)

    def _placed(self, embedding: Tensor, positions: Tensor) -> Int[Tensor, "R n"]:
        rows, n = embedding.shape[:2]
        return positions[..., 0].expand(rows, n) + self.first[:, None]


class BackboneTree:
    """See `ofasys.engine.Tree`. All nodes of a row are computed in one row of the library, each seeing its own line.

    own: of each layer the keys and values of the nodes, (count, H, K) twice. row, place, parent (count,).
    """

    def __init__(self, session: BackboneSession, valid: Bool[Tensor, "R L"]) -> None:
        self.session, self.valid = session, valid
        self.before, self.places = list(session.own), session.places
        self.own: KeysValues = []
        self.row: Ints = np.zeros(0, dtype=np.int64)
        self.parent: Ints = np.zeros(0, dtype=np.int64)
        self.place = session.first[:0]

    @property
    def count(self) -> int:
        """Nodes so far."""
        return len(self.row)

    @count.setter
    def count(self, count: int) -> None:
        self.row, self.parent, self.place = self.row[:count], self.parent[:count], self.place[:count]
        self.own = [(keys[:count], values[:count]) for keys, values in self.own]

    @torch.no_grad()
    def grow(
        self,
        embedding: Float[Tensor, "n D"],
        positions: Int[Tensor, "n 3"],
        rows: Int[Ints, "n"],
        parents: Int[Ints, "n"],
    ) -> Float[Tensor, "n D"]:
        """New nodes -> their states."""
        if not len(rows):
            return embedding
        device, first = embedding.device, self.count
        which, of = np.unique(rows, return_inverse=True)
        new, old = Nodes(of, len(which), device), self._old(which, device)
        places = positions[:, 0] + self.session.first[torch.from_numpy(rows).to(device)]
        self.row, self.parent = np.concatenate([self.row, rows]), np.concatenate([self.parent, parents])
        self.place = torch.cat([self.place, places])
        at = torch.from_numpy(which).to(device)
        numbers = new.numbers + first
        sees = self._sees(at, np.where(new.numbers < 0, -1, numbers), old.numbers)
        own = self._gathered(at, old)
        keys = torch.cat([self.places[at], old.spread(self.place[old.nodes]), new.spread(places)], 1)
        cache = self.session.cache(own, at)
        memory = None if self.session.memory is None else self.session.memory.at(at)
        states = self.session.engine.run(
            new.spread(embedding), sees, Places(keys[:, keys.shape[1] - new.wide :], keys), cache, memory
        )
        self._keep(held(cache), new)
        return new.back(states)

    def _old(self, which: Ints, device: torch.device) -> Nodes:
        """The nodes so far of some rows."""
        index = np.searchsorted(which, self.row)
        here = (index < len(which)) & (which[np.minimum(index, len(which) - 1)] == self.row)
        return Nodes(index[here], len(which), device, np.flatnonzero(here))

    def _sees(self, at: Tensor, new: Ints, old: Ints) -> Bool[Tensor, "G M L"]:
        """What new nodes (G, M) see: what holds something in their row, their line among the old (G, A), themselves."""
        line, up = np.zeros((*new.shape, old.shape[1]), dtype=bool), np.where(new < 0, -1, self.parent[new])
        while (up >= 0).any():
            line |= (up[:, :, None] == old[:, None, :]) & (up >= 0)[:, :, None]
            up = np.where(up < 0, -1, self.parent[up])
        row = self.valid[at][:, None, :].expand(-1, new.shape[1], -1)
        itself = torch.eye(new.shape[1], dtype=torch.bool, device=at.device).expand(len(at), -1, -1)
        return torch.cat([row, torch.from_numpy(line).to(at.device), itself], 2)

    def _gathered(self, at: Tensor, old: Nodes) -> KeysValues:
        """Keys and values of rows, and after them those of their nodes so far (G, H, L + A, K)."""
        rows = _picked(self.before, at)
        if not old.wide:
            return rows
        nodes = [tuple(old.spread(part[old.nodes]).transpose(1, 2) for part in layer) for layer in self.own]
        if not rows:
            return [(keys, values) for keys, values in nodes]
        return [(torch.cat([a, c], 2), torch.cat([b, d], 2)) for (a, b), (c, d) in zip(rows, nodes, strict=True)]

    def _keep(self, made: KeysValues, new: Nodes) -> None:
        """Keys and values of the new nodes, the last places of each row."""
        fresh = [tuple(new.back(part[:, :, -new.wide :].transpose(1, 2)) for part in layer) for layer in made]
        if self.own:
            fresh = [(torch.cat([a, c]), torch.cat([b, d])) for (a, b), (c, d) in zip(self.own, fresh, strict=True)]
        self.own = [(keys, values) for keys, values in fresh]


class Nodes:
    """Nodes of a few owners as a rectangle (G, M).

    owner (n,): which of the G each is of, in any order. nodes: their numbers; None: 0 to n-1.
    """

    def __init__(self, owner: Ints, groups: int, device: torch.device, nodes: Ints | None = None) -> None:
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=groups)
        self.wide = int(counts.max()) if len(owner) else 0
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = np.empty(len(owner), dtype=np.int64)
        place[order] = owner[order] * self.wide + within
        found = np.arange(len(owner)) if nodes is None else nodes
        numbers = np.full(groups * self.wide, -1, dtype=np.int64)
        numbers[place] = found
        self.numbers: Ints = numbers.reshape(groups, self.wide)
        self.shape, self.place = (groups, self.wide), torch.from_numpy(place).to(device)
        self.nodes = torch.from_numpy(found).to(device)

    def spread(self, flat: Tensor) -> Tensor:
        """One of each node (n, ...) -> the rectangle (G, M, ...), zeros elsewhere."""
        filled = flat.new_zeros(self.shape[0] * self.shape[1], *flat.shape[1:])
        return filled.index_copy_(0, self.place, flat).unflatten(0, self.shape)

    def back(self, filled: Tensor) -> Tensor:
        """The rectangle (G, M, ...) -> one of each node (n, ...)."""
        return filled.flatten(0, 1).index_select(0, self.place)


def _picked(own: KeysValues, rows: Tensor) -> KeysValues:
    """Those of some rows."""
    return [(keys.index_select(0, rows), values.index_select(0, rows)) for keys, values in own]
