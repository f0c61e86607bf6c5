"""Batches of rows that are answered in turns: each row has its answer as soon as it is done, and its place is free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from ofasys import flow
from ofasys.generator.options import SearchOptions
from ofasys.program.answer import Answer
from ofasys.program.program import Program
from ofasys.types import Sample

Row = TypeVar("Row")


class Turns(Generic[Row]):
    """What a session, and `OFASys.inference`, have in common: who asks for what, and what has come of it. A row is
    known by whatever who asks calls it. live: of each batch the rows that are not answered, by their place in it.
    """

    def __init__(self, together: flow.Generations) -> None:
        self.together = together
        self.live: dict[flow.Running, dict[int, Row]] = {}

    @property
    def rows(self) -> list[Row]:
        """Those that are being answered."""
        return [row for batch in list(self.live.values()) for row in list(batch.values())]

    def begin(
        self,
        program: Program,
        samples: Sequence[Sample],
        options: SearchOptions,
        numbers: Sequence[int],
        rows: Sequence[Row],
    ) -> None:
        """A batch joins. numbers: what draws of each row are a function of."""
        self.live[self.together.begin(program, samples, options, numbers)] = dict(enumerate(rows))

    def turn(self) -> None:
        """All go on by a step."""
        self.together.turn()

    def answered(self) -> list[tuple[Row, Sequence[Answer]]]:
        """Rows that have their answers now, with them; they are over. Ask `failed` first."""
        found: list[tuple[Row, Sequence[Answer]]] = []
        for running, batch in list(self.live.items()):
            there = dict(enumerate(running.found)) if running.over else running.ended
            found += [(batch.pop(place), there[place]) for place in sorted(there.keys() & batch.keys())]
            if running.over or not batch:
                del self.live[running]
        return found

    def failed(self) -> list[tuple[list[Row], BaseException]]:
        """Batches that failed, and why; they are over."""
        bad = [(running, running.work.error) for running in self.live if running.over]
        return [(list(self.live.pop(running).values()), error) for running, error in bad if error is not None]

    def leave(self, gone: Sequence[Row]) -> None:
        """Rows that nobody waits for. A batch ends when all of it have left; its rows leave alone where they can."""
        for running, batch in list(self.live.items()):
            left = [place for place, row in batch.items() if row in gone]
            if len(left) == len(batch):
                self.together.stop(running)
                del self.live[running]
                continue
            for place in left:
                if running.leave(place):
                    del batch[place]
