"""Updates that are left out because a loss or a gradient of them is not finite: counted, named, and not without end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from ofasys.errors import ConfigError
from ofasys.train.log import RunLog
from ofasys.train.setup import Setup
from ofasys.train.update import Part

_log = logging.getLogger("ofasys")


@dataclass(frozen=True)
class Watched:
    """An update of which it is not known yet whether it was taken."""

    step: int
    """Its number, from 1 on."""
    norm: Tensor
    """() of its gradients."""
    parts: tuple[tuple[str, tuple[int, ...], Tensor], ...]
    """Of each micro-batch the task, the numbers of its rows, and () its loss."""


class Skips:
    """Decides on the device, which nobody waits for, whether an update is taken; what was left out is read where the
    run reports, evaluates or saves.

    Once `limit` updates in a row were left out, from the next such one on nothing changes any more, and the run ends
    where that is read.
    """

    def __init__(self, setup: Setup, log: RunLog, limit: int) -> None:
        self.setup, self.log, self.limit = setup, log, limit
        self.in_row = torch.full((), setup.state.skipped_in_row, dtype=torch.int64, device=setup.device)
        self.watched: list[Watched] = []
        self.probe: Part | None = None  # of an update that was taken

    def see(self, step: int, norm: Tensor, parts: Sequence[tuple[Part, Tensor]]) -> Tensor:
        """() float32: 1 where the update must not be taken, else 0. norm (): of its gradients. parts: its micro-batches
        and the loss () of each.
        """
        losses = [loss for _, loss in parts]
        broken = ~torch.isfinite(torch.stack([norm, *losses])).all()
        over = self.in_row > self.limit
        self.in_row = torch.where(over, self.in_row, torch.where(broken, self.in_row + 1, 0))
        named = [(part.delivery.ticket.task, _rows(part), loss) for part, loss in parts]
        self.watched.append(Watched(step, norm, tuple(named)))
        return (broken | over).float()

    def check(self, latest: Part | None, advice: Callable[[], str]) -> None:
        """Write down and tell what was left out since the last call. latest: a micro-batch of the last update.

        Errors: ConfigError where more than `limit` updates in a row were.
        """
        watched, self.watched = self.watched, []
        if not watched:
            return
        asked = [number for one in watched for number in (one.norm, *(loss for _, _, loss in one.parts))]
        found = iter(torch.stack([number.float() for number in asked]).tolist())
        skipped = False
        for one in watched:
            norm, losses = next(found), [next(found) for _ in one.parts]
            skipped = not all(map(math.isfinite, (norm, *losses)))
            state = self.setup.state
            state.skipped_in_row = state.skipped_in_row + 1 if skipped else 0
            if skipped:
                own = [(task, rows, loss) for (task, rows, _), loss in zip(one.parts, losses, strict=True)]
                every = self.setup.ranks.objects("an update that is left out", own)
                self._tell(one.step, norm, list(chain(*every)), advice)
        if not skipped:
            self.probe = latest

    def _tell(
        self, step: int, norm: float, parts: Sequence[tuple[str, tuple[int, ...], float]], advice: Callable[[], str]
    ) -> None:
        """One update that was left out. parts: of all processes, as of `Watched`.

        Errors: ConfigError where there were too many of them in a row.
        """
        state = self.setup.state
        state.skipped += 1
        guilty = [part for part in parts if not math.isfinite(part[2])] or parts
        for task, rows, loss in guilty:
            self.log.write("skipped", step, task, {"loss": loss, "gradient": norm, "rows": list(rows)})
        named = "; ".join(f"task {task!r}, rows {_listed(rows)}" for task, rows, _ in guilty)
        what = f"the gradient is {norm}" if not math.isfinite(norm) else "the loss is not finite"
        if state.skipped_in_row > self.limit:
            many = f", as of {self.limit} updates before it" if self.limit else ""
            raise ConfigError(
                f"{what} at step {step}{many} ({named}); {advice()}; the weights are those of before that step"
            )
        _log.warning(f"{what} at step {step}, which is left out ({named}); look at these rows, or lower lr")


def _rows(part: Part) -> tuple[int, ...]:
    bad = {(one.epoch, one.row) for one in part.delivery.bad}
    return tuple(row for epoch, row in part.delivery.rows if (epoch, row) not in bad)


def _listed(rows: Sequence[int]) -> str:
    most = 8
    return ", ".join(map(str, rows[:most])) + (", ..." if len(rows) > most else "")
