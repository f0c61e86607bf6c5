"""What a run was, written beside it: `run.json`, what has changed since, and the history that its log holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofasys.generalist import GeneralistModel
from ofasys.hub.folder import log_lines
from ofasys.task.task import Task
from ofasys.train.groups import read_rules
from ofasys.train.provenance import provenance
from ofasys.train.track import names
from ofasys.types import TaskCard

if TYPE_CHECKING:
    from ofasys.train.trainer import Trainer

RECORD = "run.json"
_UNTOLD = {
    "out",
    "device",
    "track",
    "workers",
    "async_save",
    "keep_checkpoints",
    "save_every",
    "save_minutes",
    "log_every",
    "plans",
    "size",
    "shard",
}


def card_of(task: Task) -> TaskCard:
    """What a saved model remembers of a task."""
    return TaskCard(
        name=task.name,
        instructions=tuple(map(str, task.instructions)),
        settings=task.settings,
        labels={name: list(labels) for name, labels in task.labels.items()},
        generate=asdict(task.generate),
        metrics=tuple(metric.name for metric in task.metrics),
        origin=task.origin,
        licence=task.licence,
    )


def about(trainer: Trainer, model: GeneralistModel, tasks: Sequence[Task], max_steps: int) -> dict[str, Any]:
    """A run as JSON. max_steps: as many as it has, also where the trainer counts in epochs."""
    apart = ("history", "live", "foretell")
    settings = {f: v for f, v in vars(trainer).items() if f not in apart} | {"max_steps": max_steps}
    for name in ("schedule", "balance"):
        if not isinstance(settings[name], str | Mapping):
            settings[name] = repr(settings[name])
    settings |= {"optimizer": trainer.optimizer_spec.name, "lr": trainer.peak}
    settings["groups"] = [rule.to_dict() for rule in read_rules(trainer.groups)]
    settings["track"] = names(trainer.track)
    settings["out"] = str(settings["out"])
    settings["callbacks"] = [one.name or type(one).__name__ for one in trainer.callbacks]
    size = {"size": model.size, "seed": model.seed, "config": model.engine_spec.written(model.config)}
    size["origins"] = model.origins()
    found = [
        {
            **asdict(card_of(task)),
            "plans": [p.fingerprint for p in task.plans],
            "data": {split: source.describe() for split, source in task.sources.items()},
            **asdict(task.entry()),
            **{"join": task.join, "leave": task.leave},
            **{
                name: getattr(task, name)
                for name in ("on_bad", "bad_limit", "smoothing", "shuffle", "buckets", "batch_by")
            },
        }
        for task in tasks
    ]
    return {
        "trainer": settings,
        "model": size | {"parameters": model.parameters_count},
        "tasks": found,
        **provenance(model.device),
    }


def changes(out: Path, now: Mapping[str, Any]) -> list[str]:
    """What the run in `out` was asked and is asked now, where it differs: "trainer.lr 0.001 -> 0.009"."""
    try:
        before = json.loads((out / RECORD).read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError):  # nothing rests on it
        return []
    old, new = dict(_flat(before)), dict(_flat(json.loads(json.dumps(now))))
    there, here = _names(before), _names(now)
    turnover = [f"task {name!r} is new" for name in sorted(here - there)]
    turnover += [f"task {name!r} is not trained any more" for name in sorted(there - here)]
    told = [f"{key} {old[key]!r:.60} -> {new[key]!r:.60}" for key in new if key in old and old[key] != new[key]]
    return turnover + told


def recorded(out: Path | None) -> Any:
    """What a run that was begun in `out`, and may have ended before its first checkpoint, computes in."""
    try:
        return None if out is None else json.loads((out / RECORD).read_text(encoding="utf8")).get("precision")
    except (OSError, ValueError, RecursionError, AttributeError):  # measured anew then
        return None


def history(out: Path) -> list[dict[str, Any]]:
    """The lines of training and validation that the log in `out` holds, as `Trainer.history` has them."""
    rows = (row for _, row in log_lines(out / "metrics.jsonl") if row is not None)
    told = (row for row in rows if row.get("kind") in ("train", "valid"))
    return [{name: nan if value is None else value for name, value in row.items()} for row in told]


def _names(record: Any) -> set[str]:
    tasks = record.get("tasks") if isinstance(record, Mapping) else None
    return {str(task.get("name")) for task in tasks if isinstance(task, dict)} if isinstance(tasks, list) else set()


def _flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items() if isinstance(values, Mapping) else ():
        if not prefix and key == "tasks" and isinstance(value, list):
            named = {str(task.get("name")): task for task in value if isinstance(task, dict)}
            found += _flat(named, "tasks.")
        elif not prefix and key != "trainer":
            continue
        elif isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif key not in _UNTOLD:
            found.append((f"{prefix}{key}", value))
    return found
