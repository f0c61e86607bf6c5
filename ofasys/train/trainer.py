"""The Trainer: tasks and a model in, a trained model and its run folder out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ofasys import flow
from ofasys.errors import ConfigError, DataError
from ofasys.generalist import GeneralistModel
from ofasys.hub.model import TaskCard
from ofasys.hub.store import write_json
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.task.loader import Assembler, Delivery, Ticket, deliveries
from ofasys.task.order import key_of
from ofasys.task.schedule import Entry, Ledger, Schedule
from ofasys.task.task import Task
from ofasys.train import checkpoint
from ofasys.train.evaluate import evaluate_task
from ofasys.train.log import RunLog
from ofasys.train.optimizer import adamw, learning_rate, restore_optimizer
from ofasys.train.precision import autocast, choose


@dataclass(kw_only=True)
class Trainer:
    """How to train. Nothing here is about one task: that is in `Task`.

    max_steps: updates. schedule: "round_robin", "accumulate", or an object with `turns`. out: the run's folder; a run
    found there is resumed, None keeps nothing. lr, warmup, decay ("cosine", "linear", "constant"), weight_decay, betas,
    clip: of AdamW. accumulate: schedule steps joined in one update. precision: "auto", "float32", "bfloat16". seed: of
    data order and dropout. workers: data processes. eval_every, save_every: in updates; 0: only at the end.
    eval_samples: rows of each valid set looked at during the run. eval_batch_size: rows a batch of evaluation.
    device: "auto", "cpu", "cuda". live: the table in the terminal; None: if there is one.
    """

    max_steps: int = 1000
    schedule: str | Schedule = "round_robin"
    out: str | Path | None = None
    lr: float = 1e-3
    warmup: int = 100
    decay: str = "cosine"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    accumulate: int = 1
    precision: str = "auto"
    seed: int = 0
    workers: int = 0
    eval_every: int = 0
    save_every: int = 0
    eval_samples: int | None = 200
    eval_batch_size: int = 32
    log_every: int = 20
    device: str = "auto"
    live: bool | None = None
    history: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, least in (("max_steps", 1), ("accumulate", 1), ("log_every", 1), ("eval_batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"trainer.{name} is {getattr(self, name)}; it is {least} or more")
        for name in ("warmup", "workers", "eval_every", "save_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"trainer.{name} is {getattr(self, name)}; it is 0 or more")
        if self.lr <= 0 or self.clip <= 0:
            raise ConfigError(f"trainer.lr is {self.lr} and clip {self.clip}; both are more than 0")
        learning_rate(0, 1, self.lr, 0, self.decay)
        choose(self.precision, torch.device("cpu"), 1)

    def fit(self, *, model: GeneralistModel, tasks: Sequence[Task]) -> GeneralistModel:
        """Train `model` on `tasks` and leave it trained; what the run was is in `out`. Resumes a run found there.

        Errors: ConfigError for tasks that do not go together, DataError for data as each task says, CheckpointError for
        a run folder that is torn or of another model.
        """
        return _Run(self, model, list(tasks)).fit()

    def evaluate(
        self, *, model: GeneralistModel, tasks: Sequence[Task], split: str | None = None, limit: int | None = None
    ) -> dict[str, dict[str, float]]:
        """Task name -> its figures on a split (default: test where a task has one, else valid)."""
        self._prepare(model, tasks)
        found = {}
        for task in tasks:
            chosen = split or ("test" if "test" in task.sources else "valid")
            found[task.name] = evaluate_task(model, task, chosen, batch_size=self.eval_batch_size, limit=limit)
        return found

    def _prepare(self, model: GeneralistModel, tasks: Sequence[Task]) -> dict[str, list[Program]]:
        if not tasks:
            raise ConfigError("there is no task; give at least one")
        model.grow([(p, t.labels) for t in tasks for p in t.plans], lambda: (text for t in tasks for text in t.texts()))
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        model.to(device)
        return {task.name: [flow.bind(model, p, task.labels) for p in task.plans] for task in tasks}


class _Run:
    """One call of `fit`."""

    def __init__(self, trainer: Trainer, model: GeneralistModel, tasks: list[Task]) -> None:
        self.trainer, self.model, self.tasks = trainer, model, tasks
        self.by_name = {task.name: task for task in tasks}
        if len(self.by_name) < len(tasks):
            raise ConfigError("two tasks have the same name; give each a name of its own")
        self.out = Path(trainer.out) if trainer.out is not None else None
        self.entries = [_in_micro_steps(task.entry(), trainer.accumulate) for task in tasks]
        self.state: dict[str, Any] = {"step": 0, "drawn": {}, "bad": {}, "best": None}
        saved: dict[str, torch.Tensor] = {}
        if self.out is not None and checkpoint.has_run(self.out):
            self.state, saved, cards = checkpoint.restore(self.out, model)
            for card in cards:
                if card["name"] in self.by_name:
                    self.by_name[card["name"]].restore_labels(card["labels"])
        self.programs = trainer._prepare(model, tasks)
        self.optimizer = adamw(model, trainer.lr, trainer.weight_decay, trainer.betas)
        restore_optimizer(self.optimizer, model, saved)
        start = self.state["step"] * trainer.accumulate
        origin = (start, {name: count for name, count in self.state["drawn"].items() if name in self.by_name})
        self.ledger = Ledger(trainer.schedule, self.entries, trainer.max_steps * trainer.accumulate, origin)
        self.dtype = choose(trainer.precision, model.device, model.config.width)
        self.window: dict[str, _Window] = {}

    def fit(self) -> GeneralistModel:
        trainer, start = self.trainer, self.state["step"]
        trainer.history.clear()
        if start >= trainer.max_steps:
            self.model.eval()
            return self.model
        self.write_run()
        assembler = Assembler(self.tasks, self.programs, trainer.seed)
        stream = deliveries(assembler, self.tickets(start), trainer.workers)
        with RunLog(self.out, trainer.max_steps, start, trainer.live) as self.log:
            for step in range(start, trainer.max_steps):
                self.update(step, stream)
                done = step + 1
                self.state["step"] = done
                if done % trainer.log_every == 0 or done == trainer.max_steps:
                    self.report(done)
                last = done == trainer.max_steps
                if last or (trainer.eval_every and done % trainer.eval_every == 0):
                    self.validate(done)
                elif trainer.save_every and done % trainer.save_every == 0:
                    self.save(("last",))
        self.model.eval()
        return self.model

    def tickets(self, start: int) -> list[Ticket]:
        """Every micro-batch of the rest of the run, in order."""
        found = []
        for step in range(start, self.trainer.max_steps):
            for small in range(step * self.trainer.accumulate, (step + 1) * self.trainer.accumulate):
                found += [Ticket(step, task, k) for task, k in self.ledger.draws(small)]
        return found

    def update(self, step: int, stream: Any) -> None:
        """One optimizer step: all micro-batches of the step, then AdamW."""
        trainer = self.trainer
        draws = [
            draw
            for small in range(step * trainer.accumulate, (step + 1) * trainer.accumulate)
            for draw in self.ledger.draws(small)
        ]
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        used = 0
        for number in range(len(draws)):
            began = time.perf_counter()
            delivery: Delivery = next(stream)
            waited = time.perf_counter() - began
            self.quarantine(delivery)
            if delivery.batch is None or not delivery.batch.goals:
                continue
            torch.manual_seed(key_of("dropout", trainer.seed, step, number) % 2**63)
            self.backward(delivery, len(draws), began, waited)
            used += 1
        if used:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), trainer.clip, foreach=True)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(step, trainer.max_steps, trainer.lr, trainer.warmup, trainer.decay)
            self.optimizer.step()
        self.state["drawn"] = self.ledger.positions((step + 1) * trainer.accumulate)

    def backward(self, delivery: Delivery, parts: int, began: float, waited: float) -> None:
        """Forward and backward of one micro-batch, a `parts`-th of its update."""
        name = delivery.ticket.task
        task, program = self.by_name[name], self.programs[name][delivery.instruction]
        batch = to_device(delivery.batch, self.model.device)
        with autocast(self.model.device, self.dtype):
            hidden = flow.compute(self.model, flow.adapt(self.model, batch))
            loss = flow.criterion(flow.emit(self.model, program, hidden, batch), task.smoothing)
        (loss.total / parts).backward()
        self.window.setdefault(name, _Window()).add(batch, loss, program, time.perf_counter() - began, waited)

    def quarantine(self, delivery: Delivery) -> None:
        """Count bad rows, write them down, stop when there are too many."""
        for bad in delivery.bad:
            count = self.state["bad"][bad.task] = self.state["bad"].get(bad.task, 0) + 1
            if self.out is not None:
                self.out.mkdir(parents=True, exist_ok=True)
                with (self.out / "quarantine.jsonl").open("a", encoding="utf8") as file:
                    file.write(json.dumps(asdict(bad), ensure_ascii=False) + "\n")
            limit = self.by_name[bad.task].bad_limit
            if count > limit:
                raise DataError(
                    f"{count} bad rows, more than bad_limit={limit}; the last: {bad.problem}",
                    expected="fewer; mend the data, raise bad_limit, or see quarantine.jsonl",
                    task=bad.task,
                )

    def report(self, step: int) -> None:
        """A line per task over the steps since the last."""
        for name, window in self.window.items():
            figures = window.figures() | {"lr": self.optimizer.param_groups[0]["lr"], "bad": self.state["bad"].get(name, 0)}
            self.trainer.history.append({"kind": "train", "step": step, "task": name, **figures})
            self.log.write("train", step, name, figures)
            window.clear()
        self.log.show(step)

    def validate(self, step: int) -> None:
        """Metrics on the valid sets; the checkpoint is the best if the mean of their losses is the least so far."""
        losses = []
        for task in self.tasks:
            if "valid" not in task.sources:
                continue
            figures = evaluate_task(
                self.model,
                task,
                "valid",
                batch_size=self.trainer.eval_batch_size,
                limit=self.trainer.eval_samples,
                program=self.programs[task.name][0],
            )
            self.trainer.history.append({"kind": "valid", "step": step, "task": task.name, **figures})
            self.log.write("valid", step, task.name, figures)
            losses.append(figures["loss"])
        best = bool(losses) and (self.state["best"] is None or sum(losses) / len(losses) < self.state["best"])
        if best:
            self.state["best"] = sum(losses) / len(losses)
        self.save(("last", "best") if best else ("last",))
        self.log.show(step)

    def save(self, names: Sequence[str]) -> None:
        if self.out is not None:
            checkpoint.save(self.out, self.model, [card_of(task) for task in self.tasks], self.optimizer, self.state, names)

    def write_run(self) -> None:
        """What ran, written out whole."""
        if self.out is None:
            return
        settings = {f: v for f, v in vars(self.trainer).items() if f not in ("history", "live")}
        settings["schedule"] = settings["schedule"] if isinstance(settings["schedule"], str) else repr(settings["schedule"])
        settings["out"] = str(settings["out"])
        run = {
            "trainer": settings,
            "model": {"size": self.model.size, "seed": self.model.seed, "parameters": self.model.parameters_count},
            "tasks": [
                {
                    **asdict(card_of(task)),
                    "plans": [p.fingerprint for p in task.plans],
                    "data": {split: source.describe() for split, source in task.sources.items()},
                    **asdict(task.entry()),
                }
                for task in self.tasks
            ],
        }
        write_json(self.out / "run.json", run)


@dataclass
class _Window:
    """Sums of one task since the last report."""

    losses: dict[str, tuple[float, int]] = field(default_factory=dict)
    total: float = 0.0
    batches: int = 0
    samples: int = 0
    seen: int = 0
    positions: int = 0
    padded: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, batch: Any, loss: Any, program: Program, seconds: float, waited: float) -> None:
        for slot, (value, count) in loss.slots.items():
            name = program.plan.slots[slot].column
            before, counted = self.losses.get(name, (0.0, 0))
            self.losses[name] = (before + value, counted + count)
        self.total += float(loss.total.detach())
        self.batches += 1
        self.samples += batch.size
        self.seen += batch.size
        self.positions += batch.positions
        self.padded += batch.padded
        self.seconds += seconds
        self.waited += waited

    def figures(self) -> dict[str, float]:
        """loss: as minimised. loss/COLUMN: mean a token. useful: positions over what padding would make of them."""
        found = {"loss": self.total / max(self.batches, 1), "samples": self.seen}
        found |= {f"loss/{name}": value / count for name, (value, count) in self.losses.items()}
        found |= {
            "tokens_per_second": self.positions / max(self.seconds, 1e-9),
            "useful": self.positions / max(self.padded, 1),
            "waiting": self.waited / max(self.seconds, 1e-9),
        }
        return found

    def clear(self) -> None:
        seen = self.seen
        self.__init__()  # type: ignore[misc]
        self.seen = seen


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



