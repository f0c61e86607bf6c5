"""One update: its micro-batches, forward and backward of each, then the optimizer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ofasys.criterion.contrast import Comparing
from ofasys.errors import ConfigError
from ofasys.parallel.place import Place
from ofasys.parallel.ranks import ALONE
from ofasys.parallel.sharing import sharing
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.seeds import key_of
from ofasys.task.loader import Delivery
from ofasys.task.ticket import Ticket
from ofasys.train.balance import Balancing
from ofasys.train.balance.update import Balanced, totals_of
from ofasys.train.callback import RunView
from ofasys.train.freezing import Freezing
from ofasys.train.loss_scale import LossScale
from ofasys.train.memory import Pieces, is_out_of_memory, no_room
from ofasys.train.optimizer import gradient_norm, gradients, learning_rate, step_clipped
from ofasys.train.quarantine import Quarantine
from ofasys.train.self_critical import self_critical
from ofasys.train.setup import Setup
from ofasys.train.shares import Shares
from ofasys.train.skips import Skips
from ofasys.train.tally import places_of, tallied
from ofasys.train.update import Combined, Part, Window
from ofasys.types import Batch, Loss

_log = logging.getLogger("ofasys")


class Steps:
    """Takes the steps of a run, and adds up what they found until somebody asks."""

    def __init__(self, setup: Setup, quarantine: Quarantine, skips: Skips, view: RunView) -> None:
        self.setup, self.quarantine, self.skips, self.view = setup, quarantine, skips, view
        self.model, self.optimizer, self.trainer = setup.model, setup.optimizer, setup.trainer
        self.ranks, self.shards = setup.ranks, setup.shards
        self.shares = Shares(setup) if setup.shards is not None else None
        known = {n: sums for n, sums in setup.state.windows.items() if n in setup.tasks}
        self.windows = {n: Window(**sums) if self.ranks.first else Window() for n, sums in known.items()}
        self.freezing = Freezing(setup.groups)
        self.loss_scale: LossScale | None = None
        self.idle: set[str] = set()  # tasks that were told to learn nothing
        self.pieces = Pieces(setup)
        self.learned: list[tuple[Part, Tensor]] = []  # of the last update, each with its loss
        self.passed: list[tuple[Part, bool]] = []  # of the last update, each with whether this process learned from it
        self.taken: list[Part] = []  # of the last update, those that any process learned from
        self.length = torch.zeros((), device=setup.device)  # of the last update's gradients, in no scale
        self.counted = torch.ones((), device=setup.device)  # 0 where they overflowed, and have no length
        self.balanced = Balanced(
            setup.balancing,
            setup.model.parameters(),
            setup.balancer,
            setup.ranks,
            None if setup.shards is None else setup.shards.plain,
        )

    def compute_in(self, precision: str) -> None:
        """In float16, losses have a scale. Errors: ConfigError beside a balancer, which goes by losses without one."""
        half = precision == "float16"
        if half and type(self.setup.balancing) is not Balancing:
            raise ConfigError(
                f"trainer.balance={self.trainer.balance!r} does not go with precision='float16', whose losses have a "
                "scale; compute in bfloat16 or float32"
            )
        self.loss_scale = LossScale(self.setup.device, self.setup.state.loss_scale) if half else None

    def update(self, step: int, stream: Iterator[Delivery]) -> None:
        """All micro-batches of the step, then the optimizer; no step where nothing in them can be judged.

        The micro-batches of one instruction are parts of one batch: their losses are divided by what all of them count,
        on all processes, and their gradients summed over these.
        """
        self.freezing.at(step)
        self.model.train()
        parts = self.parts(step, stream)
        wholes: dict[tuple[str, int], Combined] = {}
        for part in parts:
            wholes.setdefault(part.key, Combined()).add(part)
        while not self.learn(step, parts, wholes):
            pass
        self.view.gradients, self.view.losses = {}, {}
        if self.taken:
            self.balanced.finish(step)
            self.descend(step)
            self.told(wholes, len(parts))
            self.balanced.after(lambda: self.again(wholes, len(parts)))

    def learn(self, step: int, parts: Sequence[Part], wholes: Mapping[tuple[str, int], Combined]) -> bool:
        """The gradients of an update. False where the memory of a process did not hold a micro-batch: it is in more
        pieces then, on all processes, and nothing is added up yet.
        """
        self.balanced.begin(watched=self.setup.callbacks.want_gradients(self.view))
        self.taken, tasks = [], {part.key[0] for part in parts}
        before = {name: self.windows[name].copy() for name in tasks if name in self.windows}
        self.forget()
        for task, own in self.balanced.by_task(parts):
            missed = self.pass_back(step, own, wholes, len(parts))
            learned = {part.delivery.ticket for part, _ in self.learned}
            told = self.ranks.numbers(
                "an update" if self.balanced.watched is None else "an update whose gradients are wanted",
                [missed, *(part.delivery.ticket in learned for part in own)],
            )
            if told[:, 0].any():
                self.start_over(before, tasks)
                too_large = [own[number - 1] for number in told[:, 0].tolist() if number]
                for part in {part.key[0]: part for part in too_large}.values():
                    self.pieces.halve(step + 1, part)
                return False
            taken = [part for part, processes in zip(own, told[:, 1:].sum(0), strict=True) if processes]
            shares = {part.key: self.share(part, wholes[part.key], len(parts)) for part in taken}
            self.balanced.close(task, shares)
            self.taken += taken
        return True

    def pass_back(self, step: int, parts: Sequence[Part], wholes: Mapping[tuple[str, int], Combined], of: int) -> int:
        """Forward and backward of some of the `of` micro-batches of an update; the number, from 1 on, of the first that
        the memory did not hold, after which this process waits where others do. 0: it held all.
        """
        missed = 0
        for number, part in enumerate(parts, 1):
            if missed:
                self.stand_by(part)
                continue
            try:
                self.backward(part, wholes[part.key], of)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.shards is not None:
                    raise no_room(part) from error
                self.pieces.check(step + 1, part)
                missed = number
            if missed:  # the error is gone, and with it what it held
                self.forget()
        return missed

    def start_over(self, before: Mapping[str, Window], tasks: Collection[str]) -> None:
        """An update of these tasks is as if it had not begun. before: their windows then, of those that had one."""
        self.forget()
        self.windows = {
            name: before.get(name, one) for name, one in self.windows.items() if name in before or name not in tasks
        }

    def forget(self) -> None:
        """No gradient, and nothing that one would be of."""
        self.optimizer.zero_grad(set_to_none=True)
        self.learned, self.passed = [], []

    def told(self, wholes: Mapping[tuple[str, int], Combined], of: int) -> None:
        """What an update that is over tells the schedule, the log and the callbacks."""
        follow, seen = self.setup.follow, set[Ticket]()
        for part, loss in self.learned:
            ticket, whole = part.delivery.ticket, wholes[part.key]
            mean = loss * (whole.judged / self.share(part, whole, of))
            follow.add(ticket.task, mean, first=ticket not in seen)
            seen.add(ticket)
        for part in self.taken:
            if part.delivery.ticket not in seen:  # others learned from it
                follow.add(part.key[0], torch.zeros((), device=self.setup.device))
        for task in self.balanced.losses:
            self.windows[task].descended(self.length, self.counted)
        self.view.gradients, self.view.losses = self.balanced.watched or {}, self.balanced.losses

    def again(self, wholes: Mapping[tuple[str, int], Combined], of: int) -> dict[str, Tensor]:
        """Task -> () the sum of the losses of what the last update learned from here, with the weights as they are."""
        totals: list[tuple[str, Tensor]] = []
        last: Ticket | None = None
        with torch.no_grad():
            for part, learned in self.passed:
                ticket, whole = part.delivery.ticket, wholes[part.key]
                if is_absent(part):
                    self.stand_by(part)
                    continue
                if ticket != last:
                    self.seed(ticket)
                last = ticket
                with sharing(ALONE if part.whole else self.ranks, part.sizes):
                    loss = self.forward(part, whole, self.share_here(part, whole, of))
                if learned:
                    totals.append((ticket.task, loss.total))
        if self.shards is not None:
            self.shards.rest()
        return totals_of(totals)

    def share(self, part: Part, whole: Combined, of: int) -> float:
        """Of its instruction in an update of `of` micro-batches."""
        return self.setup.tasks[part.key[0]].loss_weight * whole.drawn / of

    def share_here(self, part: Part, whole: Combined, of: int) -> float:
        """As `share`; of a micro-batch that every process computes whole, what falls to each."""
        return self.share(part, whole, of) / (self.ranks.size if part.whole else 1)

    def seed(self, ticket: Ticket) -> None:
        """Of the dropout in a micro-batch."""
        own = (self.ranks.rank,) if self.ranks.rank else ()
        draw = key_of("dropout", self.trainer.seed, ticket.task, ticket.k, *own) % 2**63
        if self.setup.device.type == "cpu":  # other devices stay as they are: to have torch note it for them is slow
            torch.default_generator.manual_seed(draw)
        else:
            torch.manual_seed(draw)

    def parts(self, step: int, stream: Iterator[Delivery]) -> list[Part]:
        """The micro-batches of one update; of a task that learns from a reward, of the model's own answers.

        Nothing is counted before all of them are there: where data cannot be read any further, the update is not begun.
        """
        drawn: list[tuple[Delivery, float]] = []
        while not drawn or len(drawn) < drawn[0][0].ticket.of:
            began = time.perf_counter()
            drawn.append((next(stream), time.perf_counter() - began))
        return [self.part(step, delivery, waited) for delivery, waited in drawn]

    def part(self, step: int, delivery: Delivery, waited: float) -> Part:
        """A micro-batch that was drawn, counted. waited: seconds for its data."""
        began, ticket = time.perf_counter(), delivery.ticket
        self.setup.state.drawn[ticket.task] = ticket.k + 1
        program = self.setup.programs[ticket.task][delivery.instruction]
        batch, figures = self.learned_from(program, delivery, self.ranks.place)
        tally = tallied(self.ranks, delivery, batch, len(program.plan.slots))
        self.quarantine.take(step + 1, replace(delivery, bad=tally.bad))
        counts, sizes, whole = tally.counts, tally.sizes, False
        if self.shares is not None and not self.shares.alike(batch):
            batch, figures = self.learned_from(program, self.shares.whole(ticket), ALONE.place)
            assert batch is not None
            counts, sizes, whole = tuple(batch.counts), (batch.size,), True
        spent = waited + time.perf_counter() - began
        return Part(delivery, batch, figures, spent, waited, counts, sizes, whole)

    def learned_from(self, program: Program, delivery: Delivery, place: Place) -> tuple[Batch | None, dict[str, float]]:
        """(the batch of a delivery, or where its task learns from a reward that of the model's own answers; rewards).

        place: whose share of the micro-batch was delivered.
        """
        batch, ticket = delivery.batch, delivery.ticket
        if program.plan.rewarded is None:
            return batch, {}
        draw = key_of("reward", self.trainer.seed, ticket.task, ticket.k) % 2**31
        options = replace(self.setup.tasks[ticket.task].generate, seed=draw)
        with self.setup.whole():
            if batch is None:
                return None, {}
            return self_critical(self.model, program, batch, options, places_of(delivery, place))

    def backward(self, part: Part, whole: Combined, of: int) -> bool:
        """Forward and backward of one of the `of` micro-batches of an update; whether anything in it was judged.

        An instruction has as large a share of the update as it has micro-batches in it.
        """
        absent = is_absent(part)
        if absent and not (self.ranks.several and any(part.sizes)):
            return False
        began, ticket = time.perf_counter(), part.delivery.ticket
        if absent:
            self.passed.append((part, False))
            self.stand_by(part)
            window = self.windows.setdefault(ticket.task, Window())
            window.count(part, part.seconds + time.perf_counter() - began, first=True)
            return part.judged
        self.seed(ticket)
        share = self.share_here(part, whole, of)
        pieces = [replace(part, batch=batch) for batch in self.pieces.of(part)] if self.shards is None else [part]
        pieces[1:] = [replace(piece, seconds=0.0, waited=0.0) for piece in pieces[1:]]
        for number, piece in enumerate(pieces):
            self.piece(piece, whole, share, began, first=number == 0)
            began = time.perf_counter()
        return part.judged

    def piece(self, part: Part, whole: Combined, share: float, began: float, first: bool) -> None:
        """Forward and backward of a micro-batch, or of a piece of one. first: of its pieces."""
        ticket = part.delivery.ticket
        program = self.setup.programs[ticket.task][part.delivery.instruction]
        times = 1.0 if self.loss_scale is None else self.loss_scale.scale
        assert part.batch is not None
        with sharing(ALONE if part.whole else self.ranks, part.sizes), self.ranks.computing():
            loss = self.forward(part, whole, share)
            total = self.learnable(part, loss)
            self.passed.append((part, total is not None))
            if total is not None:
                own = loss.total.detach() if self.loss_scale is None else loss.total.detach() / times
                self.learned.append((part, own))
                self.balanced.weighed(ticket.task, total, own).backward()
                self.balanced.watch(ticket.task)
        window = self.windows.setdefault(ticket.task, Window())
        if part.whole and not self.ranks.first:  # the first tells of all of it
            window.count(part, part.seconds + time.perf_counter() - began, first)
            return
        parts = whole.judged / share / times
        window.add(part, loss, program, parts, part.seconds + time.perf_counter() - began, first)

    def learnable(self, part: Part, loss: Loss) -> Tensor | None:
        """What gradients are of (); None where there is none: nothing was judged, or all is frozen, which is told once
        of each task.
        """
        assert part.batch is not None
        total, task = loss.total, part.key[0]
        judged = any(part.batch.counts) if self.shards is None else part.judged
        if judged and self.shards is not None:
            total = self.shards.joined(total)
        if judged and not total.requires_grad and task not in self.idle:
            self.idle.add(task)
            _log.warning(f"task {task!r} learns nothing: all parameters that its loss depends on are frozen")
        if judged and total.requires_grad:
            return total
        if self.shards is not None:
            self.shards.rest()
        return None

    def forward(self, part: Part, whole: Combined, share: float) -> Loss:
        """The loss of a micro-batch, or of a piece of one, as it is minimised."""
        assert part.batch is not None
        task, program = self.setup.tasks[part.key[0]], self.setup.programs[part.key[0]][part.delivery.instruction]
        batch, scale = to_device((part.batch, whole.scale(part.batch.weights, share)), self.setup.device)
        if self.loss_scale is not None:
            scale = scale * self.loss_scale.scale
        return self.model(program, batch, scale, task.smoothing)

    def stand_by(self, part: Part) -> None:
        """What is left to do for a process that learns nothing from a micro-batch of which others have something."""
        if not (self.ranks.several and any(part.sizes)):
            return
        program = self.setup.programs[part.key[0]][part.key[1]]
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
        """The optimizer, with the gradients clipped; nothing where a loss or a gradient is not finite."""
        norm = gradient_norm(self.optimizer) if self.shards is None else self.shards.length(gradients(self.optimizer))
        if self.ranks.several:  # a loss that is not finite on one process is an update that none takes
            norm = norm + 0.0 * torch.stack(list(self.balanced.losses.values())).sum()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step) * group["factor"]
        if self.loss_scale is None:
            self.length, self.counted = norm, torch.ones_like(norm)
            step_clipped(self.optimizer, norm, self.trainer.clip, self.skips.see(step + 1, norm, self.learned))
            return
        scale = self.loss_scale.scale
        norm, over = self.loss_scale.see(norm)
        self.length, self.counted = norm, 1 - over
        learned = [(part, torch.where(over > 0, 0.0, loss)) for part, loss in self.learned]
        skip = torch.maximum(self.skips.see(step + 1, norm, learned), over)
        step_clipped(self.optimizer, norm, self.trainer.clip, skip, scale)
        self.loss_scale.update(over)

    def rate(self, step: int) -> float:
        """The learning rate of an update."""
        trainer, most = self.trainer, self.setup.max_steps
        warmup = min(100, most // 10) if trainer.warmup is None else trainer.warmup
        return learning_rate(step, most, trainer.peak, warmup, trainer.decay)

    def check_learned(self) -> None:
        """Errors: DataError for a task none of whose rows could be used."""
        seen = {name for name, window in self.whole_windows().items() if window.seen}
        self.quarantine.check_used(seen)

    def advice(self) -> str:
        """What to do about numbers that are not finite, and where the next `fit` begins."""
        lower = f"lower lr={self.trainer.peak:g}, warm up longer, or use precision='float32'"
        if self.setup.saved is not None:
            return f"{lower}; the next fit goes on from the checkpoint of step {self.setup.saved}"
        return f"{lower}; no checkpoint was saved yet, so begin anew with a new model"

    def check_skipped(self, advice: Callable[[], str]) -> None:
        """Tell which updates were left out. Errors: ConfigError, with the advice, for too many of them in a row."""
        self.skips.check(self.learned[-1][0] if self.learned else None, advice)
        self.balanced.check()


def is_absent(part: Part) -> bool:
    """Whether this process has nothing of a micro-batch."""
    return part.batch is None or not part.batch.targets
