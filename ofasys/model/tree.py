"""A tree of continuations: many ways to go on from the rows of a cache, each prefix computed once.

`R` rows of the cache, each with `F` filled places, `B` sources, R = B * group, `n` new nodes, `a` ancestors, `D` width,
`H` heads, `K` head width. A node sees its source, its row, its ancestors and itself.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ofasys.model.attention import biased
from ofasys.model.cache import Cache
from ofasys.model.positions.positions import Positions, guarded, rotate
from ofasys.model.prepared import Prepared
from ofasys.model.product import attend

Ints = NDArray[np.int64]


class Tree:
    """The nodes so far: keys and values (layers, 2, room, H, K), and the parent of each, -1 for those of a row itself.

    seen (R, F): which places of the cache hold something; None where all do. count: nodes; lowering it forgets the
    last.
    """

    def __init__(self, cache: Cache, seen: Tensor | None = None) -> None:
        layers, two, _, _, H, K = cache.self_kv.shape
        self.cache, self.seen, self.count = cache, seen, 0
        self.kv = cache.self_kv.new_empty(layers, two, 64, H, K)
        self.positions = torch.zeros(64, 3, dtype=torch.int64, device=self.kv.device)
        self.parent = np.full(64, -1, dtype=np.int64)

    def add(self, parents: Ints) -> slice:
        """Room for nodes with these parents (n,) -> their numbers."""
        new = slice(self.count, self.count + len(parents))
        if new.stop > len(self.parent):
            layers, two, room, H, K = self.kv.shape
            grown = self.kv.new_empty(layers, two, max(2 * room, new.stop), H, K)
            grown[:, :, : self.count] = self.kv[:, :, : self.count]
            self.kv, self.parent = grown, np.resize(self.parent, grown.shape[2])
            self.positions = torch.cat(
                [self.positions, self.positions.new_zeros(grown.shape[2] - len(self.positions), 3)]
            )
        self.parent[new] = parents
        self.count = new.stop
        return new

    def ancestors(self, parents: Ints) -> Ints:
        """(n, a) of nodes with these parents, the nearest first; -1 where there are no more."""
        found, at = [], parents
        while (at >= 0).any():
            found.append(at)
            at = np.where(at >= 0, self.parent[np.maximum(at, 0)], -1)
        return np.stack(found, 1) if found else np.zeros((len(parents), 0), dtype=np.int64)


class Gathered:
    """n nodes of few owners as a rectangle (G, M): G owners, M the most nodes that one of them has.

    owner (n,): ascending. which (G,): the owners that have any.
    """

    def __init__(self, owner: Ints, device: torch.device) -> None:
        which, counts = np.unique(owner, return_counts=True)
        self.which = torch.from_numpy(which).to(device)
        self.shape = (len(which), int(counts.max()))
        self.full = bool((counts == counts[0]).all())
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = np.repeat(np.arange(len(which)), counts) * self.shape[1] + within
        self.place = torch.from_numpy(place).to(device)

    def spread(self, flat: Tensor) -> Tensor:
        """(n, H, X) -> (G, H, M, X)."""
        G, M = self.shape
        if not self.full:
            flat = flat.new_zeros(G * M, *flat.shape[1:]).index_copy_(0, self.place, flat)
        return flat.view(G, M, *flat.shape[1:]).transpose(1, 2)

    def back(self, rectangle: Tensor) -> Tensor:
        """(G, H, M, X) -> (n, H, X)."""
        flat = rectangle.transpose(1, 2).flatten(0, 1)
        return flat if self.full else flat.index_select(0, self.place)


def grow(x: Tensor, scheme: Positions, positions: Tensor, tree: Tree, rows: Ints, parents: Ints) -> Tensor:
    """x (n, D), what the first block reads of new nodes -> what the last block gives (n, D).

    positions (n, 3). rows (n,): the row of the cache each goes on from, ascending. parents (n,): -1 where that is the
    row itself.
    """
    cache, device, n = tree.cache, x.device, len(x)
    past, path = Gathered(rows, device), tree.ancestors(parents)
    across = Gathered(rows // cache.group, device) if cache.cross is not None else None
    new = tree.add(parents)
    place = torch.from_numpy(np.maximum(path, 0).ravel()).to(device)
    absent = torch.from_numpy(path < 0).to(device)[:, None, :]  # (n, 1, a)
    seen = None if tree.seen is None else ~tree.seen[past.which][:, None, None, :]
    mask = None if cache.mask is None or across is None else cache.mask[across.which]
    if cache.source is not None and across is not None:
        asks = across.spread(positions[:, None])[:, 0]
        mask = biased(scheme.across(asks, cache.source[across.which]), mask, False)
    bias, turns = None, scheme.turns(positions[:, None]) if scheme.rotates else None
    if cache.positions is not None:
        tree.positions[new] = positions
        above = tree.positions[place].view(n, -1, 3)
        keys = torch.cat(
            [cache.positions[torch.from_numpy(rows).to(device), : cache.filled], above, positions[:, None]], 1
        )
        bias = scheme.biases(positions[:, None], keys)
    for i, layer in enumerate(cache.layers):

        def own(h: Tensor, i: int = i, layer: Prepared = layer) -> Tensor:
            qkv = layer.qkv(h).view(n, 3, layer.heads, -1)
            q, k, v = qkv.unbind(1)  # each (n, H, K)
            if turns is not None:
                q, k = (rotate(part[:, :, None], turns)[:, :, 0] for part in (q, k))
            q = q * (q.shape[-1] ** -0.5 if layer.scale is None else layer.scale)
            tree.kv[i, 0, new], tree.kv[i, 1, new] = k, v
            row_k, row_v = cache.self_kv[i, :, past.which, : cache.filled].transpose(2, 3).unbind(0)  # (G, H, F, K)
            on_row = past.spread(q) @ row_k.transpose(2, 3)
            if seen is not None:
                on_row = on_row.masked_fill(seen, -torch.inf)
            up_k, up_v = (tree.kv[i, part].index_select(0, place).view(n, -1, *k.shape[1:]) for part in (0, 1))
            on_path = torch.einsum("nhk,nahk->nha", q, up_k).masked_fill(absent, -torch.inf)
            on_self = (q * k).sum(-1, keepdim=True)
            scores = torch.cat([past.back(on_row), on_path, on_self], 2)
            if bias is not None:
                scores = scores + guarded(bias(i)[:, :, 0])
            w_row, w_path, w_self = torch.softmax(scores, 2).split([cache.filled, path.shape[1], 1], 2)
            y = past.back(past.spread(w_row) @ row_v) + torch.einsum("nha,nahk->nhk", w_path, up_v) + w_self * v
            return layer.out(y.reshape(n, -1))

        def over(h: Tensor, i: int = i, layer: Prepared = layer) -> Tensor:
            assert cache.cross is not None
            assert across is not None
            memory = cache.cross[i]
            q = across.spread(layer.query(h).view(n, layer.heads, -1))
            y = attend(q, memory.k[across.which], memory.v[across.which], mask, whole=False, scale=layer.scale)
            return layer.cross_out(across.back(y).reshape(n, -1))

        x = layer.layer(x, own, None if across is None else over)
    return x
