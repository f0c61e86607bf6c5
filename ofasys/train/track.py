"""Trackers: where the figures of a run go besides its log. Each is a class of three methods, of a library that is
imported when a run begins.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ofasys.errors import CheckpointError, ConfigError, nearest
from ofasys.hub.store import write_json

_log = logging.getLogger("ofasys")

PROJECT = "ofasys"  # where none is named in the environment
IDENTITY = "track.json"


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a run."""

    out: Path
    """Its folder; trackers that keep files keep them in it."""
    name: str
    settings: Mapping[str, Any]
    """As in run.json."""
    start: int
    """The step it goes on from: figures of later steps, of a call that was cut off, are told again."""

    @cached_property
    def identity(self) -> str:
        """The same for every call of `fit` in this folder, and of no other run. Errors: OSError where it cannot be
        kept there.
        """
        return identity(self.out)


class Tracker(Protocol):
    """Where figures go. What it raises is told once, and ends its tracking, not the run."""

    def begin(self, run: Tracked) -> None:
        """Before the first figures. Errors: ConfigError for a library that is not there."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Those of one line of the log: "KIND/TASK/FIGURE" -> value, finite or not."""

    def end(self, failed: bool) -> None:
        """After the last. failed: whether the run was ended by an error, or interrupted."""


class TensorBoard:
    """Events in RUN/tensorboard."""

    def begin(self, run: Tracked) -> None:
        """Figures of later steps are purged."""
        board = _library("torch.utils.tensorboard", "track")
        self.writer = board.SummaryWriter(run.out / "tensorboard", purge_step=run.start + 1)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A scalar each."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)

    def end(self, failed: bool) -> None:
        """Nothing is written any more."""
        self.writer.close()


class WandB:
    """Weights & Biases, in the project that WANDB_PROJECT names; WANDB_MODE=offline keeps all in RUN/wandb."""

    def begin(self, run: Tracked) -> None:
        """The same run of W&B goes on where this one does."""
        wandb = _library("wandb", "wandb")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=run.identity,
            resume="allow",
            dir=str(run.out),
            config=dict(run.settings),
        )
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")  # its own counter refuses steps that are told again

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A row, over `step`."""
        self.run.log({**figures, "step": step})

    def end(self, failed: bool) -> None:
        """With exit code 1 where the run failed."""
        self.run.finish(exit_code=int(failed))


class MLflow:
    """MLflow, in the experiment that MLFLOW_EXPERIMENT_NAME names, at MLFLOW_TRACKING_URI; else in RUN/mlflow.db."""

    def begin(self, run: Tracked) -> None:
        """The same run of MLflow goes on where this one does."""
        mlflow = _library("mlflow", "mlflow")
        where = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run.out / 'mlflow.db').absolute()}"
        self.metric = mlflow.entities.Metric
        self.client = client = mlflow.MlflowClient(tracking_uri=where)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        there = client.get_experiment_by_name(name)
        experiment = there.experiment_id if there is not None else client.create_experiment(name)
        known = client.search_runs([experiment], f"tags.ofasys_run = '{run.identity}'", max_results=1)
        if known:
            self.run = known[0].info.run_id
            client.update_run(self.run, status="RUNNING")
            return
        made = client.create_run(experiment, tags={"ofasys_run": run.identity}, run_name=run.name)
        self.run = made.info.run_id
        for key, value in _flat(run.settings):
            client.log_param(self.run, _plain(key), value[:500])

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """All in one call."""
        now = int(time.time() * 1000)
        self.client.log_batch(self.run, [self.metric(_plain(n), float(v), now, step) for n, v in figures.items()])

    def end(self, failed: bool) -> None:
        """FINISHED, or FAILED."""
        self.client.set_terminated(self.run, "FAILED" if failed else "FINISHED")


class Trackio:
    """Trackio, in the project that TRACKIO_PROJECT names; what it keeps is in TRACKIO_DIR, else where it keeps all."""

    def begin(self, run: Tracked) -> None:
        """A run of the same name goes on."""
        trackio = _library("trackio", "trackio")
        self.run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{run.name}-{run.identity[:8]}",
            config=dict(run.settings),
            resume="allow",
        )

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A row, at its step."""
        self.run.log(dict(figures), step=step)

    def end(self, failed: bool) -> None:
        """What is not sent yet is."""
        self.run.finish()


TRACKERS: dict[str, type[Any]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow, "trackio": Trackio}


def trackers(asked: str | Tracker | Sequence[str | Tracker]) -> list[Tracker]:
    """The trackers meant: by their names, or objects. Errors: ConfigError for another name, or what is no tracker."""
    listed: Sequence[Any] = asked if isinstance(asked, (list, tuple)) else [asked]
    found: list[Tracker] = []
    for one in listed:
        if isinstance(one, str):
            if one not in TRACKERS:
                raise ConfigError(
                    f"trainer.track is {one!r}; {nearest(one, TRACKERS)}there are {', '.join(TRACKERS)}, or give a "
                    "tracker of your own"
                )
            found.append(TRACKERS[one]())
        elif isinstance(one, type) or not all(
            callable(getattr(one, name, None)) for name in ("begin", "figures", "end")
        ):
            raise ConfigError(
                f"trainer.track has {one!r:.60}; a tracker has begin(run), figures(step, figures), end(failed)"
            )
        else:
            found.append(one)
    return found


def names(asked: str | Tracker | Sequence[str | Tracker]) -> list[str]:
    """What trackers are called in a record."""
    listed: Sequence[Any] = asked if isinstance(asked, (list, tuple)) else [asked]
    return [one if isinstance(one, str) else type(one).__name__ for one in listed]


def identity(out: Path) -> str:
    """What tells a run from all others, kept in its folder. Errors: OSError where it cannot be written."""
    try:
        found = json.loads((out / IDENTITY).read_text(encoding="utf8"))["identity"]
        if isinstance(found, str) and re.fullmatch(r"[0-9a-f]{32}", found):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    made = uuid.uuid4().hex
    write_json(out / IDENTITY, {"identity": made})
    return made


class Trackers:
    """All trackers of a run: one that fails is told, and no more used."""

    def __init__(self, asked: Sequence[Tracker]) -> None:
        self.asked, self.begun = list(asked), list[Tracker]()

    def begin(self, out: Path, settings: Mapping[str, Any], start: int) -> None:
        """Begin all. Errors: ConfigError for a library that is not there."""
        if not self.asked:
            return
        told = Tracked(out, out.resolve().name, settings, start)
        for one in self.asked:
            if self._try(one, "begin", told):
                self.begun.append(one)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """One line of the log, to all."""
        self.begun = [one for one in self.begun if self._try(one, "figures", step, figures)]

    def end(self, failed: bool) -> None:
        """End all."""
        for one in self.begun:
            self._try(one, "end", failed)
        self.begun = []

    def _try(self, one: Tracker, method: str, *given: Any) -> bool:
        try:
            getattr(one, method)(*given)
        except (ConfigError, CheckpointError):
            raise
        except Exception as error:  # a service that is away, a full disk: the log has all figures
            what = f"{type(error).__name__}: {error}"
            _log.warning(f"tracker {type(one).__name__} raised {what:.300} in {method}; the run goes on without it")
            return False
        return True


def _library(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f'trainer.track needs a library that is not there ({error}): pip install "ofasys[{extra}]", or leave it out'
        ) from None


def _plain(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in _flat(inner, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
        return _flat({str(one["name"]): one for one in value}, path)
    return [(path, value if isinstance(value, str) else json.dumps(value, default=str))]
