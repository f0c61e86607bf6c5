"""What the processes of a run have of one micro-batch, told to all of them before any learns from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from ofasys.parallel.place import Place
from ofasys.parallel.ranks import Ranks
from ofasys.task.loader import Bad, Delivery
from ofasys.types import Batch


@dataclass(frozen=True)
class Tally:
    """Of one micro-batch."""

    sizes: tuple[int, ...]
    """Samples of each process."""
    counts: tuple[int, ...]
    """(S,): units of each slot's loss, of all."""
    bad: tuple[Bad, ...]
    """Rows that cannot be used, of all, in the order in which they were drawn."""


def tallied(ranks: Ranks, delivery: Delivery, batch: Batch | None, slots: int) -> Tally:
    """What all have. batch: of this process, None where none of its rows can be used. slots: S, of its plan."""
    counts = batch.counts if batch is not None else (0,) * slots
    told = ranks.numbers("a micro-batch", [len(delivery.bad), batch.size if batch is not None else 0, *counts])
    bad: tuple[Bad, ...] = ()
    if told[:, 0].any():
        where = dict(zip(delivery.rows, _drawn(delivery, ranks.place), strict=True))
        own = [(where[one.epoch, one.row], one) for one in delivery.bad]
        every = sorted(chain(*ranks.objects("bad rows", own)), key=lambda placed: placed[0])
        bad = tuple(one for _, one in every)
    return Tally(tuple(told[:, 1].tolist()), tuple(told[:, 2:].sum(0).tolist()), bad)


def places_of(delivery: Delivery, place: Place) -> list[int]:
    """The place in the micro-batch of all processes of each sample that this one can use."""
    bad = {(one.epoch, one.row) for one in delivery.bad}
    drawn = zip(delivery.rows, _drawn(delivery, place), strict=True)
    return [number for row, number in drawn if row not in bad]


def _drawn(delivery: Delivery, place: Place) -> range:
    return range(place.rank, place.rank + place.size * len(delivery.rows), place.size)
