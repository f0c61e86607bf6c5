"""One update: its micro-batches, forward and backward of each, then AdamW."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from ofasys.criterion.contrast import Comparing
from ofasys.errors import ConfigError
from ofasys.parallel.sharing import sharing
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.seeds import key_of
from ofasys.task.loader import Delivery
from ofasys.train.optimizer import Finite, gradient_norm, learning_rate, step_clipped
from ofasys.train.quarantine import Quarantine
from ofasys.train.self_critical import self_critical
from ofasys.train.setup import Setup
from ofasys.train.tally import places_of, tallied
from ofasys.train.update import Combined, Part, Window


class Steps:
    """Takes the steps of a run, and adds up what they found until somebody asks."""

    def __init__(self, setup: Setup, quarantine: Quarantine) -> None:
        self.setup, self.quarantine = setup, quarantine
        self.model, self.optimizer, self.trainer = setup.model, setup.optimizer, setup.trainer
        self.ranks = setup.ranks
        known = {n: sums for n, sums in setup.state.windows.items() if n in setup.tasks}
        self.windows = {n: Window(**sums) if self.ranks.first else Window() for n, sums in known.items()}
        self.finite = Finite(setup.device)
        self.probe: Part | None = None  # the last that was learned from

    def update(self, step: int, stream: Iterator[Delivery]) -> None:
        """One optimizer step: all micro-batches of the step, then AdamW; no step where nothing in them can be judged.

        The micro-batches of one instruction are parts of one batch: their losses are divided by what all of them count,
        on all processes, and their gradients summed over these.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.parts(step, stream)
        wholes: dict[tuple[str, int], Combined] = {}
        for part in parts:
            wholes.setdefault(part.key, Combined()).add(part)
        learned = [self.backward(part, wholes[part.key], len(parts)) for part in parts]
        if any(learned):
            self.ranks.sum_gradients([p for group in self.optimizer.param_groups for p in group["params"]])
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
            self.setup.state.drawn[ticket.task] = ticket.k + 1
            program = self.setup.programs[ticket.task][delivery.instruction]
            if batch is not None and program.plan.rewarded is not None:
                draw = key_of("reward", self.trainer.seed, ticket.task, ticket.k) % 2**31
                options = replace(self.setup.tasks[ticket.task].generate, seed=draw)
                seeds = places_of(delivery, self.ranks.place)
                batch, figures = self_critical(self.model, program, batch, options, seeds)
            tally = tallied(self.ranks, delivery, batch, len(program.plan.slots))
            self.quarantine.take(step + 1, replace(delivery, bad=tally.bad))
            spent = time.perf_counter() - began
            parts.append(Part(delivery, batch, figures, spent, waited, tally.counts, tally.sizes))
        return parts

    def backward(self, part: Part, whole: Combined, of: int) -> bool:
        """Forward and backward of one of the `of` micro-batches of an update; whether anything in it was judged.

        An instruction has as large a share of the update as it has micro-batches in it.
        """
        absent = part.batch is None or not part.batch.targets
        if absent and not (self.ranks.several and any(part.sizes)):
            return False
        began, ticket = time.perf_counter(), part.delivery.ticket
        task, program = self.setup.tasks[ticket.task], self.setup.programs[ticket.task][part.delivery.instruction]
        window = self.windows.setdefault(ticket.task, Window())
        if part.batch is None or absent:
            self.stand_by(program, part)
            window.count(part, part.seconds + time.perf_counter() - began)
            return part.judged
        own = (self.ranks.rank,) if self.ranks.rank else ()
        torch.manual_seed(key_of("dropout", self.trainer.seed, ticket.task, ticket.k, *own) % 2**63)
        share = task.loss_weight * whole.drawn / of
        batch, scale = to_device((part.batch, whole.scale(part.batch.weights, share)), self.setup.device)
        with sharing(self.ranks, part.sizes):
            loss = self.model(program, batch, scale, task.smoothing)
            if any(part.batch.counts):
                self.probe = part
                loss.total.backward()
        window.add(part, loss, program, whole.judged / share, part.seconds + time.perf_counter() - began)
        return part.judged

    def stand_by(self, program: Program, part: Part) -> None:
        """What is left to do for a process that has nothing of a micro-batch of which others have something."""
        modules = {bound.module for bound in self.model.criteria_of(program).values()}
        with sharing(self.ranks, part.sizes):
            for module in modules:
                if isinstance(module, Comparing):
                    module.absent()

    def whole_windows(self) -> dict[str, Window]:
        """The sums of all processes, by task."""
        if not self.ranks.several:
            return self.windows
        told = self.ranks.objects("windows", {name: window.to_dict() for name, window in self.windows.items()})
        return {name: Window.joined([each[name] for each in told]) for name in told[0]}

    def descend(self, step: int) -> None:
        """AdamW, with the gradients clipped; nothing from the first step on whose gradients are not finite."""
        norm = gradient_norm(self.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        step_clipped(self.optimizer, norm, self.trainer.clip, self.finite.see(norm, step))

    def rate(self, step: int) -> float:
        """The learning rate of an update."""
        trainer, most = self.trainer, self.setup.max_steps
        warmup = min(100, most // 10) if trainer.warmup is None else trainer.warmup
        return learning_rate(step, most, trainer.lr, warmup, trainer.decay)

    def check_learned(self) -> None:
        """Errors: DataError for a task none of whose rows could be used."""
        seen = {name for name, window in self.whole_windows().items() if window.seen}
        self.quarantine.check_used(seen)

    def advice(self) -> str:
        """What to do about numbers that are not finite, and where the next `fit` begins."""
        lower = f"lower lr={self.trainer.lr:g}, warm up longer, or use precision='float32'"
        if self.setup.saved is not None:
            return f"{lower}; the next fit goes on from the checkpoint of step {self.setup.saved}"
        return f"{lower}; no checkpoint was saved yet, so begin anew with a new model"

    def check_gradients(self) -> None:
        """Errors: ConfigError for a step whose gradients were not finite."""
        if (broken := self.finite.broken) is not None:
            step, norm = broken
            raise ConfigError(
                f"the gradient is {norm} at step {step}; {self.advice()}; the weights are those of the step before"
            )
