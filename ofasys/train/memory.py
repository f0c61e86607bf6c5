"""A micro-batch that the memory does not hold is taken in pieces: the gradient is that of the whole."""

from __future__ import annotations

import logging
from functools import cached_property

import torch

from ofasys.errors import ConfigError
from ofasys.task.loader import Assembler
from ofasys.train.setup import Setup
from ofasys.train.update import Part
from ofasys.types import Batch

_log = logging.getLogger("ofasys")


class Pieces:
    """In how many pieces the micro-batches of each task are taken. A run that goes on takes them so too."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @cached_property
    def assembler(self) -> Assembler:
        """Reads rows anew: what was delivered is one batch."""
        return Assembler(
            list(self.setup.tasks.values()), self.setup.programs, self.setup.trainer.seed, self.setup.ranks.place
        )

    def of(self, part: Part) -> list[Batch]:
        """What a micro-batch is computed in: itself, or its pieces, of its rows in their order."""
        assert part.batch is not None
        many = self.setup.state.pieces.get(part.delivery.ticket.task, 1)
        return [part.batch] if many == 1 else self.assembler.pieces(part.delivery, many)

    def check(self, step: int, part: Part) -> None:
        """Of what this process has no memory for. step: the number of the update.

        Errors: ConfigError where it cannot be in more pieces.
        """
        task, plan = part.key[0], self.setup.programs[part.key[0]][part.key[1]].plan
        assert part.batch is not None
        many, rows = self.setup.state.pieces.get(task, 1), part.batch.size
        what = f"{_told(task, rows)} at step {step}"
        if plan.views is not None or plan.rewarded is not None:
            why = "its views are told from each other" if plan.rewarded is None else "its answers are compared"
            raise ConfigError(f"{what}, and it is learned whole, for {why}; give the task a smaller micro_batch_size")
        if many >= rows:
            raise ConfigError(f"{what}, not even row by row; shorten what its rows hold, or take a smaller model")

    def halve(self, step: int, part: Part) -> None:
        """Twice as many pieces for this task from now on, on all processes, as one of them has no memory for it.

        step: the number of the update.
        """
        state, task, rows = self.setup.state, part.key[0], max(part.sizes)
        many = state.pieces.get(task, 1)
        state.pieces[task] = min(2 * many, rows)
        _log.warning(
            f"{_told(task, rows)} at step {step}{f' in {many} pieces' if many > 1 else ''}; from now on it is taken in "
            f"{state.pieces[task]}, whose rows this process reads itself; an update is of as many rows as before"
        )
        if self.setup.device.type == "cuda":
            torch.cuda.empty_cache()


def no_room(part: Part) -> ConfigError:
    """What is told where the weights lie in pieces: the other processes wait in the midst of a pass, so that it cannot
    be made again.
    """
    assert part.batch is not None
    return ConfigError(
        f"{_told(part.key[0], part.batch.size)}, with the weights in pieces; give the task a smaller micro_batch_size, "
        "recompute=True, or the run more processes"
    )


def _told(task: str, rows: int) -> str:
    return f"task {task!r}: a micro-batch of {rows} rows does not fit the memory"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is what torch raises where there is no memory left, on any device."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )
