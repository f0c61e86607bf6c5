"""When a run writes a checkpoint, that only what is sound is written, and what becomes of a save that fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofasys.errors import CheckpointError, ConfigError
from ofasys.train import checkpoint
from ofasys.train.alike import check_same_weights
from ofasys.train.callback import RunView
from ofasys.train.lock import check_held
from ofasys.train.saving import Clock, is_sound, not_finite
from ofasys.train.setup import Setup
from ofasys.train.steps import Steps

_log = logging.getLogger("ofasys")


@dataclass(frozen=True)
class Begun:
    """A checkpoint that is being written."""

    step: int
    """Of the run, when it was begun."""
    best: dict[str, Any] | None
    """Of the run's state, as it is saved."""
    done: Future[None]
    """That it is written, or why it is not."""


class Saver:
    """Writes the checkpoints of a run, one at a time, in a thread beside it.

    Where one cannot be written the run goes on: that is told, and the next save tries again; only of the last one it is
    an error.
    """

    def __init__(self, setup: Setup, steps: Steps, view: RunView) -> None:
        self.setup, self.steps, self.view = setup, steps, view
        self.clock = Clock(setup.trainer.save_minutes if not setup.trainer.save_every else 0)
        self.beside = ThreadPoolExecutor(1, "ofasys-save")
        self.begun: Begun | None = None
        self.failed: CheckpointError | None = None  # of the latest save
        self.best = setup.state.best  # of the last checkpoint that is whole

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be written after this step, but for those of evaluations."""
        every = self.setup.trainer.save_every
        return bool(every and step % every == 0) or self.clock.due

    def save(self, names: Sequence[str]) -> None:
        """Begin to write the checkpoints of these names, when the one before is written; of several processes the first
        does, and all call it; where weights lie in pieces, each writes its own.

        Errors: ConfigError for weights that are not finite, and too many gradients; RankError where the weights of the
        processes differ.
        """
        setup = self.setup
        self.settle(wait=True)
        self.check_skipped()
        self.check_finite()
        if setup.out is None:
            return
        check_held(setup.out, setup.held)
        check_same_weights(setup)
        setup.callbacks.call("before_save", self.view)
        setup.state.windows = {name: window.to_dict() for name, window in self.steps.whole_windows().items()}
        setup.state.balance = setup.kept_of_balancing()
        setup.state.follow = setup.follow.state()
        scale = self.steps.loss_scale
        setup.state.loss_scale = None if scale is None else scale.to_dict()
        if not setup.ranks.first and setup.shards is None:
            setup.saved = setup.state.step
            self.clock.saved()
            return
        files = checkpoint.gathered(setup.model, setup.optimizer, setup.state, setup.callbacks)
        done = self._submit(setup.out, files, tuple(names))
        self.begun = Begun(setup.state.step, setup.state.best, done)
        self.clock.saved()
        self.settle(wait=not setup.trainer.async_save)

    def _submit(self, out: Path, files: dict[str, Any], names: tuple[str, ...]) -> Future[None]:
        """Begin to write, in the thread beside the run."""
        setup, keep = self.setup, self.setup.trainer.keep_checkpoints
        if setup.shards is not None:
            from ofasys.train import shard_files

            pieces = shard_files.copied(files, setup.shards)
            return self.beside.submit(shard_files.write, out, pieces, names, setup.saved, keep, setup.shards)
        if setup.trainer.async_save:
            files = checkpoint.copied(files)
        return self.beside.submit(checkpoint.write, out, files, names, setup.saved, keep)

    def settle(self, wait: bool = False) -> None:
        """Note what became of the checkpoint that is being written, if that is over. wait: until it is."""
        setup, begun = self.setup, self.begun
        if begun is None or not (wait or begun.done.done()):
            return
        try:
            begun.done.result()
        except CheckpointError as error:
            self.begun, self.failed = None, error
            setup.state.best = self.best  # whose checkpoint is there
            _log.warning(f"the run goes on, and the next save tries again: {error}")
            return
        self.begun = self.failed = None
        self.best, setup.saved = begun.best, begun.step
        setup.callbacks.call("after_save", self.view)

    def finish(self) -> None:
        """Wait for what is being written. Errors: CheckpointError where the latest save failed."""
        self.settle(wait=True)
        if self.failed is not None:
            raise self.failed

    def close(self) -> None:
        """Nothing is written any more after it: the folder may be another's. Where the run has failed, so may this."""
        self.beside.shutdown(wait=True)

    def check_skipped(self) -> None:
        """Tell which updates were left out. Errors: ConfigError for too many of them in a row."""
        self.steps.check_skipped(self.advice)

    def advice(self) -> str:
        """What to do about numbers that are not finite, once it is known which checkpoint is whole."""
        self.settle(wait=True)
        return self.steps.advice()

    def what_is_not_finite(self) -> str | None:
        """The name of what this process finds to be no number; None: all is well."""
        setup, probe = self.setup, self.steps.skips.probe
        what = not_finite(setup.model, setup.optimizer)
        with setup.whole():
            if what is None and probe is not None and probe.batch is not None:
                program = setup.programs[probe.delivery.ticket.task][probe.delivery.instruction]
                what = None if is_sound(setup.model, program, probe.batch) else "the losses"
        return what

    def check_finite(self) -> None:
        """Errors: ConfigError for weights, moments, or the loss they give, that are not finite: they are not saved."""
        setup = self.setup
        what = setup.ranks.of_any("finite", self.what_is_not_finite()) if setup.shards else self.what_is_not_finite()
        if what is not None:
            advice = self.advice()
            since = f"since a step after {setup.saved}" if setup.saved is not None else "since a step of this run"
            raise ConfigError(
                f"{what} are not finite at step {setup.state.step}, {since}; they are not saved; {advice}"
            )
