"""When a run writes a checkpoint, and that only what is sound is written."""

from __future__ import annotations

from collections.abc import Sequence

from ofasys.errors import ConfigError
from ofasys.train import checkpoint
from ofasys.train.alike import check_same_weights
from ofasys.train.callback import RunView
from ofasys.train.lock import check_held
from ofasys.train.saving import Clock, is_sound, not_finite
from ofasys.train.setup import Setup
from ofasys.train.steps import Steps


class Saver:
    """Writes the checkpoints of a run."""

    def __init__(self, setup: Setup, steps: Steps, view: RunView) -> None:
        self.setup, self.steps, self.view = setup, steps, view
        self.clock = Clock(setup.trainer.save_minutes if not setup.trainer.save_every else 0)

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be written after this step, but for those of evaluations."""
        every = self.setup.trainer.save_every
        return bool(every and step % every == 0) or self.clock.due

    def save(self, names: Sequence[str]) -> None:
        """Write the checkpoints of these names; of several processes the first does, and all call it.

        Errors: ConfigError for weights or gradients that are not finite; RankError where those of the processes differ.
        """
        setup = self.setup
        self.steps.check_gradients()
        self.check_finite()
        if setup.out is None:
            return
        check_held(setup.out, setup.held)
        check_same_weights(setup)
        setup.callbacks.call("before_save", self.view)
        setup.state.windows = {name: window.to_dict() for name, window in self.steps.whole_windows().items()}
        if setup.ranks.first:
            checkpoint.save(setup.out, setup.model, setup.optimizer, setup.state, names, setup.saved, setup.callbacks)
        setup.saved = setup.state.step
        self.clock.saved()
        setup.callbacks.call("after_save", self.view)

    def check_finite(self) -> None:
        """Errors: ConfigError for weights, moments, or the loss they give, that are not finite: they are not saved."""
        setup, probe = self.setup, self.steps.probe
        what = not_finite(setup.model, setup.optimizer)
        if what is None and probe is not None and probe.batch is not None:
            program = setup.programs[probe.delivery.ticket.task][probe.delivery.instruction]
            what = None if is_sound(setup.model, program, probe.batch) else "the losses"
        if what is not None:
            since = f"since a step after {setup.saved}" if setup.saved is not None else "since a step of this run"
            raise ConfigError(
                f"{what} are not finite at step {setup.state.step}, {since}; they are not saved; {self.steps.advice()}"
            )
