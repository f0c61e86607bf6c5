"""The loop: one call of `Trainer.fit`, from the run found in `out`, if there is one, to the last step.

What there is before the first step is made in `setup.py`; what a step, an evaluation, a checkpoint are is in the parts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

import torch

from ofasys.errors import ConfigError, LoadingError
from ofasys.generalist import GeneralistModel
from ofasys.hub.store import write_json
from ofasys.parallel.ranks import ALONE, Ranks
from ofasys.task.loader import Assembler, Delivery, Feed, deliveries
from ofasys.task.task import Task
from ofasys.task.ticket import Ticket
from ofasys.train.ahead import Looked, look_ahead
from ofasys.train.alike import check_alike
from ofasys.train.callback import RunView
from ofasys.train.engine_modes import compiling, recomputing
from ofasys.train.forecast import Forecast, forecast
from ofasys.train.interrupt import Interrupt
from ofasys.train.log import RunLog
from ofasys.train.precision import choose
from ofasys.train.quarantine import Quarantine
from ofasys.train.record import RECORD, about, changes, history
from ofasys.train.saver import Saver
from ofasys.train.saving import writing
from ofasys.train.setup import set_up
from ofasys.train.skips import Skips
from ofasys.train.steps import Steps
from ofasys.train.track import trackers
from ofasys.train.trial import trial_of
from ofasys.train.turnover import Turnover
from ofasys.train.validation import Validation

if TYPE_CHECKING:
    from ofasys.train.trainer import Trainer


_log = logging.getLogger("ofasys")


class Run:
    """One call of `fit`."""

    def __init__(self, trainer: Trainer, model: GeneralistModel, tasks: list[Task], ranks: Ranks = ALONE) -> None:
        self.trainer, self.model, self.tasks, self.ranks = trainer, model, tasks, ranks
        self.asked: int | None = None  # the signal that all processes have agreed to heed
        self.setup = setup = set_up(trainer, model, tasks, ranks)
        self.state = setup.state
        self.view = RunView(model, setup.optimizer, tuple(tasks), setup.max_steps, setup.state.step)
        self.record = about(trainer, model, tasks, setup.max_steps) if setup.out is not None or ranks.several else {}
        self.log = RunLog(
            setup.out if ranks.first else None,
            setup.max_steps,
            setup.state.step,
            trainer.live if ranks.first else False,
            trackers=trackers(trainer.track) if ranks.first else [],
            settings=self.record,
        )
        self.quarantine = Quarantine(setup, self.log)
        self.steps = Steps(setup, self.quarantine, Skips(setup, self.log, trainer.skip_limit), self.view)
        self.saver = Saver(setup, self.steps, self.view)
        self.turnover = Turnover(setup, self.log, self.view)
        self.view.log = self.tell
        self.validation = Validation(setup, self.steps, self.saver, self.log, self.view, self.turnover)

    def fit(self) -> GeneralistModel:
        """Train to the end, from where the run is; the model, ready to answer."""
        setup = self.setup
        self.trainer.history.clear()
        record = self.record
        check_alike(setup, record)
        changed = changes(setup.out, record) if setup.out is not None and setup.resumed else []
        left = setup.ending.begin(setup.out, self.state, changed)
        if left or self.due:
            looked = self.look_ahead()
            self.choose_precision()
            self.foretell(looked)
            if setup.out is not None and self.ranks.first:
                with writing(setup.out, RECORD, setup.saved):
                    write_json(
                        setup.out / RECORD, record | {"precision": self.state.precision, "rows": self.state.data}
                    )
            self.go_on()
        elif setup.out is not None:
            self.trainer.history.extend(history(setup.out))
            setup.callbacks.call("before_fit", self.view)
            setup.callbacks.call("after_fit", self.view)
        self.model.eval()
        return self.model

    def foretell(self, looked: list[Looked]) -> None:
        """Tell the forecast, if the first process is asked for it; where weights lie in pieces all make its passes."""
        tell = self.trainer.foretell if self.ranks.first else None
        wanted = tell is not None
        if self.setup.shards is not None:
            wanted = bool(self.ranks.of_first("a forecast", lambda: wanted))
        if wanted:
            found = forecast(self.setup, looked)
            if tell is not None:
                tell(found)

    def choose_precision(self) -> None:
        """The number format that all passes are made in, from now on."""
        chosen = self.ranks.of_first(
            "precision", lambda: choose(self.trainer.precision, self.setup, lambda: trial_of(self.setup))
        )
        self.model.precision, self.state.precision = chosen.name, chosen.to_dict()
        self.steps.compute_in(chosen.name)

    def forecast(self) -> Forecast:
        """What the steps that are left will be. Errors: as of `look_ahead`."""
        looked = self.look_ahead()
        self.choose_precision()
        return forecast(self.setup, looked)

    @property
    def due(self) -> bool:
        """Whether the evaluation of the step the run is at failed, and is to be made up for."""
        return self.state.due is not None and self.state.due == self.state.step

    def look_ahead(self) -> list[Looked]:
        """Some rows of every split, read before the first step. Errors: as of the function of this name."""
        return look_ahead(self.tasks, self.setup.programs, self.trainer.seed)

    def go_on(self) -> None:
        """The steps that are left, and an evaluation that is due."""
        start, call = self.state.step, self.setup.callbacks.call
        assembler = Assembler(self.tasks, self.setup.programs, self.trainer.seed, self.ranks.place)
        cuda = [self.setup.device] if self.setup.device.type == "cuda" else []
        with (
            closing(
                Feed(lambda step: deliveries(assembler, self.tickets(step), self.trainer.workers), start)
            ) as stream,
            torch.random.fork_rng(cuda),
            self.steps.freezing,
            recomputing(self.model, self.trainer.recompute),
            compiling(self.model, self.trainer.compile, self.setup.shards),
            self.log,
            Interrupt() as interrupt,
        ):
            try:
                call("before_fit", self.view)
                if self.setup.shards is not None:
                    self.log.write("shards", start, None, self.setup.shards.held.to_dict())
                if self.due:
                    self.validation.evaluate(start)
                    self.agree(start, interrupt)
                    self.heed(interrupt)
                for step in range(start, self.setup.max_steps):
                    if self.state.stopped:
                        break
                    if self.turnover.changed:
                        stream.reopen(step)
                        self.turnover.changed = False
                    call("before_step", self.view)
                    self.update(step, stream)
                    self.close(step + 1, interrupt)
                    self.log.at(step + 1)
                    self.heed(interrupt)
                self.saver.finish()
                call("after_fit", self.view)
            except BaseException as error:
                self.quarantine.tell(but=getattr(error, "task", None))
                raise
            finally:
                self.saver.close()
        self.quarantine.tell()

    def tell(self, kind: str, step: int, task: str | None, figures: Mapping[str, float]) -> None:
        """What a callback tells: to the history and to the log."""
        if kind in ("train", "valid", "classes", "turnover"):
            raise ConfigError(f"a callback tells a line of kind {kind!r}, which is the run's own; give it another word")
        self.trainer.history.append({"kind": kind, "step": step, **({"task": task} if task else {}), **figures})
        with writing(self.setup.out, "the log", self.setup.saved):
            self.log.write(kind, step, task, figures)

    def update(self, step: int, stream: Iterator[Delivery]) -> None:
        """One update. Where data cannot be read any further, the steps that are done are saved."""
        try:
            self.steps.update(step, stream)
        except LoadingError:
            if step and self.setup.out is not None:
                self.saver.save(("last",))
                self.saver.finish()
                _log.warning(f"step {step} is saved; once the data can be read, the same fit goes on from there")
            raise

    def tickets(self, start: int) -> Iterator[Ticket]:
        """Every micro-batch of the rest of the run, in order."""
        per = self.trainer.accumulate
        for step in range(start, self.setup.max_steps):
            draws = [draw for small in range(step * per, (step + 1) * per) for draw in self.setup.ledger.draws(small)]
            for task, k in draws:
                yield Ticket(step, task, k, len(draws))

    def close(self, done: int, interrupt: Interrupt) -> None:
        """What follows an update: callbacks, log, validation, checkpoint, as they are due."""
        trainer = self.trainer
        self.state.step = self.view.step = done
        self.setup.callbacks.call("after_step", self.view)
        self.setup.follow.after(done)
        self.turnover.updated(done)
        saving = self.agree(done, interrupt)
        self.saver.settle()
        last = done == self.setup.max_steps or self.setup.ending.asked(self.state, self.view.ended)
        evaluating = last or bool(trainer.eval_every and done % trainer.eval_every == 0)
        reporting = last or done % trainer.log_every == 0
        if evaluating or reporting or saving:
            self.saver.check_skipped()
        if last:
            self.steps.check_learned()
        if reporting:
            self.validation.report(done)
        if evaluating:
            self.validation.evaluate(done)
        elif saving:
            self.saver.save(("last",))

    def agree(self, done: int, interrupt: Interrupt) -> bool:
        """Whether a checkpoint is due. What a signal or a callback asked of one process is asked of all of them."""
        due = self.saver.due(done)
        if not self.ranks.several:
            return due
        told = self.ranks.numbers("a step", [interrupt.asked or 0, self.view.ended is not None, due])
        self.asked = int(told[:, 0].max()) or None
        if told[:, 1].any():
            self.view.ended = self.setup.ending.agreed(self.ranks, self.view.ended)
        return bool(told[0, 2])

    def heed(self, interrupt: Interrupt) -> None:
        """Save, and end the run, where a signal asked for it; of several processes, where all know."""
        asked = self.asked if self.ranks.several else interrupt.asked
        if asked is not None:
            interrupt.asked = asked
            self.saver.save(("last",))
            self.saver.finish()
            raise interrupt.end()
