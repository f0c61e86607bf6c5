"""A session of the universal model: what stands in the targets so far, and a cache that goes on from it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ofasys.model.bank import Bank, Seat, Turn, advance
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
    """See `ofasys.engine.Session`. seats: its places among others, while it goes on together with them."""

    def __init__(self, model: UniversalModel, cache: Cache, group: int, prefix: Prefix | None) -> None:
        self.model, self.before = model, 0
        self.held: Cache | None = cache
        self.bank: Bank | None = None
        self.seats: list[Seat] = []
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

    @property
    def cache(self) -> Cache:
        """Its own cache, or a copy of what it has among others."""
        if self.held is not None:
            return self.held
        assert self.bank is not None, "a session is not used after it has ended"
        return self.bank.copied(self.seats)

    def append(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R D"]:
        """The next n positions of each row -> the states of the last of them."""
        self._alone("append")
        return self.model.step(embedding, positions, self.cache)

    def fill(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R n D"]:
        """As `append` -> the states of all n positions."""
        self._alone("fill")
        return self.model.fill(embedding, positions, self.cache)

    def reorder(self, parents: Int[Tensor, "R"]) -> None:
        """Row r goes on from what row parents[r] was."""
        if self.bank is not None:
            self.bank.reorder(self.seats, parents.cpu().numpy())
        else:
            self.cache.reorder(parents)

    def peek(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R n D"]:
        """n positions that see each other and all before -> their states. Nothing is kept."""
        return self.model.peek(embedding, positions, self.cache)

    def _alone(self, what: str) -> None:
        if self.held is None:
            raise RuntimeError(f"{what} of a session that goes on together with others; append to all of them at once")

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


class JoinedSessions:
    """See `ofasys.engine.Joined`: sessions of one model, those of one group size in one bank."""

    def __init__(self, model: UniversalModel) -> None:
        self.model = model
        self.banks: dict[tuple[int, bool], Bank] = {}

    @property
    def rows(self) -> int:
        """Of all sessions together."""
        return sum(bank.rows for bank in self.banks.values())

    def add(self, session: CachedSession) -> None:
        """A session goes on here."""
        cache = session.cache
        key = cache.group, cache.cross is not None
        session.bank = bank = self.banks.setdefault(key, Bank(cache))
        session.seats, session.held = bank.add(cache), None

    def remove(self, session: CachedSession) -> None:
        """A session has ended: its places are free."""
        bank = session.bank
        if bank is None:
            return
        for seat in session.seats:
            bank.remove(seat)
        session.bank, session.seats = None, []
        if not bank.seats:
            self.banks = {key: one for key, one in self.banks.items() if one is not bank}

    def parts(self, session: CachedSession) -> list[CachedSession]:
        """The sources of a session, as a session each; the session itself is not used any more."""
        made = []
        for seat in session.seats:
            one = copy(session)
            one.seats = [seat]
            made.append(one)
        session.bank, session.seats = None, []
        return made

    @torch.no_grad()
    def append(
        self,
        sessions: Sequence[CachedSession],
        embedding: Float[Tensor, "N D"],
        positions: Int[Tensor, "N 3"],
        counts: Sequence[int],
    ) -> Float[Tensor, "R D"]:
        """The next `counts` positions of each session's rows, laid end to end -> the states of the last of each row."""
        positions = self.model.target_places(positions)
        one = [
            n == 1 and s.bank is not None and s.bank.layers.fused is not None
            for s, n in zip(sessions, counts, strict=True)
        ]
        if not any(one):
            return self._by_layers(sessions, embedding, positions, counts)
        if all(one):
            return self._in_one(sessions, embedding, positions)
        # Apart, as each would go on alone: one call may compute in fewer bits than layer by layer.
        rows = [len(s.seats) * s.bank.group for s in sessions if s.bank is not None]
        each = list(zip(sessions, rows, counts, one, strict=True))
        at = torch.tensor([own for _, r, n, own in each for _ in range(r * n)])
        of = torch.tensor([own for _, r, _, own in each for _ in range(r)])
        short, long = ([s for s, _, _, own in each if own is which] for which in (True, False))
        made = embedding.new_empty(len(of), embedding.shape[1])
        made[of] = self._in_one(short, embedding[at], positions[at])
        many = [n for _, _, n, own in each if not own]
        made[~of] = self._by_layers(long, embedding[~at], positions[~at], many)
        return made

    def _in_one(self, sessions: Sequence[CachedSession], embedding: Tensor, positions: Tensor) -> Tensor:
        """As `append`, of a position a row, where all layers are one call."""
        side = self.model.decoder
        return side.end(self._fused(sessions, side.begin(embedding, positions)))

    def _by_layers(
        self, sessions: Sequence[CachedSession], embedding: Tensor, positions: Tensor, counts: Sequence[int]
    ) -> Tensor:
        """As `append`, layer by layer."""
        places, start, row = list[Place](), 0, 0
        for session, n in zip(sessions, counts, strict=True):
            assert session.bank is not None, "a session is added before it goes on"
            for seat in session.seats:
                places.append(Place(session.bank, seat, n, start, row))
                start, row = start + n * session.bank.group, row + session.bank.group
        parts, rows = [], []
        for sourced in (True, False):
            mine = [place for place in places if (place.bank.cross is not None) == sourced]
            if mine:
                mine.sort(key=lambda place: (place.bank.group, place.seat.at))
                parts.append(self._advanced(mine, embedding, positions))
                rows += [np.arange(place.row, place.row + place.bank.group) for place in mine]
        made = parts[0] if len(parts) == 1 else torch.cat(parts)
        back = np.argsort(np.concatenate(rows))
        return made if (back == np.arange(row)).all() else made[torch.from_numpy(back).to(made.device)]

    def _advanced(self, places: Sequence[Place], embedding: Tensor, positions: Tensor) -> Tensor:
        """Of places in the order of their seats the states of the last position of each row."""
        index = np.concatenate([np.arange(p.start, p.start + p.count * p.bank.group) for p in places])
        if len(index) != len(embedding) or (index != np.arange(len(index))).any():
            chosen = torch.from_numpy(index).to(embedding.device)
            embedding, positions = embedding[chosen], positions[chosen]
        side, turns, first = self.model.decoder, list[Turn](), 0
        x = side.begin(embedding, positions)
        for bank, members in groupby(places, key=lambda place: place.bank):
            mine = list(members)
            size = bank.group * sum(place.count for place in mine)
            here = positions[first : first + size]
            turns.append(Turn(bank, [p.seat for p in mine], [p.count for p in mine], here, first, side.positions))
            first += size
        x = advance(x, turns)
        for place in places:
            place.seat.length += place.count
        if len(x) > sum(place.bank.group for place in places):
            ends = np.cumsum(np.concatenate([np.full(place.bank.group, place.count) for place in places])) - 1
            x = x[torch.from_numpy(ends).to(x.device)]
        return side.end(x)

    def _fused(self, sessions: Sequence[CachedSession], x: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
        """One position more of each row, a bank at a time."""
        of: dict[int, tuple[Bank, list[Seat], list[int]]] = {}  # bank, seats, and the first row of each in x
        row = 0
        for session in sessions:
            assert session.bank is not None, "a session is added before it goes on"
            bank, seats, rows = of.setdefault(id(session.bank), (session.bank, [], []))
            for seat in session.seats:
                seats.append(seat)
                rows.append(row)
                row += bank.group
        made = None
        for bank, seats, rows in of.values():
            bank.reserve(1 + max(seat.length for seat in bank.seats))
            fused, within = bank.layers.fused, np.arange(bank.group)
            assert fused is not None
            there = np.array([seat.at for seat in seats])
            if len(of) == 1 and len(seats) == len(bank.seats) and (there == np.arange(len(seats))).all():
                made = fused.step_of_bank(x, bank)
            else:
                here = torch.from_numpy((np.array(rows)[:, None] + within).ravel())
                at = torch.from_numpy((there[:, None] * bank.group + within).ravel())
                own = x.new_zeros(bank.rows, x.shape[1]).index_copy_(0, at, x[here])
                part = fused.step_of_bank(own, bank)[at]
                made = (part.new_empty(x.shape) if made is None else made).index_copy_(0, here, part)
            for seat in seats:
                seat.length += 1
        assert made is not None
        return made


@dataclass(frozen=True, eq=False)
class Place:
    """New positions of one seat."""

    bank: Bank
    """The bank it is in."""
    seat: Seat
    """Where."""
    count: int
    """Positions of each of its rows."""
    start: int
    """Of the first of them among all that came."""
    row: int
    """Of its first row among all that asked."""
