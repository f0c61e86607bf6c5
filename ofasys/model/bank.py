"""Rows of many sessions in one cache: each has a length of its own, comes when it likes, and leaves its place.

`B` seats, each of one source with `g` rows, R = B * g; `L` room for positions, `S` for those of a source, `H` heads,
`K` head width, `N` new positions in all, `n` the most of one row, `D` width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ofasys.model.attention import biased
from ofasys.model.cache import Cache, CrossCache
from ofasys.model.positions.positions import Positions, rotate
from ofasys.model.prepared import Prepared
from ofasys.model.product import attend
from ofasys.model.tree import Ints

if TYPE_CHECKING:
    pass


@dataclass(eq=False)
class Seat:
    """The place of one source in a bank."""

    at: int
    """Its number; it changes when a seat before it is left."""
    length: int
    """Positions that each of its rows has."""
    source: int
    """Positions of its source; 0 where there is none."""


class Bank:
    """Seats of one group size. kv (layers, 2, room for rows, L, H, K) and cross (layers, 2, room for seats, H, S, K),
    of which the first are in use; never NaN, for what a row may not see counts nothing times its value.
    """

    def __init__(self, like: Cache) -> None:
        self.group, self.layers = like.group, like.layers
        self.seats: list[Seat] = []
        self._call: tuple[Tensor, Tensor | None, Any] | None = None
        layers, two, _, _, H, K = like.self_kv.shape
        self.kv = like.self_kv.new_zeros(layers, two, 0, 0, H, K)
        self.positions = None if like.positions is None else like.positions.new_zeros(0, 0, 3)
        self.cross: Tensor | None = None
        self.seen: Tensor | None = None
        self.source = None if like.source is None else like.source[:0, :, :0]
        if like.cross is not None:
            k = like.cross[0].k
            self.cross = k.new_zeros(layers, 2, 0, k.shape[1], 0, k.shape[3])
            self.seen = torch.zeros(0, 0, dtype=torch.bool, device=k.device)

    @property
    def rows(self) -> int:
        """R."""
        return len(self.seats) * self.group

    def called(self, make: Callable[[Bank], Any]) -> Any:
        """What `make` gives of it, made anew when its tensors are others."""
        held = self._call
        if held is None or held[0] is not self.kv or held[1] is not self.cross:
            held = self._call = self.kv, self.cross, make(self)
        return held[2]

    def add(self, cache: Cache) -> list[Seat]:
        """The rows of a cache go on here, a seat a source."""
        first, g, sources = len(self.seats), self.group, cache.rows // self.group
        skip = np.zeros(sources, dtype=np.int64) if cache.skip is None else cache.skip[::g].cpu().numpy()
        wide = 0 if cache.cross is None else cache.cross[0].k.shape[2]
        reach = np.full(sources, wide)
        if cache.mask is not None:
            reach = cache.mask.flatten(1).sum(1).cpu().numpy()
        self._reserve(first + sources, cache.filled, wide)
        made = [
            Seat(first + b, cache.filled - before, there)
            for b, (before, there) in enumerate(zip(skip.tolist(), reach.tolist(), strict=True))
        ]
        for b, seat in enumerate(made):
            here, there = self._rows(seat), slice(b * g, (b + 1) * g)
            begin = cache.filled - seat.length
            self.kv[:, :, here, : seat.length] = cache.self_kv[:, :, there, begin : cache.filled]
            if self.positions is not None and cache.positions is not None:
                self.positions[here, : seat.length] = cache.positions[there, begin : cache.filled]
        if cache.cross is not None and self.cross is not None and self.seen is not None:
            new = slice(first, first + sources)
            for i, part in enumerate(cache.cross):
                self.cross[i, 0, new, :, :wide], self.cross[i, 1, new, :, :wide] = part.k, part.v
            self.seen[new] = False
            self.seen[new, :wide] = True if cache.mask is None else cache.mask.flatten(1)
            if self.source is not None and cache.source is not None:
                self.source[new, :, :wide] = cache.source
        self.seats += made
        return made

    def remove(self, seat: Seat) -> None:
        """Its place is free: the last seat takes it."""
        last = self.seats.pop()
        if last is seat:
            return
        here, there = self._rows(seat), self._rows(last)
        self.kv[:, :, here, : last.length] = self.kv[:, :, there, : last.length]
        if self.positions is not None:
            self.positions[here, : last.length] = self.positions[there, : last.length]
        if self.cross is not None and self.seen is not None:
            self.cross[:, :, seat.at] = self.cross[:, :, last.at]
            self.seen[seat.at] = self.seen[last.at]
            if self.source is not None:
                self.source[seat.at] = self.source[last.at]
        last.at = seat.at
        self.seats[last.at] = last

    def reorder(self, seats: Sequence[Seat], parents: Ints) -> None:
        """Row r of these seats goes on from what row parents[r] was; parents (R,), of the same seat as their row."""
        moved = np.flatnonzero(parents != np.arange(len(parents)))
        if not len(moved):
            return
        g, most = self.group, max(seat.length for seat in seats)
        at = np.array([seat.at for seat in seats]) * g
        device = self.kv.device
        here = torch.from_numpy(at[moved // g] + moved % g).to(device)
        there = torch.from_numpy(at[moved // g] + parents[moved] % g).to(device)
        self.kv[:, :, here, :most] = self.kv[:, :, there, :most]
        if self.positions is not None:
            self.positions[here, :most] = self.positions[there, :most]

    def copied(self, seats: Sequence[Seat]) -> Cache:
        """These seats as a cache of their own; the seats stay as they are."""
        filled, wide = max(seat.length for seat in seats), max(seat.source for seat in seats)
        at = torch.tensor([seat.at for seat in seats], device=self.kv.device)
        rows = (at[:, None] * self.group + torch.arange(self.group, device=at.device)).flatten()
        skip = torch.tensor([filled - seat.length for seat in seats], device=at.device).repeat_interleave(self.group)
        kv = self.kv[:, :, rows, :filled]
        positions = None if self.positions is None else self.positions[rows, :filled]
        if bool(skip.any()):
            kv = torch.stack([kv[:, :, r].roll(int(n), 2) for r, n in enumerate(skip)], 2)
            positions = None if positions is None else _rolled(positions, skip)
        cross = mask = None
        if self.cross is not None and self.seen is not None:
            parts = self.cross[:, :, at, :, :wide]
            cross = [CrossCache(k, v) for k, v in parts]
            seen = self.seen[at, :wide]
            mask = None if bool(seen.all()) else seen[:, None, None]
        source = None if self.source is None else self.source[at, :, :wide]
        made = Cache(kv, self.layers, cross, mask, self.group, positions, source)
        made.filled, made.skip = filled, skip if bool(skip.any()) else None
        return made

    def reserve(self, length: int) -> None:
        """Room for rows so long."""
        self._reserve(len(self.seats), length, 0)

    def _rows(self, seat: Seat) -> slice:
        return slice(seat.at * self.group, (seat.at + 1) * self.group)

    def _reserve(self, seats: int, length: int, wide: int) -> None:
        rows, room = self.kv.shape[2:4]
        want = _enough(rows, seats * self.group), _enough(room, length)
        if want != (rows, room):
            self.kv = _grown(self.kv, 2, want)
            self.positions = None if self.positions is None else _grown(self.positions, 0, want)
        if self.cross is None or self.seen is None:
            return
        held, reach = self.seen.shape
        wide = max(reach, wide)
        if (most := _enough(held, seats)) != held or wide != reach:
            self.seen = _grown(self.seen, 0, (most, wide))
            self.cross = _wider(self.cross, most, wide)
            if self.source is not None:
                self.source = _wider(self.source, most, wide)


def _enough(there: int, wanted: int) -> int:
    return there if wanted <= there else max(wanted, 2 * there)


def _grown(x: Tensor, axis: int, sizes: tuple[int, int]) -> Tensor:
    """x with `sizes` along two axes from `axis` on, what is new being zero."""
    made = x.new_zeros(*x.shape[:axis], *sizes, *x.shape[axis + 2 :])
    made[(*[slice(None)] * axis, slice(x.shape[axis]), slice(x.shape[axis + 1]))] = x
    return made


def _wider(x: Tensor, seats: int, places: int) -> Tensor:
    """x (..., B, H, S, K) with so many seats and places of a source, what is new being zero."""
    *before, B, H, S, K = x.shape
    made = x.new_zeros(*before, seats, H, places, K)
    made[..., :B, :, :S, :] = x
    return made


def _rolled(positions: Tensor, by: Tensor) -> Tensor:
    return torch.stack([row.roll(int(n), 0) for row, n in zip(positions, by, strict=True)])


class Turn:
    """New positions of some seats of a bank: where they go, and what they see.

    seats: ascending by their number, each with `counts` new positions a row. positions (N, 3). first: the place of its
    first among the new positions of all banks.
    """

    def __init__(
        self, bank: Bank, seats: Sequence[Seat], counts: Sequence[int], positions: Tensor, first: int, scheme: Positions
    ) -> None:
        self.bank, self.scheme, g, device = bank, scheme, bank.group, positions.device
        self.part = slice(first, first + len(positions))
        n, lengths = np.array(counts), np.array([seat.length for seat in seats])
        self.end, self.most = int((lengths + n).max()), int(n.max())
        bank.reserve(self.end)
        each = np.repeat(n, g)
        within = np.arange(int(each.sum())) - np.repeat(np.cumsum(each) - each, each)
        owner = (np.array([seat.at for seat in seats])[:, None] * g + np.arange(g)).ravel()
        rows = np.repeat(owner, each)
        self.plain = self.most == 1 and len(seats) == len(bank.seats)  # the new positions are the rows, in order
        places = np.stack([rows, within, np.repeat(np.repeat(lengths, g), each) + within])
        self.row, self.within, self.place = torch.from_numpy(places).to(device)
        before = np.repeat(np.array([seat.length for seat in bank.seats]), g)
        self.mask: Tensor | None = None
        if self.most > 1 or (before != self.end - 1).any():
            reach = np.minimum(before[:, None] + np.arange(self.most), self.end - 1)
            seen = torch.arange(self.end, device=device) <= torch.from_numpy(reach).to(device)[..., None]
            self.mask = seen[:, None]
        self.turned = scheme.turns(positions[None]) if scheme.rotates else None
        here = self.spread(positions) if scheme.biased or bank.source is not None else None
        self.bias = None
        if bank.positions is not None and here is not None:
            bank.positions[self.row, self.place] = positions
            self.bias = scheme.biases(here, bank.positions[: bank.rows, : self.end])
        self.over = self._over(here)

    def _over(self, here: Tensor | None) -> Tensor | None:
        """What is seen of the sources, as of `attend`."""
        bank = self.bank
        if bank.seen is None:
            return None
        reach = [seat.source for seat in bank.seats]
        self.wide = max(reach)
        mask = None if min(reach) == self.wide else bank.seen[: len(reach), None, None, : self.wide]
        if bank.source is None or here is None:
            return mask
        asks = here.reshape(len(reach), -1, 3)
        return biased(self.scheme.across(asks, bank.source[: len(reach), :, : self.wide]), mask, False)

    def spread(self, flat: Tensor) -> Tensor:
        """(N, ...) -> (R, n, ...), zeros where a row has less."""
        if self.plain:
            return flat[:, None]
        made = flat.new_zeros(self.bank.rows, self.most, *flat.shape[1:])
        made[self.row, self.within] = flat
        return made

    def back(self, rectangle: Tensor) -> Tensor:
        """(R, n, ...) -> (N, ...)."""
        return rectangle[:, 0] if self.plain else rectangle[self.row, self.within]

    def own(self, layer: int, qkv: Tensor, scale: float | None) -> Tensor:
        """Queries, keys and values (N, 3, H, K) -> what the heads give (N, D)."""
        q, k, v = qkv.unbind(1)
        if self.turned is not None:
            q, k = (rotate(x.transpose(0, 1)[None], self.turned)[0].transpose(0, 1) for x in (q, k))
        kv, R = self.bank.kv[layer], self.bank.rows
        kv[0, self.row, self.place], kv[1, self.row, self.place] = k, v
        keys, values = kv[:, :R, : self.end].transpose(2, 3).unbind(0)
        mask = self.mask if self.bias is None else biased(self.bias(layer), self.mask, False)
        y = attend(self.spread(q).transpose(1, 2), keys, values, mask, whole=False, scale=scale)
        return self.back(y.transpose(1, 2)).flatten(1)

    def across(self, layer: int, q: Tensor, scale: float | None) -> Tensor:
        """Queries (N, H, K) -> what the heads give of the sources (N, D)."""
        bank = self.bank
        assert bank.cross is not None
        k, v = bank.cross[layer, :, : len(bank.seats), :, : self.wide].unbind(0)
        rectangle = self.spread(q)
        asks = rectangle.reshape(len(bank.seats), -1, *q.shape[1:]).transpose(1, 2)
        y = attend(asks, k, v, self.over, whole=False, scale=scale).transpose(1, 2)
        return self.back(y.reshape(rectangle.shape)).flatten(1)


def advance(x: Tensor, turns: Sequence[Turn]) -> Tensor:
    """x (N, D), what the first block reads of the new positions of banks that all have sources, or none -> what the
    last block gives (N, D). Whatever lies position by position is computed once for all banks.
    """
    of = turns[0].bank

    def parted(attended: Callable[[Turn], Tensor]) -> Tensor:
        parts = [attended(turn) for turn in turns]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    for i, layer in enumerate(of.layers):

        def own(h: Tensor, i: int = i, layer: Prepared = layer) -> Tensor:
            qkv = layer.qkv(h).view(len(h), 3, layer.heads, -1)
            return layer.out(parted(lambda turn: turn.own(i, qkv[turn.part], layer.scale)))

        def across(h: Tensor, i: int = i, layer: Prepared = layer) -> Tensor:
            q = layer.query(h).view(len(h), layer.heads, -1)
            return layer.cross_out(parted(lambda turn: turn.across(i, q[turn.part], layer.scale)))

        x = layer.layer(x, own, None if of.cross is None else across)
    return x
