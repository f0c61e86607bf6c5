"""The Trainer: tasks and a model in, a trained model and its run folder out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from numbers import Integral
from pathlib import Path
from typing import Any, overload

import torch

from ofasys.arguments import TRAINER_CALLED, arguments
from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.hub.ofasys import OFASys
from ofasys.model.low_rank import merged_after
from ofasys.parallel.join import joined
from ofasys.parallel.place import Place
from ofasys.parallel.placed import whole_after
from ofasys.task.schedule import Schedule, find
from ofasys.task.task import Task
from ofasys.train.ahead import Looked
from ofasys.train.balance import Balancer
from ofasys.train.balance import find as find_balancer
from ofasys.train.callback import Callback, Callbacks
from ofasys.train.evaluate import evaluate_task
from ofasys.train.forecast import Forecast
from ofasys.train.groups import GroupRule, read_rules
from ofasys.train.interrupt import at_once
from ofasys.train.length import steps_of
from ofasys.train.lock import check_place, one_run
from ofasys.train.optimizer import learning_rate
from ofasys.train.optimizers import OptimizerSpec, known_optimizers
from ofasys.train.optimizers import find as find_optimizer
from ofasys.train.precision import check
from ofasys.train.run import Run
from ofasys.train.scheduling import in_micro_steps
from ofasys.train.start import Model, as_given, generalist, keep_labels
from ofasys.train.track import Tracker, trackers

MAX_STEPS = 1000  # updates of a run that says neither max_steps nor epochs


@arguments("trainer", TRAINER_CALLED)
@dataclass(kw_only=True)
class Trainer:
    """How to train. Nothing here is about one task: that is in `Task`."""

    max_steps: int | None = None
    """Updates. None: 1000."""
    epochs: float | None = None
    """Instead of max_steps: until every task's rows have been seen so often."""
    schedule: str | Mapping[str, Any] | Schedule = "round_robin"
    """Which task a step draws, by name, with options as {"name": "temperature", "cap": 1000}, or an object with
    `turns(step, tasks)`: docs/schedules.md."""
    out: str | Path | None = None
    """The run's folder; a run found there is resumed. None: nothing is kept."""
    optimizer: str | OptimizerSpec = "adamw"
    """What makes an update of gradients: "adamw", "adafactor", "muon", or an `OptimizerSpec`: docs/optimizers.md."""
    lr: float | None = None
    """The highest learning rate. None: the optimizer's own, of "adamw" and "muon" 1e-3, of "adafactor" 1e-2."""
    warmup: int | None = None
    """Updates until lr is reached. None: a tenth of the run, 100 at most."""
    decay: str = "cosine"
    """How lr falls after that, to 2% of it: "cosine" or "linear"; or "constant"."""
    weight_decay: float = 0.01
    """Of matrices; norms, biases, scales and the token table do not decay."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW, also where it goes with another."""
    groups: Sequence[GroupRule | Mapping[str, Any]] = ()
    """What holds for parameters of some names, as {"match": "engine.*", "lr": "0.1x", "freeze": True}: rates, decay,
    freezing. The last that matches a name has it."""
    clip: float = 1.0
    """The length that gradients are shortened to, all of them as one vector."""
    skip_limit: int = 10
    """Updates in a row that are left out because a loss or a gradient is not finite; one more ends the run."""
    accumulate: int = 1
    """Steps of the schedule joined in one update."""
    balance: str | Mapping[str, Any] | Balancer = "sum"
    """How the tasks of one update share its step, by name, with options as {"name": "dwa", "every": 50}, or a record:
    docs/balancers.md."""
    precision: str = "auto"
    """What is computed in, training and answers alike: "float32", "bfloat16", "float16", or "auto": bfloat16 where a
    few products and a step, timed at the start, are clearly faster in it. Weights are float32 in all of them."""
    recompute: bool = False
    """Blocks of the model are computed a second time for their gradients instead of being kept: less memory, the same
    numbers."""
    compile: bool = False
    """All that blocks do but the products of attention is compiled by torch.compile: docs/speed-and-memory.md."""
    shard: bool = False
    """Of several processes: weights, gradients and moments lie in pieces on them, each with its part, for models that
    one device does not hold: docs/several-machines.md."""
    seed: int = 0
    """Of data order and dropout."""
    workers: int = 0
    """Processes that read and prepare rows; 0: this one does."""
    eval_every: int = 0
    """Updates between two evaluations on the valid rows; 0: only at the end."""
    save_every: int = 0
    """Updates between two checkpoints besides; 0: by save_minutes."""
    save_minutes: float = 10.0
    """Without save_every: how often a checkpoint is written; 0: only with evaluations."""
    keep_checkpoints: int = 2
    """The newest so many stay, 2 or more; the best stays besides."""
    async_save: bool = True
    """A checkpoint is copied in memory, and written while the run goes on; False: the run waits."""
    best: str = "loss"
    """The figure that the best checkpoint has the best of, "TASK.FIGURE" or "FIGURE", its mean over the tasks that have
    it; "max:..." or "min:..." where the direction is not known."""
    patience: int = 0
    """Evaluations without a better one after which the run ends; 0: it does not."""
    eval_samples: int | None = 200
    """Rows of each valid set looked at during the run, evenly spread. None: all."""
    eval_batch_size: int = 32
    """Rows a batch of evaluation."""
    log_every: int = 20
    """Updates between two lines of the log."""
    device: str = "auto"
    """ "auto", "cpu", "cuda", or one as "cuda:0"."""
    live: bool | None = None
    """A table in the terminal that renews itself. None: if there is one, else a line every so often."""
    track: str | Tracker | Sequence[str | Tracker] = ()
    """Where figures go besides the log: "tensorboard", "wandb", "mlflow", "trackio", or an object: docs/trackers.md."""
    callbacks: Sequence[Callback] = ()
    """Parts of one's own, called in this order: docs/add-a-callback.md."""
    history: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)
    """The lines of the log, after `fit`."""
    foretell: Callable[[Forecast], None] | None = field(default=None, init=False, repr=False, compare=False)
    """What `fit` tells its forecast to, before the first step. None: it makes none."""

    def __post_init__(self) -> None:
        least = dict.fromkeys(("accumulate", "log_every", "eval_batch_size"), 1)
        least |= dict.fromkeys(
            ("workers", "eval_every", "save_every", "save_minutes", "patience", "weight_decay", "skip_limit"), 0
        )
        least["keep_checkpoints"] = 2
        if self.eval_samples is not None:
            least["eval_samples"] = 1
        if self.warmup is not None:
            least["warmup"] = 0
        if self.max_steps is not None:
            least["max_steps"] = 1
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ConfigError(f"trainer.{name} is {getattr(self, name)}; it is {bound} or more")
        if not (0 < self.peak < inf and self.clip > 0):
            raise ConfigError(f"trainer.lr is {self.peak} and clip {self.clip}; both are more than 0, and lr is finite")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"trainer.betas is {tuple(self.betas)}; both are 0 or more and less than 1")
        if self.weight_decay == inf:
            raise ConfigError("trainer.weight_decay is inf; it is finite")
        if self.out is not None and not str(self.out).strip():
            raise ConfigError("trainer.out is empty; give the name of a folder, or None to keep nothing")
        kind, colon, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (colon and not (kind == "cuda" and number.isdecimal())):
            raise ConfigError(f"trainer.device is {self.device!r}; it is 'auto', 'cpu', 'cuda' or one as 'cuda:0'")
        if self.save_every and self.out is None:
            raise ConfigError(f"trainer.save_every is {self.save_every}, and there is no `out` to save to; give one")
        if self.epochs is not None and not 0 < self.epochs < inf:
            raise ConfigError(f"trainer.epochs is {self.epochs}; it is more than 0")
        if self.epochs is not None and self.max_steps is not None:
            raise ConfigError(
                f"trainer.epochs is {self.epochs} and max_steps {self.max_steps}; both say how long the run is, leave "
                "one out"
            )
        if self.patience and not self.eval_every:
            raise ConfigError(
                f"trainer.patience is {self.patience}, and eval_every 0: there is nothing to wait for; give it"
            )
        read_rules(self.groups)
        if trackers(self.track) and self.out is None:
            raise ConfigError("trainer.track is given, and there is no `out`, of which a tracker is told; give one")
        find(self.schedule)
        find_balancer(self.balance)
        Callbacks(self.callbacks)
        learning_rate(0, 1, self.peak, 0, self.decay)
        check(self.precision)

    @property
    def optimizer_spec(self) -> OptimizerSpec:
        """The record of the optimizer. Errors: ConfigError for one that is not known."""
        return find_optimizer(self.optimizer, known_optimizers())

    @property
    def peak(self) -> float:
        """The highest learning rate: as given, or the optimizer's own."""
        return self.optimizer_spec.lr if self.lr is None else self.lr

    def steps(self, tasks: Sequence[Task] | Task) -> int:
        """Updates of a whole run on these tasks: max_steps, or what its epochs are."""
        if self.epochs is None:
            return MAX_STEPS if self.max_steps is None else self.max_steps
        entries = [in_micro_steps(task.entry(), self.accumulate) for task in _listed(tasks) if task.source("train")]
        return steps_of(self.epochs, entries, self.schedule, self.accumulate)

    @overload
    def fit(self, model: OFASys, tasks: Sequence[Task] | Task) -> OFASys: ...
    @overload
    def fit(self, model: GeneralistModel | str, tasks: Sequence[Task] | Task) -> GeneralistModel: ...
    def fit(self, model: Model, tasks: Sequence[Task] | Task) -> GeneralistModel | OFASys:
        """Train `model` on `tasks` and leave it trained; what the run was is in `out`. Resumes a run found there.

        Of several processes (torchrun, `ofasys train --nproc`) each calls it, with the same of everything: they share
        each micro-batch, and learn what one alone learns. The first writes and tells.

        model: a new one, one that is trained, what `OFASys.from_pretrained` returns, or a size. Returned is what was
        given, an OFASys with the cards of these tasks; of a size, the model. Tasks the model knows keep the order of
        their labels. Ctrl-C, SIGTERM and SIGHUP end the step, save, and end `fit` by KeyboardInterrupt or `Terminated`;
        a second one ends at once, and so does the first before the first step. Errors: ConfigError for tasks that do
        not go together, a folder in which a run is going on, weights, or too many gradients, that are not finite, or
        rows that the memory does not hold; DataError for data as each task says; CheckpointError for a run folder that
        is torn, cannot be written, or is of another model or seed; RankError where another process has ended, saying
        why.
        """
        trained, listed = generalist(model), _listed(tasks)
        with (
            at_once(),
            joined() as ranks,
            one_run(self.out if ranks.first else None, training=True),
            trained.being_trained(),
            as_given(listed),
            merged_after(trained),
            whole_after(trained),
        ):
            Run(self, trained, listed, ranks).fit()
        return OFASys(trained, trained.cards) if isinstance(model, OFASys) else trained

    def check(self, model: Model, tasks: Sequence[Task] | Task) -> list[Looked]:
        """All that `fit` does before its first step, and no step: what was seen of each split of each task.

        The model grows as the tasks ask; the run's folder stays as it is. Errors: as of `fit`.
        """
        check_place(self.out)
        looked = generalist(model)
        with merged_after(looked):
            return Run(self, looked, _listed(tasks)).look_ahead()

    def forecast(self, model: Model, tasks: Sequence[Task] | Task) -> Forecast:
        """What `check` does, and for each task what `fit` would train of it: samples, tokens, share, epochs, first
        repeat and time; prints as a table.

        The model grows as the tasks ask; the run's folder stays as it is. Errors: as of `fit`.
        """
        check_place(self.out)
        listed = _listed(tasks)
        with as_given(listed):
            return Run(self, generalist(model), listed).forecast()

    def evaluate(
        self,
        model: Model,
        tasks: Sequence[Task] | Task,
        *,
        split: str | None = None,
        limit: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """Task name -> its figures on a split (default: test where a task has one, else valid).

        model: as of `fit`; a task it knows is asked with the closed sets it learned. Errors: ConfigError for a model
        that was never trained, DataError at the first bad row.
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1):
            raise ConfigError(f"limit is {limit!r:.40}; it is a whole number of rows, 1 or more, or None for all")
        trained, listed = generalist(model), _listed(tasks)
        if self.device != "auto":
            trained.to(self.on())
        found = {}
        with as_given(listed):
            keep_labels(listed, trained.cards, grow=False)
            for task in listed:
                chosen = split or ("test" if "test" in task.sources else "valid")
                found[task.name] = evaluate_task(trained, task, chosen, batch_size=self.eval_batch_size, limit=limit)
        return found

    def on(self) -> torch.device:
        """The device meant. Errors: ConfigError for one that is not there."""
        cuda = torch.cuda.is_available()
        device = torch.device(("cuda" if cuda else "cpu") if self.device == "auto" else self.device)
        if device.type == "cuda" and device.index is None and (place := Place.told()).size > 1:
            device = torch.device("cuda", place.local)
        if device.type == "cuda" and not cuda:
            raise ConfigError(f"trainer.device is {self.device!r}, and torch finds no GPU here; use 'auto' or 'cpu'")
        if device.index is not None and device.index >= (there := torch.cuda.device_count()):
            raise ConfigError(
                f"trainer.device is {self.device!r}, {device} of this process; the last GPU here is 'cuda:{there - 1}'"
            )
        return device


def _listed(tasks: Sequence[Task] | Task) -> list[Task]:
    """Errors: ConfigError for what is no task, or none at all."""
    if isinstance(tasks, Task):
        return [tasks]
    given: Any = tasks
    one = isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable)
    listed = [given] if one else list(given)
    if odd := [task for task in listed if not isinstance(task, Task)]:
        raise ConfigError(f"tasks holds a {type(odd[0]).__name__}; give a Task, or a list of them")
    if not listed:
        raise ConfigError("there is no task; give at least one")
    return listed
