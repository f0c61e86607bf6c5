"""What a run tells of itself: sums of its steps, figures on its valid rows, and which checkpoint is the best so far."""

from __future__ import annotations

import logging

from ofasys.metric import Confusion
from ofasys.model.low_rank import unchanging
from ofasys.train.callback import RunView
from ofasys.train.evaluate import evaluate_task
from ofasys.train.lock import check_held
from ofasys.train.log import RunLog
from ofasys.train.saver import Saver
from ofasys.train.setup import Setup
from ofasys.train.steps import Steps
from ofasys.train.turnover import Turnover
from ofasys.train.update import Window

_log = logging.getLogger("ofasys")


class Validation:
    """Reports, evaluates, and says which checkpoint is the best."""

    def __init__(
        self, setup: Setup, steps: Steps, saver: Saver, log: RunLog, view: RunView, turnover: Turnover
    ) -> None:
        self.setup, self.steps, self.saver, self.log, self.view = setup, steps, saver, log, view
        self.turnover = turnover

    def report(self, step: int) -> None:
        """A line per task over the steps since the last; none for a task that had no batch in them."""
        weights = self.setup.balancing.weights()
        for name, window in self.steps.whole_windows().items():
            if window.batches:
                bad = len(self.setup.state.bad.get(name, ()))
                figures = window.figures() | {"lr": self.steps.rate(step - 1), "bad": bad}
                figures |= {"balance": weights[name]} if name in weights else {}
                if self.steps.loss_scale is not None:
                    figures |= {f"loss_scale/{k}": v for k, v in self.steps.loss_scale.to_dict().items() if k != "good"}
                self.tell("train", step, name, figures)
                self.steps.windows[name] = Window(seen=self.steps.windows[name].seen)
        self.log.show(step)

    def evaluate(self, step: int) -> None:
        """Validate and save; where that fails, the next `fit` makes up for it."""
        state, out = self.setup.state, self.setup.out
        self.saver.check_finite()
        self.saver.settle(wait=True)  # the best so far is one that is there
        state.due = step
        try:
            best = self.validate(step)
        except BaseException as error:  # a bad valid row, or a metric that fails, must not cost the training
            if self.setup.ranks.several and error is not self.setup.ranks.failed_together:
                raise  # the others are not here to save
            self.saver.save(("last",))
            self.saver.finish()
            if out is not None:
                failed = isinstance(error, Exception)
                _log.warning(
                    f"the evaluation of step {step} {'failed' if failed else 'was interrupted'}; its checkpoint is in "
                    f"{out}: {'mend what failed, and ' if failed else ''}the next fit evaluates it first and goes on"
                )
            raise
        state.due = None
        self.saver.save(("last", "best") if best else ("last",))

    def validate(self, step: int) -> bool:
        """Figures on the valid sets, of tasks that have left or not yet joined too; are they the best so far?

        Best is by the trainer's `best`, never what is not finite. A run that goes on with other tasks or another figure
        begins anew to compare.
        """
        setup, state = self.setup, self.setup.state
        found, confusions = self.figures()
        self.view.ended = setup.ending.agreed(setup.ranks, self.view.ended)
        setup.follow.evaluated(found)
        value = setup.choice.value(found)
        turnover = self.turnover.evaluated(step, found)
        # by the first, which knows whether the best so far could be saved
        better = setup.ranks.of_first("the best", lambda: setup.choice.better(value, setup.choice.known(state.best)))
        if better:
            names = sorted(setup.choice.tasks)
            state.best = {"figure": setup.choice.name, "value": value, "step": step, "tasks": names}
        waited = bool(found) and setup.ending.wait(state, better)
        if setup.ending.asked(state, self.view.ended) or waited:
            self.report(step)
        for name, figures in found.items():
            self.tell("valid", step, name, figures)
            for column, confusion in confusions[name].items():
                self.log.write("classes", step, name, {"column": column, **confusion.line()})
        self.log.show(step)
        self.turnover.tell(step, turnover)
        return better

    def figures(self) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Confusion]]]:
        """(task -> its figures on the valid rows, task -> column -> what its labels are taken for)."""
        setup, trainer = self.setup, self.setup.trainer
        found: dict[str, dict[str, float]] = {}
        confusions: dict[str, dict[str, Confusion]] = {}
        self.view.figures = {}
        with setup.callbacks.evaluating(self.view), setup.whole(), unchanging():
            for task in setup.tasks.values():
                if "valid" in task.sources:
                    confusions[task.name] = {}
                    found[task.name] = evaluate_task(
                        setup.model,
                        task,
                        "valid",
                        batch_size=trainer.eval_batch_size,
                        limit=trainer.eval_samples,
                        program=setup.programs[task.name][0],
                        classes=confusions[task.name],
                        ranks=setup.ranks,
                    )
            self.view.figures = found
        return found, confusions

    def tell(self, kind: str, step: int, task: str, figures: dict[str, float]) -> None:
        """To the history and to the log."""
        setup = self.setup
        setup.trainer.history.append({"kind": kind, "step": step, "task": task, **figures})
        if setup.out is not None:
            check_held(setup.out, setup.held)
        self.log.write(kind, step, task, figures)
