"""One update: its micro-batches, forward and backward of each, then the optimizer."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from ofasys.errors import ConfigError
from ofasys.program.batch import to_device
from ofasys.seeds import key_of
from ofasys.task.loader import Delivery
from ofasys.train.freezing import Freezing
from ofasys.train.loss_scale import LossScale
from ofasys.train.optimizer import Finite, gradient_norm, learning_rate, step_clipped
from ofasys.train.quarantine import Quarantine
from ofasys.train.self_critical import self_critical
from ofasys.train.setup import Setup
from ofasys.train.update import Combined, Part, Window
from ofasys.types import Loss

_log = logging.getLogger("ofasys")


class Steps:
    """Takes the steps of a run, and adds up what they found until somebody asks."""

    def __init__(self, setup: Setup, quarantine: Quarantine) -> None:
        self.setup, self.quarantine = setup, quarantine
        self.model, self.optimizer, self.trainer = setup.model, setup.optimizer, setup.trainer
        self.windows = {n: Window(**sums) for n, sums in setup.state.windows.items() if n in setup.tasks}
        self.finite = Finite(setup.device)
        self.freezing = Freezing(setup.groups)
        self.loss_scale: LossScale | None = None
        self.idle: set[str] = set()  # tasks that were told to learn nothing
        self.probe: Part | None = None  # the last that was learned from

    def compute_in(self, precision: str) -> None:
        """In float16, losses have a scale."""
        half = precision == "float16"
        self.loss_scale = LossScale(self.setup.device, self.setup.state.loss_scale) if half else None

    def update(self, step: int, stream: Iterator[Delivery]) -> None:
        """All micro-batches of the step, then the optimizer; no step where nothing in them can be judged.

        The micro-batches of one instruction are parts of one batch: their losses are divided by what all of them count.
        """
        self.freezing.at(step)
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
            self.setup.state.drawn[ticket.task] = ticket.k + 1
            self.quarantine.take(step + 1, delivery)
            program = self.setup.programs[ticket.task][delivery.instruction]
            if batch is not None and program.plan.rewarded is not None:
                draw = key_of("reward", self.trainer.seed, ticket.task, ticket.k) % 2**31
                options = replace(self.setup.tasks[ticket.task].generate, seed=draw)
                batch, figures = self_critical(self.model, program, batch, options)
            parts.append(Part(delivery, batch, figures, time.perf_counter() - began, waited))
        return parts

    def backward(self, part: Part, whole: Combined, of: int) -> bool:
        """Forward and backward of one of the `of` micro-batches of an update; whether anything in it was judged.

        An instruction has as large a share of the update as it has micro-batches in it.
        """
        if part.batch is None or not part.batch.targets:
            return False
        began, ticket = time.perf_counter(), part.delivery.ticket
        task, program = self.setup.tasks[ticket.task], self.setup.programs[ticket.task][part.delivery.instruction]
        torch.manual_seed(key_of("dropout", self.trainer.seed, ticket.task, ticket.k) % 2**63)
        share = task.loss_weight * whole.drawn / of
        batch, scale = to_device((part.batch, whole.scale(part.batch.weights, share)), self.setup.device)
        times = 1.0 if self.loss_scale is None else self.loss_scale.scale
        scale = scale if self.loss_scale is None else scale * times
        loss = self.model(program, batch, scale, task.smoothing)
        learns = part.judged and self.learns(ticket.task, loss)
        if part.judged:
            self.probe = part
        if learns:
            loss.total.backward()
        window = self.windows.setdefault(ticket.task, Window())
        window.add(part, loss, program, whole.judged / share / times, part.seconds + time.perf_counter() - began)
        return learns

    def learns(self, task: str, loss: Loss) -> bool:
        """Whether a loss depends on anything that is not frozen; told once of each task of which it does not."""
        if not loss.total.requires_grad and task not in self.idle:
            self.idle.add(task)
            _log.warning(f"task {task!r} learns nothing: all parameters that its loss depends on are frozen")
        return loss.total.requires_grad

    def descend(self, step: int) -> None:
        """The optimizer, with the gradients clipped; nothing from the first step on whose gradients are not finite."""
        norm = gradient_norm(self.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step) * group["factor"]
        if self.loss_scale is None:
            step_clipped(self.optimizer, norm, self.trainer.clip, self.finite.see(norm, step))
            return
        norm, over = self.loss_scale.see(norm)
        skip = torch.maximum(self.finite.see(norm, step), over)
        step_clipped(self.optimizer, norm, self.trainer.clip, skip, self.loss_scale.scale)
        self.loss_scale.update(over)

    def rate(self, step: int) -> float:
        """The learning rate of an update."""
        trainer, most = self.trainer, self.setup.max_steps
        warmup = min(100, most // 10) if trainer.warmup is None else trainer.warmup
        return learning_rate(step, most, trainer.peak, warmup, trainer.decay)

    def check_learned(self) -> None:
        """Errors: DataError for a task none of whose rows could be used."""
        seen = {name for name, window in self.windows.items() if window.seen}
        self.quarantine.check_used(seen)

    def advice(self) -> str:
        """What to do about numbers that are not finite, and where the next `fit` begins."""
        lower = f"lower lr={self.trainer.peak:g}, warm up longer, or use precision='float32'"
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
