"""One update: its micro-batches, forward and backward of each, then AdamW."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ofasys.criterion.contrast import Comparing
from ofasys.parallel.sharing import sharing
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.seeds import key_of
from ofasys.task.loader import Delivery
from ofasys.train.memory import Pieces, is_out_of_memory
from ofasys.train.optimizer import gradient_norm, learning_rate, step_clipped
from ofasys.train.quarantine import Quarantine
from ofasys.train.self_critical import self_critical
from ofasys.train.setup import Setup
from ofasys.train.skips import Skips
from ofasys.train.tally import places_of, tallied
from ofasys.train.update import Combined, Part, Window


class Steps:
    """Takes the steps of a run, and adds up what they found until somebody asks."""

    def __init__(self, setup: Setup, quarantine: Quarantine, skips: Skips) -> None:
        self.setup, self.quarantine, self.skips = setup, quarantine, skips
        self.model, self.optimizer, self.trainer = setup.model, setup.optimizer, setup.trainer
        self.ranks = setup.ranks
        known = {n: sums for n, sums in setup.state.windows.items() if n in setup.tasks}
        self.windows = {n: Window(**sums) if self.ranks.first else Window() for n, sums in known.items()}
        self.pieces = Pieces(setup)
        self.learned: list[tuple[Part, Tensor]] = []  # of the last update, each with its loss

    def update(self, step: int, stream: Iterator[Delivery]) -> None:
        """One optimizer step: all micro-batches of the step, then AdamW; no step where nothing in them can be judged.

        The micro-batches of one instruction are parts of one batch: their losses are divided by what all of them count,
        on all processes, and their gradients summed over these.
        """
        self.model.train()
        parts = self.parts(step, stream)
        wholes: dict[tuple[str, int], Combined] = {}
        for part in parts:
            wholes.setdefault(part.key, Combined()).add(part)
        while not self.learn(step, parts, wholes):
            pass
        if any(part.judged for part in parts):
            self.ranks.sum_gradients([p for group in self.optimizer.param_groups for p in group["params"]])
            self.descend(step)

    def learn(self, step: int, parts: Sequence[Part], wholes: Mapping[tuple[str, int], Combined]) -> bool:
        """The gradients of an update. False where the memory did not hold a micro-batch: it is in more pieces then, and
        nothing is added up yet.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.learned = []
        before = {name: window.copy() for name, window in self.windows.items()}
        for part in parts:
            try:
                self.backward(part, wholes[part.key], len(parts))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            else:
                continue
            self.windows, self.learned = before, []  # the error is gone, and with it what it held
            self.optimizer.zero_grad(set_to_none=True)
            self.pieces.halve(step + 1, part, self.setup.programs[part.delivery.ticket.task][part.delivery.instruction])
            return False
        return True

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
        program = self.setup.programs[ticket.task][part.delivery.instruction]
        if absent:
            self.stand_by(program, part)
            window = self.windows.setdefault(ticket.task, Window())
            window.count(part, part.seconds + time.perf_counter() - began, first=True)
            return part.judged
        own = (self.ranks.rank,) if self.ranks.rank else ()
        torch.manual_seed(key_of("dropout", self.trainer.seed, ticket.task, ticket.k, *own) % 2**63)
        share = self.setup.tasks[ticket.task].loss_weight * whole.drawn / of
        pieces = [replace(part, batch=batch) for batch in self.pieces.of(part)]
        pieces[1:] = [replace(piece, seconds=0.0, waited=0.0) for piece in pieces[1:]]
        for number, piece in enumerate(pieces):
            self.piece(piece, whole, share, began, first=number == 0)
            began = time.perf_counter()
        return part.judged

    def piece(self, part: Part, whole: Combined, share: float, began: float, first: bool) -> None:
        """Forward and backward of a micro-batch, or of a piece of one. first: of its pieces."""
        ticket = part.delivery.ticket
        task, program = self.setup.tasks[ticket.task], self.setup.programs[ticket.task][part.delivery.instruction]
        assert part.batch is not None
        batch, scale = to_device((part.batch, whole.scale(part.batch.weights, share)), self.setup.device)
        with sharing(self.ranks, part.sizes):
            loss = self.model(program, batch, scale, task.smoothing)
            if any(part.batch.counts):
                self.learned.append((part, loss.total.detach()))
                loss.total.backward()
        window = self.windows.setdefault(ticket.task, Window())
        window.add(part, loss, program, whole.judged / share, part.seconds + time.perf_counter() - began, first)

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
        """AdamW, with the gradients clipped; nothing where a loss or a gradient is not finite."""
        norm = gradient_norm(self.optimizer)
        if self.ranks.several:  # a loss that is not finite on one process is an update that none takes
            losses = [loss for _, loss in self.learned]
            own = torch.stack(losses).sum() if losses else torch.zeros((), device=self.setup.device)
            norm = norm + 0.0 * self.ranks.sum_rows(own)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        step_clipped(self.optimizer, norm, self.trainer.clip, self.skips.see(step + 1, norm, self.learned))

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

    def check_skipped(self, advice: Callable[[], str]) -> None:
        """Tell which updates were left out. Errors: ConfigError, with the advice, for too many of them in a row."""
        self.skips.check(self.learned[-1][0] if self.learned else None, advice)
