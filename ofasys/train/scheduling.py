"""What decides whose turn it is in a run and how its tasks share an update: the ledger, and the balancer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ofasys.errors import CheckpointError, ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.parallel.ranks import Ranks
from ofasys.task.loader import AHEAD
from ofasys.task.schedule import Entry, Follows, Ledger, find
from ofasys.task.task import Task
from ofasys.train.balance import Balancing, Begun
from ofasys.train.balance import find as find_balancer
from ofasys.train.best import choose as choose_best
from ofasys.train.checkpoint import ODD
from ofasys.train.follow import Follow
from ofasys.train.state import RunState

if TYPE_CHECKING:
    from ofasys.train.trainer import Trainer


def check_followed(trainer: Trainer, tasks: Sequence[Task]) -> None:
    """Errors: ConfigError for a schedule that goes by a figure that no evaluation gives."""
    schedule = find(trainer.schedule)
    figure = schedule.valid_figure if isinstance(schedule, Follows) else None
    if figure is None:
        return
    choose_best(f"max:{figure}", tasks, "the figure of the schedule")
    if not trainer.eval_every:
        raise ConfigError(
            f"the schedule goes by {figure!r} of the valid rows, and trainer.eval_every is 0: nothing would find it; "
            "give it"
        )


def scheduled(
    trainer: Trainer, entries: Sequence[Entry], state: RunState, max_steps: int, ranks: Ranks
) -> tuple[Ledger, Follow]:
    """Who draws when, and what tells the schedule of the run. Errors: ConfigError for what does not go together."""
    schedule, every = find(trainer.schedule), 1
    if isinstance(schedule, Follows):
        every, ahead = schedule.every, AHEAD * trainer.workers
        if every <= ahead:
            raise ConfigError(
                f"the schedule decides every {every} updates, and {trainer.workers} workers prepare up to {ahead} "
                f"micro-batches ahead; give every={ahead + 1} or more, or fewer workers"
            )
        try:
            schedule = schedule.begin(state.follow.get("schedule", {}))
        except (KeyError, *ODD) as error:
            raise CheckpointError(
                f"{trainer.out} holds a run whose schedule cannot go on from what it kept ({type(error).__name__}: "
                f"{error}); give another `out`"
            ) from error
    origin = (state.step * trainer.accumulate, state.drawn)
    end = (
        state.step if state.stopped is not None else max(state.step, max_steps)
    )  # a run may have ended for want of tasks
    ledger = Ledger(schedule, entries, end * trainer.accumulate, origin)
    return ledger, Follow(ledger, every, state.follow, ranks)


def balanced(trainer: Trainer, ledger: Ledger, model: GeneralistModel, state: RunState) -> Balancing:
    """The balancer of the run, as it was at the last checkpoint. Errors: ConfigError where no update has several tasks,
    CheckpointError for a state that it cannot go on from.
    """
    record = find_balancer(trainer.balance)
    kind, names = type(record).__name__, [entry.name for entry in ledger.entries]
    shared = frozenset(one for name, one in model.named_parameters() if name.startswith("engine."))
    balancing = record.begin(Begun(names, shared, model.device, trainer.seed))
    if state.balance.get("of") == kind:
        try:
            balancing.restore(state.balance["kept"])
        except (KeyError, *ODD) as error:
            raise CheckpointError(
                f"{trainer.out} holds a run whose balancer cannot go on from what it kept ({type(error).__name__}: "
                f"{error}); give another `out`"
            ) from error
    return balancing


def check_balance(trainer: Trainer, ledger: Ledger, start: int, pieces: bool) -> None:
    """Errors: ConfigError where one task at a time is learned, and so nothing is there to be balanced; for a balancer
    of gradients where the weights lie in pieces; or as of `Balancer.begin`. start: updates done.
    """
    names = [entry.name for entry in ledger.entries]
    begun = find_balancer(trainer.balance).begin(Begun(names, frozenset(), torch.device("cpu"), 0))
    if type(begun) is Balancing:
        return
    if pieces and begun.apart:
        raise ConfigError(
            f"trainer.shard is True, and balance={trainer.balance!r} looks at each task's whole gradient, which no "
            "process has; give one that weighs losses, as 'uncertainty' or 'dwa', leave it out, or give shard=False"
        )
    per, said = trainer.accumulate, f"trainer.balance is {trainer.balance!r}"
    if len(ledger.entries) == 1:
        raise ConfigError(f"{said}, and there is one task, {ledger.entries[0].name!r}; leave it out, or give another")
    first = {start, *(entry.join // per for entry in ledger.entries if entry.join >= start * per)}
    end = (ledger.max_steps or 0) // per
    if start >= end:
        return
    for update in sorted(update for update in first if update < end):
        turns = [turn for step in range(update * per, (update + 1) * per) for turn in ledger.turns(step)]
        if len({turn.task for turn in turns if turn.count}) > 1:
            return
    raise ConfigError(
        f"{said}, and an update holds one task, so that there is nothing to balance in it; give "
        f"schedule='accumulate', or accumulate={2 * per} or more"
    )


def in_micro_steps(entry: Entry, accumulate: int) -> Entry:
    """A task as the schedule sees it, in steps of the schedule instead of updates."""
    leave = None if entry.leave is None else entry.leave * accumulate
    return replace(entry, join=entry.join * accumulate, leave=leave, per_update=accumulate)
