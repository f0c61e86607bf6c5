"""One call of `Trainer.fit`: from the run found in `out`, if there is one, to the last step."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ofasys import flow
from ofasys.criterion.units import units
from ofasys.errors import CheckpointError, ConfigError, DataError
from ofasys.generalist import GeneralistModel
from ofasys.hub.store import write_json
from ofasys.metric import Confusion
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.task.loader import Assembler, Delivery, Ticket, deliveries
from ofasys.task.order import key_of
from ofasys.task.schedule import Entry, Ledger
from ofasys.task.task import Task
from ofasys.train import checkpoint
from ofasys.train.ahead import Looked, look_ahead
from ofasys.train.evaluate import evaluate_task, mean
from ofasys.train.interrupt import Interrupt
from ofasys.train.log import RunLog
from ofasys.train.optimizer import adamw, gradient_norm, learning_rate, restore_optimizer, step_clipped
from ofasys.train.precision import autocast, choose
from ofasys.train.rehearse import rehearse
from ofasys.train.update import Combined, Part, Window
from ofasys.types import TaskCard

if TYPE_CHECKING:
    from ofasys.train.trainer import Trainer

_log = logging.getLogger("ofasys")


class Run:
    """One call of `fit`."""

    def __init__(self, trainer: Trainer, model: GeneralistModel, tasks: list[Task]) -> None:
        self.trainer, self.model, self.tasks = trainer, model, tasks
        self.by_name = {task.name: task for task in tasks}
        self.out = Path(trainer.out) if trainer.out is not None else None
        self.entries = [_in_micro_steps(task.entry(), trainer.accumulate) for task in tasks]
        for task in tasks:
            task.source("train")
        if trainer.eval_every and not any("valid" in task.sources for task in tasks):
            raise ConfigError(
                f"trainer.eval_every is {trainer.eval_every}, and no task has valid rows; give one valid="
            )
        # step: updates done. drawn: micro-batches by task. bad: rows by task, with the first's error. windows: sums since the last report.
        # sizes: rows and micro-batch size by task, which its place in the data rests on.
        self.state: dict[str, Any] = {
            "step": 0,
            "seed": trainer.seed,
            "drawn": {},
            "bad": {},
            "first_bad": {},
            "best": None,
            "windows": {},
            "sizes": {},
        }
        # Of tasks the model knows and this run does not: their weights are still there.
        self.others = [card for card in model.cards if card.name not in self.by_name]
        moments = self.resume()
        self.state["sizes"] |= {task.name: _size(task) for task in tasks}
        start = self.state["step"]
        origin = (start * trainer.accumulate, self.state["drawn"])
        self.ledger = Ledger(trainer.schedule, self.entries, max(start, trainer.max_steps) * trainer.accumulate, origin)
        model.grow(
            [(p, t.labels) for t in tasks for p in t.plans],
            lambda: (text for t in tasks for text in t.texts()),
            lambda plan, slot: (value for t in tasks if plan in t.plans for value in t.examples(plan, slot)),
        )
        model.cards = (*map(card_of, tasks), *self.others)
        model.to(trainer.on())
        self.programs = {task.name: [flow.bind(model, p, task.labels) for p in task.plans] for task in tasks}
        for task in tasks:
            for program in self.programs[task.name]:
                _check_choice(task, program)
        self.optimizer = adamw(model, trainer.lr, trainer.weight_decay, trainer.betas)
        restore_optimizer(self.optimizer, model, moments)
        self.dtype = choose(trainer.precision, model.device)
        self.windows = {name: Window(**sums) for name, sums in self.state["windows"].items() if name in self.by_name}
        self.first_bad: dict[str, DataError] = {}  # of this call
        self.log = RunLog(self.out, trainer.max_steps, start, trainer.live)
        for name, first in self.state["first_bad"].items():
            self.log.bad(name, len(self.state["bad"][name]), first)

    def resume(self) -> dict[str, torch.Tensor]:
        """Go on with the run that `out` holds, if it does: model, state, labels. The optimizer's tensors."""
        if self.out is None or not checkpoint.has_run(self.out):
            return {}
        self.state, moments, cards = checkpoint.restore(self.out, self.model, self.trainer.seed)
        self.state.setdefault("first_bad", {})
        for name, there in self.state["sizes"].items():
            here = _size(self.by_name[name]) if name in self.by_name else there
            if here != there:
                raise CheckpointError(
                    f"{self.out} holds a run in which task {name!r} had {there[0]} rows in micro-batches of {there[1]}, not "
                    f"{here[0]} in {here[1]}: its place in the data would be another; give another `out`, or the task a new name"
                )
        self.others = []
        for card in cards:
            if card.name in self.by_name:
                self.by_name[card.name].restore_labels(card.labels)
            else:
                self.others.append(card)
        return moments

    def fit(self) -> GeneralistModel:
        """Train to the end, from where the run is; the model, ready to answer."""
        trainer, start = self.trainer, self.state["step"]
        trainer.history.clear()
        if start < trainer.max_steps:
            self.look_ahead()
            self.write_run()
            assembler = Assembler(self.tasks, self.programs, trainer.seed)
            cuda = [self.model.device] if self.model.device.type == "cuda" else []
            with (
                closing(deliveries(assembler, self.tickets(start), trainer.workers)) as stream,
                torch.random.fork_rng(cuda),
                self.log,
                Interrupt() as interrupt,
            ):
                try:
                    for step in range(start, trainer.max_steps):
                        self.update(step, stream)
                        self.close(step + 1)
                        self.log.at(step + 1)
                        if interrupt.asked:
                            self.save(("last",))
                            raise KeyboardInterrupt
                except BaseException as error:
                    self.tell_bad(besides=getattr(error, "task", None))
                    raise
            self.tell_bad()
        self.model.eval()
        return self.model

    def look_ahead(self) -> list[Looked]:
        """Some rows of every split, read before the first step. Errors: as of the function of this name."""
        return look_ahead(self.tasks, self.programs, self.trainer.seed)

    def tickets(self, start: int) -> Iterator[Ticket]:
        """Every micro-batch of the rest of the run, in order."""
        per = self.trainer.accumulate
        for step in range(start, self.trainer.max_steps):
            draws = [draw for small in range(step * per, (step + 1) * per) for draw in self.ledger.draws(small)]
            for task, k in draws:
                yield Ticket(step, task, k, len(draws))

    def update(self, step: int, stream: Iterator[Delivery]) -> None:
        """One optimizer step: all micro-batches of the step, then AdamW; no step where nothing in them can be judged.

        The micro-batches of one instruction are parts of one batch: their losses are divided by what all of them count.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.parts(step, stream)
        wholes: dict[tuple[str, int], Combined] = {}
        for part in parts:
            wholes.setdefault(part.key, Combined()).add(part)
        learned = [self.backward(part, wholes[part.key], len(parts)) for part in parts]
        if any(learned):
            self.descend(step)

    def parts(self, step: int, stream: Iterator[Delivery]) -> list[Part]:
        """The micro-batches of one update; of a task that learns from a reward, of the model's own answers."""
        parts: list[Part] = []
        of = 1
        while len(parts) < of:
            began = time.perf_counter()
            delivery = next(stream)
            waited = time.perf_counter() - began
            ticket, batch, figures = delivery.ticket, delivery.batch, dict[str, float]()
            of = ticket.of
            self.state["drawn"][ticket.task] = ticket.k + 1
            self.quarantine(step + 1, delivery)
            program = self.programs[ticket.task][delivery.instruction]
            if batch is not None and program.rewarded is not None:
                draw = key_of("reward", self.trainer.seed, ticket.task, ticket.k) % 2**31
                options = replace(self.by_name[ticket.task].generate, seed=draw)
                batch, figures = rehearse(self.model, program, batch, options)
            counts = units(batch.goals) if batch is not None else {}
            parts.append(Part(delivery, batch, counts, figures, time.perf_counter() - began, waited))
        return parts

    def descend(self, step: int) -> None:
        """AdamW, with the gradients clipped. Errors: ConfigError when they are not finite."""
        trainer, norm = self.trainer, gradient_norm(self.optimizer)
        if not torch.isfinite(norm):
            raise ConfigError(
                f"the gradient is {float(norm)} at step {step}; lower lr={trainer.lr:g}, warm up longer, or use "
                "precision='float32'; the weights are those of the step before"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        step_clipped(self.optimizer, norm, trainer.clip)

    def rate(self, step: int) -> float:
        """The learning rate of an update."""
        trainer = self.trainer
        warmup = min(100, trainer.max_steps // 10) if trainer.warmup is None else trainer.warmup
        return learning_rate(step, trainer.max_steps, trainer.lr, warmup, trainer.decay)

    def backward(self, part: Part, whole: Combined, of: int) -> bool:
        """Forward and backward of one of the `of` micro-batches of an update; whether anything in it was judged.

        An instruction has as large a share of the update as it has micro-batches in it.
        """
        if part.batch is None or not part.batch.goals:
            return False
        began, ticket = time.perf_counter(), part.delivery.ticket
        task, program = self.by_name[ticket.task], self.programs[ticket.task][part.delivery.instruction]
        torch.manual_seed(key_of("dropout", self.trainer.seed, ticket.task, ticket.k) % 2**63)
        batch = to_device(part.batch, self.model.device)
        with autocast(self.model.device, self.dtype):
            states = flow.compute(self.model, flow.adapt(self.model, batch))
            loss = flow.criterion(flow.emit(self.model, program, states, batch), task.smoothing, whole.units)
        if part.judged:
            (loss.total * (task.loss_weight * whole.drawn / of)).backward()
        if program.rewarded is not None:
            loss = replace(loss, figures={**loss.figures, program.rewarded.index: part.figures})
        window = self.windows.setdefault(ticket.task, Window())
        window.add(part, loss, program, whole.judged, part.seconds + time.perf_counter() - began)
        return part.judged

    def quarantine(self, step: int, delivery: Delivery) -> None:
        """Count bad rows, each once, and write them down. Errors: DataError when there are too many."""
        task = self.by_name[delivery.ticket.task]
        seen = self.state["bad"].setdefault(task.name, [])
        for bad in delivery.bad:
            if bad.row in seen:
                continue
            seen.append(bad.row)
            first = self.first_bad.setdefault(task.name, bad.error)
            self.log.quarantine(step, task.name, bad.epoch, bad.row, str(bad.error))
            self.log.bad(task.name, len(seen), self.state["first_bad"].setdefault(task.name, str(first)))
            if len(seen) > task.bad_limit:
                raise _too_many(
                    f"{len(seen)} bad rows, more than bad_limit={task.bad_limit}; mend them or raise it", first
                )
            if len(seen) == len(task.source("train")):
                raise _too_many(f"all {len(seen)} training rows are bad", first)

    def check_learned(self) -> None:
        """Errors: DataError for a task none of whose rows could be used."""
        for name, error in self.first_bad.items():
            if not self.windows.get(name, Window()).seen:
                raise _too_many(f"none of the {len(self.state['bad'][name])} rows that were drawn could be used", error)

    def tell_bad(self, besides: str | None = None) -> None:
        """A warning for each task of which rows were left out, in this call of `fit` or before.

        besides: a task whose error says so.
        """
        where = "" if self.out is None else f"; all are in {self.out / 'quarantine.jsonl'}"
        for name, error in self.state["first_bad"].items():
            if name in self.by_name and name != besides:
                count, rows = len(self.state["bad"][name]), len(self.by_name[name].source("train"))
                _log.warning(
                    f"task {name!r}: {count} of its {rows} training rows were left out as bad, the first: {error}{where}"
                )

    def close(self, done: int) -> None:
        """What follows an update: log, validation, checkpoint, as they are due."""
        trainer, last = self.trainer, done == self.trainer.max_steps
        self.state["step"] = done
        if last:
            self.check_learned()
        if last or done % trainer.log_every == 0:
            self.report(done)
        if last or (trainer.eval_every and done % trainer.eval_every == 0):
            try:
                best = self.validate(done)
            except BaseException:  # a bad valid row must not cost the training
                self.save(("last",))
                raise
            self.save(("last", "best") if best else ("last",))
        elif trainer.save_every and done % trainer.save_every == 0:
            self.save(("last",))

    def report(self, step: int) -> None:
        """A line per task over the steps since the last; none for a task that had no batch in them."""
        for name, window in self.windows.items():
            if window.batches:
                figures = window.figures() | {"lr": self.rate(step - 1), "bad": len(self.state["bad"].get(name, ()))}
                self.tell("train", step, name, figures)
                self.windows[name] = Window(seen=window.seen)
        self.log.show(step)

    def validate(self, step: int) -> bool:
        """Figures on the valid sets, of tasks that have left or not yet joined too; are they the best so far?

        Best is the least mean of the tasks' losses, never NaN. A run that goes on with other tasks begins anew to
        compare.
        """
        losses = {}
        for task in self.tasks:
            if "valid" in task.sources:
                classes: dict[str, Confusion] = {}
                figures = evaluate_task(
                    self.model,
                    task,
                    "valid",
                    batch_size=self.trainer.eval_batch_size,
                    limit=self.trainer.eval_samples,
                    program=self.programs[task.name][0],
                    classes=classes,
                )
                self.tell("valid", step, task.name, figures)
                for column, confusion in classes.items():
                    self.log.write("classes", step, task.name, {"column": column, **confusion.line()})
                losses[task.name] = figures["loss"]
        self.log.show(step)
        found, names = mean(sum(losses.values()), len(losses)), sorted(losses)
        before = self.state["best"]
        least = before["loss"] if before and before["tasks"] == names and isfinite(before["loss"]) else inf
        if not found < least:
            return False
        self.state["best"] = {"loss": found, "tasks": names}
        return True

    def tell(self, kind: str, step: int, task: str, figures: dict[str, float]) -> None:
        """To the history and to the log."""
        self.trainer.history.append({"kind": kind, "step": step, "task": task, **figures})
        self.log.write(kind, step, task, figures)

    def save(self, names: Sequence[str]) -> None:
        """Write the checkpoints of these names."""
        if self.out is not None:
            state = {**self.state, "windows": {name: asdict(window) for name, window in self.windows.items()}}
            checkpoint.save(self.out, self.model, self.optimizer, state, names)

    def write_run(self) -> None:
        """What ran, written out whole."""
        if self.out is None:
            return
        settings = {f: v for f, v in vars(self.trainer).items() if f not in ("history", "live")}
        settings["schedule"] = (
            settings["schedule"] if isinstance(settings["schedule"], str) else repr(settings["schedule"])
        )
        settings["out"] = str(settings["out"])
        model = {
            "size": self.model.size,
            "seed": self.model.seed,
            "config": self.model.config.to_dict(),
            "parameters": self.model.parameters_count,
        }
        tasks = [
            {
                **asdict(card_of(task)),
                "plans": [p.fingerprint for p in task.plans],
                "data": {split: source.describe() for split, source in task.sources.items()},
                **asdict(task.entry()),
                **{name: getattr(task, name) for name in ("on_bad", "bad_limit", "smoothing", "shuffle", "buckets")},
            }
            for task in self.tasks
        ]
        write_json(self.out / "run.json", {"trainer": settings, "model": model, "tasks": tasks})


def _too_many(message: str, first: DataError) -> DataError:
    return DataError(
        f"{message}; the first: {first.message}",
        expected=first.expected,
        task=first.task,
        slot=first.slot,
        column=first.column,
        sample=first.sample,
    )


def _size(task: Task) -> list[int]:
    return [len(task.source("train")), task.micro_batch_size]


def _check_choice(task: Task, program: Program) -> None:
    """Errors: ConfigError when there is nothing to learn: every token of the target is forced, or a contrast has no
    others.
    """
    constraints = [stage.constraint for stage in program.stages if stage.constraint is not None]
    tokens = any(((c.single < 0) & (c.class_of >= 0)).any() for c in constraints)
    if not tokens and not any(slot.criterion and slot.kind != "tokens" for slot in program.plan.slots):
        raise ConfigError(
            f"task {task.name!r}: its target leaves no choice, so there is nothing to learn; is its closed set of one label?"
        )
    for slot in program.plan.slots:
        if slot.kind == "contrast" and task.micro_batch_size < 2:
            raise ConfigError(
                f"task {task.name!r}: a contrast of one sample has nothing to tell apart; give micro_batch_size=2 or more"
            )
        if slot.kind == "contrast" and len(task.source("train")) < task.micro_batch_size:
            rows = len(task.source("train"))
            raise ConfigError(
                f"task {task.name!r}: a contrast over {task.micro_batch_size} samples of {rows} rows would tell a row apart from "
                f"itself; give micro_batch_size={rows} or less"
            )
        if slot.kind == "category" and slot.goal is not None and len(program.labels[slot.goal]) < 2:
            raise ConfigError(
                f"task {task.name!r}: column {program.plan.slots[slot.goal].column!r} has one label, so there is nothing to learn"
            )


def card_of(task: Task) -> TaskCard:
    """What a saved model remembers of a task."""
    return TaskCard(
        name=task.name,
        instructions=tuple(map(str, task.instructions)),
        settings=task.settings,
        labels={name: list(labels) for name, labels in task.labels.items()},
        generate=asdict(task.generate),
        metrics=tuple(metric.name for metric in task.metrics),
    )


def _in_micro_steps(entry: Entry, accumulate: int) -> Entry:
    leave = None if entry.leave is None else entry.leave * accumulate
    return Entry(entry.name, entry.weight, entry.join * accumulate, leave, entry.size, entry.micro_batch_size)
