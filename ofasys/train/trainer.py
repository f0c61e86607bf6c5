"""The Trainer: tasks and a model in, a trained model and its run folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.task.schedule import Schedule, find
from ofasys.task.task import Task
from ofasys.train.ahead import Looked
from ofasys.train.evaluate import evaluate_task
from ofasys.train.optimizer import learning_rate
from ofasys.train.precision import choose
from ofasys.train.run import Run


@dataclass(kw_only=True)
class Trainer:
    """How to train. Nothing here is about one task: that is in `Task`.

    max_steps: updates. schedule: "round_robin", "accumulate", or an object with `turns`. out: the run's folder; a run
    found there is resumed, None keeps nothing. warmup: updates until lr is reached; None: a tenth of the run, 100 at
    most. lr, decay ("cosine", "linear", "constant"), weight_decay, betas, clip: of AdamW. accumulate: schedule steps
    joined in one update. precision: "auto", "float32", "bfloat16". seed: of data order and dropout. workers: data
    processes. eval_every, save_every: in updates; 0: only at the end. eval_samples: rows of each valid set looked at
    during the run. eval_batch_size: rows a batch of evaluation. device: "auto", "cpu", "cuda". live: the table in the
    terminal; None: if there is one.
    """

    max_steps: int = 1000
    schedule: str | Schedule = "round_robin"
    out: str | Path | None = None
    lr: float = 1e-3
    warmup: int | None = None
    decay: str = "cosine"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    accumulate: int = 1
    precision: str = "auto"
    seed: int = 0
    workers: int = 0
    eval_every: int = 0
    save_every: int = 0
    eval_samples: int | None = 200
    eval_batch_size: int = 32
    log_every: int = 20
    device: str = "auto"
    live: bool | None = None
    history: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        least = dict.fromkeys(("max_steps", "accumulate", "log_every", "eval_batch_size"), 1)
        least |= dict.fromkeys(("workers", "eval_every", "save_every", "weight_decay"), 0)
        if self.eval_samples is not None:
            least["eval_samples"] = 1
        if self.warmup is not None:
            least["warmup"] = 0
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ConfigError(f"trainer.{name} is {getattr(self, name)}; it is {bound} or more")
        if not (self.lr > 0 and self.clip > 0):
            raise ConfigError(f"trainer.lr is {self.lr} and clip {self.clip}; both are more than 0")
        if self.device.partition(":")[0] not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"trainer.device is {self.device!r}; it is 'auto', 'cpu' or 'cuda'")
        if self.save_every and self.out is None:
            raise ConfigError(f"trainer.save_every is {self.save_every}, and there is no `out` to save to; give one")
        find(self.schedule)
        learning_rate(0, 1, self.lr, 0, self.decay)
        choose(self.precision, torch.device("cpu"))

    def fit(self, *, model: GeneralistModel, tasks: Sequence[Task] | Task) -> GeneralistModel:
        """Train `model` on `tasks` and leave it trained; what the run was is in `out`. Resumes a run found there.

        Ctrl-C ends the step, saves, and interrupts; a second one interrupts at once. Errors: ConfigError for tasks that
        do not go together or a gradient that is not finite, DataError for data as each task says, CheckpointError for a
        run folder that is torn, or of another model or seed.
        """
        with model.being_trained():
            return Run(self, model, [tasks] if isinstance(tasks, Task) else list(tasks)).fit()

    def check(self, *, model: GeneralistModel, tasks: Sequence[Task] | Task) -> list[Looked]:
        """All that `fit` does before its first step, and no step: what was seen of each split of each task.

        The model grows as the tasks ask; the run's folder stays as it is. Errors: as of `fit`.
        """
        return Run(self, model, [tasks] if isinstance(tasks, Task) else list(tasks)).look_ahead()

    def evaluate(
        self,
        *,
        model: GeneralistModel,
        tasks: Sequence[Task] | Task,
        split: str | None = None,
        limit: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """Task name -> its figures on a split (default: test where a task has one, else valid).

        Errors: ConfigError for a model that was never trained, DataError at the first bad row.
        """
        model.to(self.on())
        found = {}
        for task in [tasks] if isinstance(tasks, Task) else tasks:
            chosen = split or ("test" if "test" in task.sources else "valid")
            found[task.name] = evaluate_task(model, task, chosen, batch_size=self.eval_batch_size, limit=limit)
        return found

    def on(self) -> torch.device:
        """The device meant. Errors: ConfigError for one that is not there."""
        cuda = torch.cuda.is_available()
        device = torch.device(("cuda" if cuda else "cpu") if self.device == "auto" else self.device)
        if device.type == "cuda" and not cuda:
            raise ConfigError(f"trainer.device is {self.device!r}, and torch finds no GPU here; use 'auto' or 'cpu'")
        return device
