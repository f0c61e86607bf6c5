"""One call of `Trainer.fit`: from the run found in `out`, if there is one, to the last step."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ofasys import flow
from ofasys.errors import CheckpointError, ConfigError, DataError
from ofasys.generalist import GeneralistModel
from ofasys.hub.store import write_json
from ofasys.metric import Confusion
from ofasys.program.batch import to_device
from ofasys.seeds import key_of
from ofasys.task.loader import Assembler, Delivery, Ticket, deliveries
from ofasys.task.schedule import Entry, Ledger
from ofasys.task.task import Task
from ofasys.train import checkpoint
from ofasys.train.ahead import Looked, look_ahead
from ofasys.train.best import choose as choose_best
from ofasys.train.ending import Ending
from ofasys.train.evaluate import evaluate_task
from ofasys.train.interrupt import Interrupt
from ofasys.train.learnable import check_choice
from ofasys.train.lock import check_held, holding
from ofasys.train.log import RunLog
from ofasys.train.optimizer import Finite, adamw, gradient_norm, learning_rate, restore_optimizer, step_clipped
from ofasys.train.precision import Precision, Step, asked, measured
from ofasys.train.record import RECORD, about, card_of, changes, history, recorded
from ofasys.train.saving import Clock, is_sound, not_finite, writing
from ofasys.train.self_critical import self_critical
from ofasys.train.start import carry_over, fingerprints, keep_labels, tell_data, tell_settings
from ofasys.train.update import Combined, Part, Window

if TYPE_CHECKING:
    from ofasys.train.trainer import Trainer

_log = logging.getLogger("ofasys")


class Run:
    """One call of `fit`."""

    def __init__(self, trainer: Trainer, model: GeneralistModel, tasks: list[Task]) -> None:
        self.trainer, self.model, self.tasks = trainer, model, tasks
        self.by_name = {task.name: task for task in tasks}
        self.out = Path(trainer.out) if trainer.out is not None else None
        self.held = holding(self.out)
        self.entries = [in_micro_steps(task.entry(), trainer.accumulate) for task in tasks]
        for task in tasks:
            task.source("train")
        if trainer.eval_every and not any("valid" in task.sources for task in tasks):
            raise ConfigError(
                f"trainer.eval_every is {trainer.eval_every}, and no task has valid rows; give one valid="
            )
        self.state = _first_state(trainer.seed)
        self.max_steps = trainer.steps(tasks)
        if trainer.epochs is not None:
            _log.warning(f"{trainer.epochs:g} epochs are {self.max_steps} steps")
        self.choice = choose_best(trainer.best, tasks)
        self.ending = Ending(self.max_steps, trainer.patience, trainer.best)
        # Of tasks the model knows and this run does not: their weights are still there.
        self.others = [card for card in model.cards if card.name not in self.by_name]
        moments = self.resume()
        if not self.resumed:
            keep_labels(tasks, model.cards, grow=True)
            tell_settings(tasks, model.cards)
        self.state["sizes"] |= {task.name: _size(task) for task in tasks}
        if self.out is not None:
            now = fingerprints(tasks)
            tell_data(self.state["data"], now, tasks)
            self.state["data"] |= now
        start = self.state["step"]
        origin = (start * trainer.accumulate, self.state["drawn"])
        self.ledger = Ledger(trainer.schedule, self.entries, max(start, self.max_steps) * trainer.accumulate, origin)
        known = set(model.symbols.vocabulary.spans) if model.symbols else set[str]()
        model.grow(
            [(p, t.labels) for t in tasks for p in t.plans],
            lambda: (text for t in tasks for text in t.texts()),
            lambda plan, slot: (value for t in tasks if plan in t.plans for value in t.examples(plan, slot)),
        )
        carry_over(model, known, tasks, model.cards)
        model.cards = (*map(card_of, tasks), *self.others)
        model.to(trainer.on())
        self.programs = {task.name: [flow.bind(model, p, task.labels) for p in task.plans] for task in tasks}
        for task in tasks:
            for program in self.programs[task.name]:
                check_choice(task, program)
        self.optimizer = adamw(model, trainer.lr, trainer.weight_decay, trainer.betas)
        restore_optimizer(self.optimizer, model, moments)
        self.finite = Finite(model.device)
        if (what := not_finite(model, self.optimizer)) is not None:
            raise ConfigError(f"{what} are not finite before the first step; load a sound model, or make a new one")
        self.windows = {name: Window(**sums) for name, sums in self.state["windows"].items() if name in self.by_name}
        self.first_bad: dict[str, DataError] = {}  # of this call
        self.log = RunLog(self.out, self.max_steps, start, trainer.live)
        self.saved = start if self.resumed else None  # the step of the last checkpoint
        self.probe: Part | None = None  # the last that was learned from
        self.clock = Clock(trainer.save_minutes if not trainer.save_every else 0)
        for name, first in self.state["first_bad"].items():
            self.log.bad(name, len(self.state["bad"][name]), first)

    def resume(self) -> dict[str, torch.Tensor]:
        """Go on with the run that `out` holds, if it does: model, state, labels. The optimizer's tensors."""
        self.resumed = self.out is not None and checkpoint.has_run(self.out)
        if self.out is None or not self.resumed:
            return {}
        trained = self.model.symbols is not None
        state, moments, cards = checkpoint.restore(self.out, self.model, self.trainer.seed)
        self.state |= state
        if trained:
            _log.warning(
                f"{self.out} holds a run (step {state['step']}): its weights are gone on with, not those given"
            )
        if self.state["best"] and not checkpoint.settle_best(self.out, self.state["best"]):
            _log.warning(f"{self.out}: the best checkpoint is not there any more; the next validation's is the best")
            self.state["best"] = None
        for name, there in self.state["sizes"].items():
            here = _size(self.by_name[name]) if name in self.by_name else there
            if here != there:
                raise CheckpointError(
                    f"{self.out} holds a run in which task {name!r} had {there[0]} rows in micro-batches of {there[1]}, not "
                    f"{here[0]} in {here[1]}: its place in the data would be another; give another `out`, or the task a new name"
                )
        self.others = [card for card in cards if card.name not in self.by_name]
        for card in cards:
            if card.name in self.by_name:
                self.by_name[card.name].restore_labels(card.labels)
        return moments

    def fit(self) -> GeneralistModel:
        """Train to the end, from where the run is; the model, ready to answer."""
        self.trainer.history.clear()
        record = about(self.trainer, self.model, self.tasks, self.max_steps)
        changed = changes(self.out, record) if self.out is not None and self.resumed else []
        left = self.ending.begin(self.out, self.state, changed)
        if left or self.due:
            self.look_ahead()
            chosen = self.choose_precision()
            self.model.precision = chosen.name
            self.state["precision"] = record["precision"] = chosen.to_dict()
            if self.out is not None:
                with writing(self.out, RECORD, self.saved):
                    write_json(self.out / RECORD, record)
            self.go_on()
        elif self.out is not None:
            self.trainer.history.extend(history(self.out))
        self.model.eval()
        return self.model

    @property
    def due(self) -> bool:
        """Whether the evaluation of the step the run is at failed, and is to be made up for."""
        return self.state["due"] is not None and self.state["due"] == self.state["step"]

    def go_on(self) -> None:
        """The steps that are left, and an evaluation that is due."""
        start = self.state["step"]
        assembler = Assembler(self.tasks, self.programs, self.trainer.seed)
        cuda = [self.model.device] if self.model.device.type == "cuda" else []
        with (
            closing(deliveries(assembler, self.tickets(start), self.trainer.workers)) as stream,
            torch.random.fork_rng(cuda),
            self.log,
            Interrupt() as interrupt,
        ):
            try:
                if self.due:
                    self.evaluate(start)
                    self.heed(interrupt)
                for step in range(start, self.max_steps):
                    if self.state["stopped"]:
                        break
                    self.update(step, stream)
                    self.close(step + 1)
                    self.log.at(step + 1)
                    self.heed(interrupt)
            except BaseException as error:
                self.tell_bad(besides=getattr(error, "task", None))
                raise
        self.tell_bad()

    def heed(self, interrupt: Interrupt) -> None:
        """Save, and end the run, where a signal asked for it."""
        if interrupt.asked is not None:
            self.save(("last",))
            raise interrupt.end()

    def look_ahead(self) -> list[Looked]:
        """Some rows of every split, read before the first step. Errors: as of the function of this name."""
        return look_ahead(self.tasks, self.programs, self.trainer.seed)

    def choose_precision(self) -> Precision:
        """What this run computes in: as asked, as it did so far, or as is measured now."""
        device = self.model.device
        if (found := asked(self.trainer.precision, device)) is not None:
            return found
        before = self.state["precision"] if self.resumed else recorded(self.out)
        if (kept := Precision.known(before)) is not None:
            return kept
        if self.resumed:  # of a version that took float32 on every CPU
            return Precision("float32", "as the run did so far")
        return measured(self.model.config, self.trial)

    def trial(self) -> Step | None:
        """One training step, on the first rows of the run, that leaves model and random numbers as they are."""
        assembler = Assembler(self.tasks, self.programs, self.trainer.seed)
        few = [Ticket(self.state["step"], task.name, self.state["drawn"].get(task.name, 0)) for task in self.tasks]
        batches = [(d.ticket.task, d.instruction, d.batch) for d in map(assembler.__getitem__, few)]
        usable = [(self.programs[task][number], batch) for task, number, batch in batches if batch and batch.targets]
        if not usable:
            return None
        program, batch = max(usable, key=lambda one: one[1].positions)
        batch = to_device(batch, self.model.device)

        def step(precision: str) -> None:
            before, self.model.precision = self.model.precision, precision
            self.model.train()
            try:
                with torch.random.fork_rng([]):
                    self.model(program, batch).total.backward()
            finally:
                self.model.precision = before
                self.model.zero_grad(set_to_none=True)

        return step

    def tickets(self, start: int) -> Iterator[Ticket]:
        """Every micro-batch of the rest of the run, in order."""
        per = self.trainer.accumulate
        for step in range(start, self.max_steps):
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
                batch, figures = self_critical(self.model, program, batch, options)
            parts.append(Part(delivery, batch, figures, time.perf_counter() - began, waited))
        return parts

    def descend(self, step: int) -> None:
        """AdamW, with the gradients clipped; nothing from the first step on whose gradients are not finite."""
        trainer, norm = self.trainer, gradient_norm(self.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        step_clipped(self.optimizer, norm, trainer.clip, self.finite.see(norm, step))

    def rate(self, step: int) -> float:
        """The learning rate of an update."""
        trainer = self.trainer
        warmup = min(100, self.max_steps // 10) if trainer.warmup is None else trainer.warmup
        return learning_rate(step, self.max_steps, trainer.lr, warmup, trainer.decay)

    def backward(self, part: Part, whole: Combined, of: int) -> bool:
        """Forward and backward of one of the `of` micro-batches of an update; whether anything in it was judged.

        An instruction has as large a share of the update as it has micro-batches in it.
        """
        if part.batch is None or not part.batch.targets:
            return False
        began, ticket = time.perf_counter(), part.delivery.ticket
        task, program = self.by_name[ticket.task], self.programs[ticket.task][part.delivery.instruction]
        torch.manual_seed(key_of("dropout", self.trainer.seed, ticket.task, ticket.k) % 2**63)
        share = task.loss_weight * whole.drawn / of
        batch, scale = to_device((part.batch, whole.scale(part.batch.weights, share)), self.model.device)
        loss = self.model(program, batch, scale, task.smoothing)
        if part.judged:
            self.probe = part
            loss.total.backward()
        window = self.windows.setdefault(ticket.task, Window())
        window.add(part, loss, program, whole.judged / share, part.seconds + time.perf_counter() - began)
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
            with writing(self.out, "quarantine.jsonl", self.saved):
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
        for name, text in self.state["first_bad"].items():
            if name in self.by_name and not self.windows.get(name, Window()).seen:
                error = self.first_bad.get(name, DataError(text))
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

    def advice(self) -> str:
        """What to do about numbers that are not finite, and where the next `fit` begins."""
        lower = f"lower lr={self.trainer.lr:g}, warm up longer, or use precision='float32'"
        if self.saved is not None:
            return f"{lower}; the next fit goes on from the checkpoint of step {self.saved}"
        return f"{lower}; no checkpoint was saved yet, so begin anew with a new model"

    def check_gradients(self) -> None:
        """Errors: ConfigError for a step whose gradients were not finite."""
        if (broken := self.finite.broken) is not None:
            step, norm = broken
            self.check_finite(step)
            raise ConfigError(
                f"the gradient is {norm} at step {step}; {self.advice()}; the weights are those of the step before"
            )

    def check_finite(self, step: int) -> None:
        """Errors: ConfigError for weights, moments, or the loss they give, that are not finite: they are not saved."""
        what = not_finite(self.model, self.optimizer)
        if what is None and self.probe is not None and self.probe.batch is not None:
            program = self.programs[self.probe.delivery.ticket.task][self.probe.delivery.instruction]
            what = None if is_sound(self.model, program, self.probe.batch) else "the losses"
        if what is not None:
            since = f"since a step after {self.saved}" if self.saved is not None else "since a step of this run"
            raise ConfigError(f"{what} are not finite at step {step}, {since}; they are not saved; {self.advice()}")

    def close(self, done: int) -> None:
        """What follows an update: log, validation, checkpoint, as they are due."""
        trainer, last = self.trainer, done == self.max_steps
        self.state["step"] = done
        asked = last or done % trainer.log_every == 0 or (trainer.eval_every and done % trainer.eval_every == 0)
        saving = (trainer.save_every and done % trainer.save_every == 0) or self.clock.due
        if asked or saving:
            self.check_gradients()
        if last:
            self.check_learned()
        if last or done % trainer.log_every == 0:
            self.report(done)
        if last or (trainer.eval_every and done % trainer.eval_every == 0):
            self.evaluate(done)
        elif saving:
            self.save(("last",))

    def evaluate(self, step: int) -> None:
        """Validate and save; where that fails, the next `fit` makes up for it."""
        self.check_finite(step)
        self.state["due"] = step
        try:
            best = self.validate(step)
        except BaseException as error:  # a bad valid row, or a metric that fails, must not cost the training
            self.save(("last",))
            if self.out is not None:
                failed = isinstance(error, Exception)
                _log.warning(
                    f"the evaluation of step {step} {'failed' if failed else 'was interrupted'}; its checkpoint is in "
                    f"{self.out}: {'mend what failed, and ' if failed else ''}the next fit evaluates it first and goes on"
                )
            raise
        self.state["due"] = None
        self.save(("last", "best") if best else ("last",))

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

        Best is by the trainer's `best`, never what is not finite. A run that goes on with other tasks or another figure
        begins anew to compare.
        """
        found: dict[str, dict[str, float]] = {}
        confusions: dict[str, dict[str, Confusion]] = {}
        for task in self.tasks:
            if "valid" in task.sources:
                confusions[task.name] = {}
                found[task.name] = evaluate_task(
                    self.model,
                    task,
                    "valid",
                    batch_size=self.trainer.eval_batch_size,
                    limit=self.trainer.eval_samples,
                    program=self.programs[task.name][0],
                    classes=confusions[task.name],
                )
        value, before = self.choice.value(found), self.choice.known(self.state["best"])
        for name, figures in found.items():
            self.tell("valid", step, name, figures)
            for column, confusion in confusions[name].items():
                with writing(self.out, "the log", self.saved):
                    self.log.write("classes", step, name, {"column": column, **confusion.line()})
        self.log.show(step)
        better = self.choice.better(value, before)
        if better:
            names = sorted(self.choice.tasks)
            self.state["best"] = {"figure": self.choice.name, "value": value, "step": step, "tasks": names}
        if found and self.ending.wait(self.state, better):
            self.report(step)
        return better

    def tell(self, kind: str, step: int, task: str, figures: dict[str, float]) -> None:
        """To the history and to the log."""
        self.trainer.history.append({"kind": kind, "step": step, "task": task, **figures})
        if self.out is not None:
            check_held(self.out, self.held)
        with writing(self.out, "the log", self.saved):
            self.log.write(kind, step, task, figures)

    def save(self, names: Sequence[str]) -> None:
        """Write the checkpoints of these names. Errors: ConfigError for weights or gradients that are not finite."""
        self.check_gradients()
        self.check_finite(self.state["step"])
        if self.out is not None:
            check_held(self.out, self.held)
            state = {**self.state, "windows": {name: window.to_dict() for name, window in self.windows.items()}}
            checkpoint.save(self.out, self.model, self.optimizer, state, names, self.saved)
            self.saved = self.state["step"]
            self.clock.saved()


def _too_many(message: str, first: DataError) -> DataError:
    return DataError(
        f"{message}; the first: {first.message}",
        expected=first.expected,
        task=first.task,
        slot=first.slot,
        column=first.column,
        sample=first.sample,
    )


def _first_state(seed: int) -> dict[str, Any]:
    """What a checkpoint keeps of a run besides weights and moments, before its first step.

    step: updates done. drawn: micro-batches by task. bad: rows by task; first_bad: why the first of them is. windows:
    sums since the last report. sizes: rows and micro-batch size by task, which its place in the data rests on; data:
    what tells their content. due: the step whose evaluation failed. waited: validations since the best. stopped: how
    the run ended early. precision: what it computes in, and why.
    """
    found: dict[str, Any] = {name: {} for name in ("drawn", "bad", "first_bad", "windows", "sizes", "data")}
    begun = {"step": 0, "seed": seed, "best": None, "due": None, "waited": 0, "stopped": None, "precision": None}
    return found | begun


def _size(task: Task) -> list[int]:
    return [len(task.source("train")), task.micro_batch_size]


def in_micro_steps(entry: Entry, accumulate: int) -> Entry:
    """A task as the schedule sees it, in steps of the schedule instead of updates."""
    leave = None if entry.leave is None else entry.leave * accumulate
    return Entry(entry.name, entry.weight, entry.join * accumulate, leave, entry.size, entry.micro_batch_size)
