"""All that is there before the first step: model, tasks, programs, optimizer, and the state of the run so far."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from ofasys import flow
from ofasys.errors import CheckpointError, ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.parallel.digest import digest
from ofasys.parallel.ranks import ALONE, Ranks
from ofasys.program.program import Program
from ofasys.program.room import check_room
from ofasys.task.schedule import Entry, Ledger, Measured
from ofasys.task.task import Task
from ofasys.train import checkpoint
from ofasys.train.balance import Balancing
from ofasys.train.balance import find as find_balancer
from ofasys.train.best import Choice
from ofasys.train.best import choose as choose_best
from ofasys.train.callback import Callbacks
from ofasys.train.ending import Ending
from ofasys.train.engine_modes import check_modes
from ofasys.train.follow import Follow
from ofasys.train.groups import Group, GroupRule, give_changes, groups_of, read_rules, table
from ofasys.train.learnable import check_choice
from ofasys.train.lock import holding
from ofasys.train.optimizer import restore_optimizer
from ofasys.train.record import card_of
from ofasys.train.saving import not_finite
from ofasys.train.scheduling import balanced, check_balance, check_followed, in_micro_steps, scheduled
from ofasys.train.shares import in_pieces
from ofasys.train.start import carry_over, fingerprints, keep_labels, tell_adaptors, tell_data, tell_settings
from ofasys.train.state import RunState
from ofasys.train.tokens import tokens_of_a_row
from ofasys.train.turnover import check_conditions, entries_now
from ofasys.types import TaskCard

if TYPE_CHECKING:
    from ofasys.parallel.sharded import Shards
    from ofasys.train.trainer import Trainer

_log = logging.getLogger("ofasys")


@dataclass
class Setup:
    """What the parts of a run share."""

    trainer: Trainer
    model: GeneralistModel
    """As it is trained, on its device."""
    tasks: Mapping[str, Task]
    """By name."""
    programs: Mapping[str, Sequence[Program]]
    """Of each task, one an instruction."""
    optimizer: torch.optim.Optimizer
    groups: Sequence[Group]
    """Of its parameters."""
    state: RunState
    """Where the run stands."""
    ledger: Ledger
    """Which task is drawn when."""
    follow: Follow
    """What tells the schedule of the run."""
    balancing: Balancing
    """How the tasks of one update share its step."""
    choice: Choice
    """By what the best checkpoint is chosen."""
    ending: Ending
    callbacks: Callbacks
    out: Path | None
    """The folder of the run; None: nothing is kept."""
    held: IO[str] | None
    """What tells that `out` is still the folder the run was begun in."""
    saved: int | None
    """The step of the last checkpoint."""
    resumed: bool
    """Whether it goes on from a checkpoint."""
    ranks: Ranks
    """The processes of the run."""
    digest: int
    """Of the weights before the first step."""
    shards: Shards | None
    """The weights in pieces. None: each process has all of them."""

    @property
    def max_steps(self) -> int:
        """Updates of the whole run."""
        return self.ending.max_steps

    def kept_of_balancing(self) -> dict[str, Any]:
        """What the balancer keeps, and whose it is."""
        kept = self.balancing.state()
        return {"of": self.balancer, "kept": kept} if kept else {}

    @property
    def balancer(self) -> str:
        """What the balancer is called."""
        return type(find_balancer(self.trainer.balance)).__name__

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def whole(self) -> AbstractContextManager[None]:
        """Within it this process has all weights whole, and a pass waits for nobody; all processes come to it."""
        return nullcontext() if self.shards is None else self.shards.whole()


def set_up(trainer: Trainer, model: GeneralistModel, tasks: list[Task], ranks: Ranks = ALONE) -> Setup:
    """Everything made ready, the same on each process; a run that `out` holds is gone on with.

    Errors: ConfigError for tasks or callbacks that do not go together, weights that are not finite, or checkpoints to
    which no pointer leads; CheckpointError for a run that cannot be gone on with.
    """
    sharding = in_pieces(trainer, ranks)
    by_name = {task.name: task for task in tasks}
    max_steps, choice = _checked(trainer, model, tasks)
    callbacks = Callbacks(trainer.callbacks)
    begun = _begun(trainer, model, by_name, callbacks)
    state = begun.state
    entries = [in_micro_steps(entry, trainer.accumulate) for entry in entries_now(tasks, state)]
    ledger, follow = scheduled(trainer, entries, state, max_steps, ranks)
    check_balance(trainer, ledger, state.step, sharding)
    programs = _grown(trainer, model, tasks, begun.others, here=not sharding)
    if isinstance(ledger.schedule, Measured) and ledger.schedule.needs_tokens:
        entries = _measured(trainer, tasks, programs, state, entries)
        ledger, follow = scheduled(trainer, entries, state, max_steps, ranks)
    rules = read_rules(trainer.groups)
    give_changes(model, rules, model.seed)
    before = digest(model) if ranks.several else 0
    shards = _sharded(trainer, model, ranks) if sharding else None
    groups = _groups(trainer, model, rules)
    optimizer = _optimizer(trainer, model, groups, state, begun.moments)
    return Setup(
        trainer=trainer,
        model=model,
        tasks=by_name,
        programs=programs,
        optimizer=optimizer,
        groups=groups,
        state=state,
        ledger=ledger,
        follow=follow,
        balancing=balanced(trainer, ledger, model, state),
        choice=choice,
        ending=Ending(max_steps, trainer.patience, trainer.best),
        callbacks=callbacks,
        out=begun.out,
        held=begun.held,
        saved=state.step if begun.resumed else None,
        resumed=begun.resumed,
        ranks=ranks,
        digest=before,
        shards=shards,
    )


def _checked(trainer: Trainer, model: GeneralistModel, tasks: Sequence[Task]) -> tuple[int, Choice]:
    """(updates of the whole run, by what its best checkpoint is chosen). Errors: ConfigError for what does not go
    together, before anything is read or made.
    """
    for task in tasks:
        task.source("train")
    if trainer.eval_every and not any("valid" in task.sources for task in tasks):
        raise ConfigError(f"trainer.eval_every is {trainer.eval_every}, and no task has valid rows; give one valid=")
    max_steps = trainer.steps(tasks)
    if trainer.epochs is not None:
        _log.warning(f"{trainer.epochs:g} epochs are {max_steps} steps")
    check_modes(model, trainer.recompute, trainer.compile)
    choice = choose_best(trainer.best, tasks)
    check_conditions(tasks, trainer.eval_every)
    check_followed(trainer, tasks)
    return max_steps, choice


@dataclass(frozen=True)
class _Begun:
    """The run as `out` holds it, or as it begins."""

    out: Path | None
    held: IO[str] | None
    """As of `Setup`."""
    resumed: bool
    state: RunState
    moments: Mapping[str, torch.Tensor] | Path
    """Of the optimizer, or the folder that has them in pieces."""
    others: Sequence[TaskCard]
    """Of tasks the model knows and this run does not: their weights are still there."""


def _begun(trainer: Trainer, model: GeneralistModel, tasks: Mapping[str, Task], callbacks: Callbacks) -> _Begun:
    """What there is of the run; the model, the callbacks and the tasks' labels are as it has them."""
    others = [card for card in model.cards if card.name not in tasks]
    out = Path(trainer.out) if trainer.out is not None else None
    held = holding(out)
    if out is not None:
        checkpoint.settle_last(out)
    resumed = out is not None and checkpoint.has_run(out)
    moments: dict[str, torch.Tensor] | Path = {}
    state, listed = RunState(trainer.seed), list(tasks.values())
    if out is not None and resumed:
        state, moments, cards = checkpoint.restore(out, model, trainer.seed, callbacks)
        others = _go_on(out, state, tasks, cards)
    else:
        keep_labels(listed, model.cards, grow=True)
        tell_settings(listed, model.cards)
        tell_adaptors(model, listed)
    state.sizes |= {name: _size(task) for name, task in tasks.items()}
    if out is not None:
        now = fingerprints(listed)
        tell_data(state.data, now, listed)
        state.data |= now
    return _Begun(out, held, resumed, state, moments, others)


def _measured(
    trainer: Trainer,
    tasks: Sequence[Task],
    programs: Mapping[str, Sequence[Program]],
    state: RunState,
    entries: Sequence[Entry],
) -> list[Entry]:
    """The tasks as the schedule sees them, with the tokens of a row; those that are new to the run are measured."""
    new = [task for task in tasks if task.name not in state.tokens]
    state.tokens |= {task.name: tokens_of_a_row(task, programs[task.name], trainer.seed) for task in new}
    return [replace(entry, tokens=state.tokens[entry.name]) for entry in entries]


def _sharded(trainer: Trainer, model: GeneralistModel, ranks: Ranks) -> Shards:
    """The model's weights in pieces."""
    from ofasys.parallel.sharded import Shards

    units = getattr(model.engine, "shard_units", ())
    return Shards(model, model.get_submodule("engine"), units, ranks, trainer.on())


def _groups(trainer: Trainer, model: GeneralistModel, rules: Sequence[GroupRule]) -> list[Group]:
    """The groups of the model's parameters, told where the run names any."""
    groups = groups_of(model, trainer.weight_decay, rules, trainer.peak)
    if rules:
        _log.warning(f"parameters by group:\n{table(groups, trainer.peak)}")
    return groups


def _optimizer(
    trainer: Trainer,
    model: GeneralistModel,
    groups: Sequence[Group],
    state: RunState,
    moments: Mapping[str, torch.Tensor] | Path,
) -> torch.optim.Optimizer:
    """The optimizer, with the state it had; another than the run was trained with so far begins with none.

    Errors: ConfigError where that, or the weights, are not finite.
    """
    spec = trainer.optimizer_spec
    made = spec.optimizer(model, groups, trainer.peak, trainer.betas)
    if moments and state.optimizer != spec.name:
        _log.warning(f"the run was trained with {state.optimizer} so far; {spec.name} begins with no state of its own")
    else:
        restore_optimizer(made, model, _near(model, moments) if isinstance(moments, Path) else moments)
    state.optimizer = spec.name
    if (what := not_finite(model, made)) is not None:
        raise ConfigError(f"{what} are not finite before the first step; load a sound model, or make a new one")
    return made


def _near(model: GeneralistModel, folder: Path) -> dict[str, torch.Tensor]:
    """The moments in a checkpoint whose weights lay in pieces."""
    from ofasys.train.shard_files import Moments

    return Moments(folder).near(model)


def _go_on(out: Path, state: RunState, tasks: Mapping[str, Task], cards: Sequence[TaskCard]) -> list[TaskCard]:
    """Give the tasks the labels of the run in `out`; the cards of those that it had and that are not here now."""
    if state.best and not checkpoint.settle_best(out, state.best):
        _log.warning(f"{out}: the best checkpoint is not there any more; the next validation's is the best")
        state.best = None
    for name, there in state.sizes.items():
        here = _size(tasks[name]) if name in tasks else there
        if here != there:
            raise CheckpointError(
                f"{out} holds a run in which task {name!r} had {there[0]} rows in micro-batches of {_told(there)}, "
                f"not {here[0]} in {_told(here)}: its place in the data would be another; give another `out`, or the "
                "task a new name"
            )
    for card in cards:
        if card.name in tasks:
            tasks[card.name].restore_labels(card.labels)
    return [card for card in cards if card.name not in tasks]


def _grown(
    trainer: Trainer, model: GeneralistModel, tasks: Sequence[Task], others: Sequence[TaskCard], here: bool
) -> dict[str, list[Program]]:
    """The model with room for all tasks, on its device if it is to be `here` whole; the programs of each."""
    known = set(model.symbols.vocabulary.spans) if model.symbols else set[str]()
    model.grow(
        [(p, t.labels) for t in tasks for p in t.plans],
        lambda: (text for t in tasks for text in t.texts()),
        lambda plan, slot: (value for t in tasks if plan in t.plans for value in t.examples(plan, slot)),
    )
    carry_over(model, known, tasks, model.cards)
    model.cards = (*map(card_of, tasks), *others)
    device = trainer.on()
    if here:
        model.to(device)
    programs = {task.name: [flow.bind(model, p, task.labels) for p in task.plans] for task in tasks}
    for task in tasks:
        for program in programs[task.name]:
            check_choice(task, program)
            if task.metrics:
                check_room(program, task.generate.max_length, f"task {task.name!r}")
    return programs


def _size(task: Task) -> list[int]:
    """By what a place in the data is known: rows, rows of a micro-batch, and a 1 where these are counted by tokens."""
    return [len(task.source("train")), task.micro_batch_size, *([1] if task.by_tokens else [])]


def _told(size: list[int]) -> str:
    return f"{size[1]} by tokens" if len(size) > 2 else str(size[1])
