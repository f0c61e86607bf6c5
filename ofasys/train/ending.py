"""When a run ends: at its last step, or before it, where no validation is better any more."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from ofasys.parallel.ranks import Ranks
from ofasys.train.state import RunState

_log = logging.getLogger("ofasys")


@dataclass(frozen=True)
class Ending:
    """What decides when a run ends. patience: validations without a better best; 0: it does not end early."""

    max_steps: int
    """Updates of the whole run."""
    patience: int
    best: str

    def begin(self, out: Path | None, state: RunState, changed: Sequence[str]) -> bool:
        """Tell what is gone on with; whether steps are left. changed: of the run's settings since.

        A run that ended early goes on only where the settings of its end are others.
        """
        step, stopped = state.step, state.stopped
        said = "".join(f"\n  changed since: {line}" for line in changed)
        if stopped is not None and stopped["settings"] == list(astuple(self)):
            _log.warning(
                f"{out} holds a run that ended early at step {step}: {stopped['why']}; nothing is trained; give "
                "another "
                f"patience or max_steps, or another `out`{said}"
            )
            return False
        if stopped is not None and 0 < self.patience <= state.waited:
            state.waited = 0
        state.stopped = None
        if step >= self.max_steps and state.due != step:
            _log.warning(
                f"{out} holds a run that is finished (step {step} of {self.max_steps}): nothing is trained; raise "
                f"max_steps, or give another `out`{said}"
            )
        elif step:
            _log.warning(f"{out} holds a run: going on from step {step} of {self.max_steps}{said}")
        return bool(step < self.max_steps)

    def wait(self, state: RunState, better: bool) -> bool:
        """One validation more; whether the run ends here, early."""
        state.waited = 0 if better else state.waited + 1
        step, best, waited = state.step, state.best, state.waited
        if step >= self.max_steps and best is None:
            _log.warning(
                f"no validation had a finite {self.best}, so there is no best checkpoint; the last is at step {step}"
            )
        if not 0 < self.patience <= waited or step >= self.max_steps:
            return False
        there = f"than {best['value']:.6g} at step {best['step']}" if best and "value" in best else "that was finite"
        why = f"no better {self.best} {there} in {waited} validations"
        self.stop(state, why)
        return True

    def asked(self, state: RunState, why: str | None) -> bool:
        """Whether the run ends here because a callback says so. why: what it says."""
        if why is not None and state.step < self.max_steps:
            self.stop(state, why)
        return why is not None

    def agreed(self, ranks: Ranks, why: str | None) -> str | None:
        """Why the run ends, of all processes the first that says so: what a callback asks of one, it asks of all."""
        return next(filter(None, ranks.objects("end", why)), None)

    def stop(self, state: RunState, why: str) -> None:
        """The run ends at the step it is at, for the first reason that there is."""
        if state.stopped is not None:
            return
        state.stopped = {"why": why, "settings": list(astuple(self))}
        _log.warning(f"the run ends early at step {state.step} of {self.max_steps}: {why}")
