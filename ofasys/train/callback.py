"""Parts of a run that users add: what they may see, do, keep and end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from ofasys.errors import CheckpointError, ConfigError, OfasysError, PluginError, nearest
from ofasys.hub.store import can_hold

if TYPE_CHECKING:
    from ofasys.generalist import GeneralistModel
    from ofasys.task.task import Task

_log = logging.getLogger("ofasys")


@dataclass
class RunView:
    """What a callback is shown of a run. The model and the optimizer are those of the run, not copies."""

    model: GeneralistModel
    optimizer: torch.optim.Optimizer
    tasks: Sequence[Task]
    max_steps: int
    """Updates of the whole run."""
    step: int = 0
    """Updates done."""
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task -> its figures on the valid rows, of the last evaluation of this call of `fit`."""
    ended: str | None = None
    """Why the run is to end after this step, if it is."""
    gradients: Mapping[str, Mapping[torch.nn.Parameter, torch.Tensor]] = field(default_factory=dict)
    """Task -> its own gradient in the update that was just taken, where a callback `wants_gradients`; else nothing."""
    losses: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Task -> () its mean loss in the update that was just taken, of all processes and without weights. It is where the
    model is: to read its number is to wait until the device has finished the step.
    """
    log: Callable[[str, int, str | None, Mapping[str, float]], None] | None = None
    """Writes a line of the log."""

    def tell(self, kind: str, figures: Mapping[str, float], task: str | None = None) -> None:
        """A line of the run's log and history: its kind, a word of yours, the step, and figures by name."""
        if self.log is not None:
            self.log(kind, self.step, task, figures)

    def stop(self, why: str) -> None:
        """End the run after this step, or the one that was just evaluated: evaluated, saved, and told why.

        It goes on only where it is told to, anew.
        """
        self.ended = self.ended or why


class Callback:
    """A part of a run: `Trainer(callbacks=[Mine()])`. Every method does nothing, until yours does.

    Callbacks are called in the order in which they are given; `after_evaluation` in the opposite one, so that each
    finds the weights as it left them. What one raises ends the run, and the last checkpoint stays; an error that is
    none of ofasys names the callback, the method and the step.
    """

    name: str = ""
    """What its state is kept under; the name of the class if empty. Two callbacks of a run have two names."""

    def before_fit(self, run: RunView) -> None:
        """Before the first step of a call of `fit`, after `restore`; also where no step is left."""

    def before_step(self, run: RunView) -> None:
        """Before an update, whose number is `run.step + 1`."""

    def wants_gradients(self, run: RunView) -> bool:
        """Whether `run.gradients` is to hold each task's gradient after the update that comes. That takes copies of it,
        and no pass.
        """
        return False

    def after_step(self, run: RunView) -> None:
        """After an update: the weights are new, the gradients still there, in float16 with the scale of the loss."""

    def before_evaluation(self, run: RunView) -> None:
        """Before the valid rows are answered: what it does to the weights is evaluated."""

    def after_evaluation(self, run: RunView) -> None:
        """After it, `run.figures` being what was found; also where the evaluation failed, without figures then.

        Not where this callback's own `before_evaluation` was not called, or raised.
        """

    def before_save(self, run: RunView) -> None:
        """Before a checkpoint is copied to be written, and `state` is asked for."""

    def after_save(self, run: RunView) -> None:
        """After a checkpoint was written, beside the run: steps after `before_save` if `async_save` is on."""

    def after_fit(self, run: RunView) -> None:
        """After the last step of a call of `fit` that was not ended by an error."""

    def answering_weights(self) -> Mapping[str, torch.Tensor]:
        """By parameter name, the weights that valid rows were answered with, where they are not the model's own.

        A checkpoint that is loaded to answer has them; a run that goes on has its own.
        """
        return {}

    def state(self) -> dict[str, Any]:
        """What is saved with the run: tensors, and whatever JSON can hold, by name. Nothing if it is empty."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave, of the checkpoint that the run goes on from. Tensors are on the CPU."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith(("before_", "after_")))
_LIKE_HOOKS = ("before_", "after_", "on_")


class Callbacks:
    """The callbacks of a run, in order. Errors: ConfigError for what does not fit."""

    def __init__(self, given: Any) -> None:
        if isinstance(given, Callback) or not isinstance(given, Sequence) or isinstance(given, str):
            raise ConfigError(f"trainer.callbacks is {given!r:.60}; give a list of callbacks")
        self.named: dict[str, Callback] = {}
        for one in given:
            name = _checked(one)
            if name in self.named:
                raise ConfigError(
                    f"trainer.callbacks has two called {name!r}, and their state would be one; give one another `name`"
                )
            self.named[name] = one

    def __bool__(self) -> bool:
        return bool(self.named)

    def call(self, hook: str, run: RunView) -> None:
        """Call one method of each. Errors: PluginError naming callback, method and step for what is no error of
        ofasys.
        """
        for name in self.named:
            self._call(name, hook, run)

    def _call(self, name: str, hook: str, run: RunView) -> None:
        with _named(name, hook, f" at step {run.step}"):
            getattr(self.named[name], hook)(run)

    def want_gradients(self, run: RunView) -> bool:
        """Whether any of them wants each task's gradient in the update that comes."""
        wanted = False
        for name, callback in self.named.items():
            with _named(name, "wants_gradients", f" at step {run.step}"):
                wanted |= bool(callback.wants_gradients(run))
        return wanted

    @contextmanager
    def evaluating(self, run: RunView) -> Iterator[None]:
        """Within it valid rows are answered. What is done to the weights before is undone, whatever fails.

        Errors: what failed first; what fails after that is told.
        """
        begun: list[str] = []
        failed: BaseException | None = None
        try:
            for name in self.named:
                self._call(name, "before_evaluation", run)
                begun.append(name)
            yield
        except BaseException as error:
            failed = error
        for name in reversed(begun):
            try:
                self._call(name, "after_evaluation", run)
            except Exception as error:
                if failed is None:
                    failed = error
                else:
                    _log.warning(str(error))
        if failed is not None:
            raise failed

    def answering_weights(self, model: GeneralistModel) -> dict[str, torch.Tensor]:
        """What is answered with in place of the model's own weights, under every name that a weight has there; of two
        callbacks' the last, as in an evaluation.
        """
        found: dict[torch.Tensor, torch.Tensor] = {}
        parameters = dict(model.named_parameters(remove_duplicate=False))
        for name, callback in self.named.items():
            with _named(name, "answering_weights", ""):
                own = callback.answering_weights()
            for key, one in own.items():
                if key not in parameters or one.shape != parameters[key].shape or not can_hold(one):
                    raise PluginError(
                        f"callback {name!r}: answering_weights() gave {key!r} {tuple(one.shape)} of {one.dtype}, which "
                        f"no weight of the model is; {nearest(key, parameters)}give a tensor of its shape for each "
                        "name of model.named_parameters()"
                    )
                found[parameters[key]] = one
        return {name: found[parameter] for name, parameter in parameters.items() if parameter in found}

    def state(self) -> tuple[dict[str, dict[str, Any]], dict[str, torch.Tensor]]:
        """(callback -> what it keeps, as JSON; its tensors as CALLBACK/NAME) of those that keep anything."""
        values: dict[str, dict[str, Any]] = {}
        tensors: dict[str, torch.Tensor] = {}
        for name, callback in self.named.items():
            with _named(name, "state", ""):
                own = callback.state()
            if not isinstance(own, Mapping) or not all(isinstance(key, str) for key in own):
                raise PluginError(f"callback {name!r}: state() gave {own!r:.60}; give a dict by name")
            for key, one in own.items():
                _check_kept(name, key, one)
            if own:
                values[name] = {key: one for key, one in own.items() if not isinstance(one, torch.Tensor)}
                tensors |= {f"{name}/{key}": one for key, one in own.items() if isinstance(one, torch.Tensor)}
        return values, tensors

    def restore(self, values: Mapping[str, Mapping[str, Any]], tensors: Mapping[str, torch.Tensor]) -> None:
        """Give each what it kept. Errors: ConfigError for a state whose callback is not here, CheckpointError for one
        that cannot take its own.
        """
        for name, own in values.items():
            if name not in self.named:
                raise ConfigError(
                    f"the run was trained with a callback {name!r} that keeps a state, and it is not among "
                    f"trainer.callbacks ({', '.join(self.named) or 'none'}); give it, or another `out`"
                )
            mine = {key.partition("/")[2]: one for key, one in tensors.items() if key.partition("/")[0] == name}
            try:
                self.named[name].restore({**own, **mine})
            except OfasysError:
                raise
            except Exception as error:
                raise CheckpointError(
                    f"callback {name!r} cannot go on from what it kept ({type(error).__name__}: {error}); mend it, or "
                    "give another `out`"
                ) from error


def _check_kept(name: str, key: str, one: Any) -> None:
    """Errors: PluginError for what no checkpoint can hold."""
    if isinstance(one, torch.Tensor):
        if not can_hold(one):
            raise PluginError(
                f"callback {name!r}: state() gave {key!r}, a {one.layout} tensor of {one.dtype}, which a checkpoint "
                "cannot hold; give a dense one of real numbers"
            )
        return
    try:
        json.dumps(one)
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(
            f"callback {name!r}: state() gave {key!r}, {one!r:.60}, which JSON cannot hold ({error}); give numbers, "
            "text, lists and dicts of them, and each tensor under a name of its own"
        ) from None


def _checked(one: Any) -> str:
    """The name of a callback. Errors: ConfigError for what is none, or has a method that nothing calls."""
    if isinstance(one, type) and issubclass(one, Callback):
        raise ConfigError(f"trainer.callbacks has the class {one.__name__}; give {one.__name__}()")
    if not isinstance(one, Callback):
        raise ConfigError(
            f"trainer.callbacks has a {type(one).__name__}; each is a Callback (from ofasys import Callback)"
        )
    name = one.name or type(one).__name__
    if not isinstance(name, str) or "/" in name:
        raise ConfigError(f"a callback's name is {name!r:.60}; it is a word without /")
    for method in dir(type(one)):
        if method in HOOKS:
            _check_takes_run(one, name, method)
        elif method.startswith(_LIKE_HOOKS) and callable(getattr(type(one), method)):
            raise ConfigError(
                f"callback {name!r} has a method {method}, which nothing calls; {nearest(method, HOOKS)}there are "
                f"{', '.join(HOOKS)}; begin the name of one of your own with _"
            )
    return name


def _check_takes_run(one: Callback, name: str, method: str) -> None:
    called: Callable[..., Any] = getattr(one, method)
    try:
        signature(called).bind(None)
    except TypeError:
        raise ConfigError(
            f"callback {name!r}: {method}{signature(called)} cannot be called with a run; take (self, run)"
        ) from None


class _named:  # noqa: N801
    """Within it what a callback raises gets its name; errors of ofasys and ends of the process pass."""

    def __init__(self, name: str, method: str, where: str) -> None:
        self.told = (
            f"callback {name!r} raised {{}} in {method}{where}: {{}}; the last checkpoint "
            "is whole; mend it and fit again"
        )

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, OfasysError):
            raise PluginError(self.told.format(type(error).__name__, error)) from error
