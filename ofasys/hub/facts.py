"""What is known of a saved model besides what it is: how it was trained, and how well it did. Its card says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from ofasys.errors import CheckpointError
from ofasys.hub.folder import log_lines, step_of
from ofasys.hub.store import MANIFEST, read_folder

FACTS = "facts.json"
_TOLD = ("max_steps", "seed", "optimizer", "lr", "schedule", "balance", "accumulate")  # settings that a card says
_BESIDE = ("kind", "step", "task", "samples")  # of a line of the log, what is no figure


@dataclass(frozen=True)
class Trivial:
    """The best score of answers that are given without looking at the question."""

    value: float
    """The score."""
    kind: str
    """Which answers they are: "most frequent", say."""
    rows: int | None = None
    """On how many of the rows it was measured, where the task has more. None: on all."""

    @property
    def measured(self) -> str:
        """Which answers they are, and on how many rows where that was not all."""
        return self.kind if self.rows is None else f"{self.kind}, on {self.rows:,} of the rows"


@dataclass(frozen=True)
class TaskFacts:
    """What is known of a task's data and scores."""

    rows: Mapping[str, int] = field(default_factory=dict)
    """Split -> how many rows."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Split -> the name of its data."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Figure -> its value; None for one that is no number."""
    split: str = "valid"
    """Which rows the scores are of."""
    samples: int | None = None
    """Rows that the scores are of. None: not known."""
    step: int | None = None
    """The update after which they were measured."""
    trivial: Mapping[str, Trivial] = field(default_factory=dict)
    """Figure -> what is had without looking at the question, where that is known."""


@dataclass(frozen=True)
class Facts:
    """What is known of a saved model; of one that was never a run's, nothing."""

    step: int | None = None
    """Updates until it was saved."""
    date: str = ""
    """The day on which it was saved, as 2026-01-31, in UTC."""
    trained: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """Settings of its run."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library -> version that trained it."""
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)
    """By name."""

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return asdict(self)

    @classmethod
    def of(cls, data: bytes) -> Facts:
        """The inverse of `to_dict`, of its JSON. Errors: CheckpointError for what is none."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(data, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise CheckpointError(
                f"{FACTS} cannot be read: {where}: {first['msg']}; the file was changed, use another copy"
            ) from None

    def with_trivial(self, found: Mapping[str, Mapping[str, Trivial]]) -> Facts:
        """With what is had without looking, task -> figure -> score."""
        tasks = {name: replace(self.tasks.get(name, TaskFacts()), trivial=own) for name, own in found.items()}
        return replace(self, tasks={**self.tasks, **tasks})


def facts_of(folder: Path, checkpoint: Path) -> Facts:
    """Of a run and its checkpoint, or of a saved model, which are one folder then; nothing where nothing is told.

    Errors: CheckpointError for a saved model whose facts were changed.
    """
    if folder == checkpoint:
        told = read_folder(folder, [FACTS])
        return Facts.of(told[FACTS]) if FACTS in told else Facts()
    number = checkpoint.name.rpartition("-")[2]
    step = int(number) if number.isdecimal() else step_of(folder, "last")
    about = _object(folder / "run.json")
    trainer, versions = (_mapping(about.get(name)) for name in ("trainer", "versions"))
    settings = {name: value for name in _TOLD if _plain(value := trainer.get(name))}
    named = {name: str(version) for name, version in versions.items()}
    return Facts(step, _day(checkpoint / MANIFEST), settings, named, _tasks(folder, about, step))


def _day(path: Path) -> str:
    """On which a file was written; of one that is gone, as where a run goes on, nothing."""
    try:
        return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"
    except OSError:
        return ""


def _tasks(folder: Path, about: Mapping[str, Any], step: int | None) -> dict[str, TaskFacts]:
    listed = about.get("tasks")
    lines = _valid_lines(folder / "metrics.jsonl", step)
    found = {}
    for task in listed if isinstance(listed, list) else ():
        name, size = _mapping(task).get("name"), _mapping(task).get("size")
        line = lines.get(str(name), {})
        found[str(name)] = TaskFacts(
            rows={"train": size} if isinstance(size, int) else {},
            data={split: str(told) for split, told in _mapping(_mapping(task).get("data")).items()},
            scores={key: _finite(value) for key, value in line.items() if key not in _BESIDE and _figure(value)},
            samples=int(line["samples"]) if isinstance(line.get("samples"), int | float) else None,
            step=line.get("step"),
        )
    return found


def _valid_lines(log: Path, step: int | None) -> dict[str, dict[str, Any]]:
    """Task -> its last line of validation up to a step."""
    found = {}
    for _, line in log_lines(log):
        if line is not None and line.get("kind") == "valid" and (step is None or line["step"] <= step):
            found[str(line.get("task"))] = line
    return found


def _figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _object(path: Path) -> Mapping[str, Any]:
    """A JSON object in a file; of a file that is missing or torn, nothing: a card says less then."""
    try:
        return _mapping(json.loads(path.read_text(encoding="utf8")))
    except (OSError, ValueError, RecursionError):
        return {}
