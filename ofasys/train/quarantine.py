"""Training rows that cannot be used: each counted once, written down, told, and too many of them an error."""

from __future__ import annotations

import logging
from collections.abc import Collection

from ofasys.errors import DataError
from ofasys.task.loader import Delivery
from ofasys.train.log import RunLog
from ofasys.train.setup import Setup

_log = logging.getLogger("ofasys")


class Quarantine:
    """The rows of a run that were left out, in this call of `fit` and before."""

    def __init__(self, setup: Setup, log: RunLog) -> None:
        self.setup, self.log, self.state = setup, log, setup.state
        self.first: dict[str, DataError] = {}  # of this call
        for name, first in self.state.first_bad.items():
            log.bad(name, len(self.state.bad[name]), first)

    def take(self, step: int, delivery: Delivery) -> None:
        """Count the bad rows of a micro-batch, each once, and write them down. Errors: DataError for too many."""
        task = self.setup.tasks[delivery.ticket.task]
        seen = self.state.bad.setdefault(task.name, [])
        for bad in delivery.bad:
            if bad.row in seen:
                continue
            seen.append(bad.row)
            first = self.first.setdefault(task.name, bad.error)
            self.log.quarantine(step, task.name, bad.epoch, bad.row, str(bad.error))
            self.log.bad(task.name, len(seen), self.state.first_bad.setdefault(task.name, str(first)))
            if len(seen) > task.bad_limit:
                raise _too_many(
                    f"{len(seen)} bad rows, more than bad_limit={task.bad_limit}; mend them or raise it", first
                )
            if len(seen) == len(task.source("train")):
                raise _too_many(f"all {len(seen)} training rows are bad", first)

    def check_used(self, used: Collection[str]) -> None:
        """Errors: DataError for a task with bad rows that is not among those of which any row was used."""
        for name, text in self.state.first_bad.items():
            if name in self.setup.tasks and name not in used:
                error = self.first.get(name, DataError(text))
                raise _too_many(f"none of the {len(self.state.bad[name])} rows that were drawn could be used", error)

    def tell(self, but: str | None = None) -> None:
        """A warning for each task of which rows were left out. but: a task whose error says so."""
        out = self.setup.out
        where = "" if out is None else f"; all are in {out / 'quarantine.jsonl'}"
        for name, error in self.state.first_bad.items():
            if name in self.setup.tasks and name != but:
                count, rows = len(self.state.bad[name]), len(self.setup.tasks[name].source("train"))
                _log.warning(
                    f"task {name!r}: {count} of its {rows} training rows were left out as bad, the first: "
                    f"{error}{where}"
                )


def _too_many(message: str, first: DataError) -> DataError:
    return DataError(
        f"{message}; the first: {first.message}",
        expected=first.expected,
        task=first.task,
        slot=first.slot,
        column=first.column,
        sample=first.sample,
    )
