"""What the folder of a run tells of itself, whether it is finished, still going on or torn: settings, figures, bad
rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError
from ofasys.hub.folder import log_lines, step_of
from ofasys.hub.store import MANIFEST

Line = Mapping[str, Any]
Points = list[tuple[int, float | None]]

COUNTED = ("samples", "tokens_per_second", "useful", "waiting", "lr", "bad")  # figures of a line that judge nothing


@dataclass(frozen=True)
class History:
    """A run's folder as it was read."""

    folder: Path
    about: Mapping[str, Any]
    """Of `run.json`."""
    lines: Sequence[Line]
    """Of `metrics.jsonl`."""
    quarantined: Sequence[Line]
    """Of `quarantine.jsonl`."""
    torn: int
    """Lines of the two that are none."""

    @classmethod
    def of(cls, folder: str | Path) -> History:
        """Errors: ConfigError for a folder that holds no run."""
        folder = Path(folder)
        about = read_object(folder / "run.json")
        lines, torn = _lines(folder / "metrics.jsonl")
        bad, more = _lines(folder / "quarantine.jsonl")
        if not about and not lines:
            raise ConfigError(
                f"{folder} holds no run (there is neither run.json nor metrics.jsonl); give the folder a Trainer wrote "
                "to"
            )
        return cls(folder, about, lines, bad, torn + more)

    @property
    def saved(self) -> bool:
        """Whether the folder is that of a saved model, beside which lies what its run told."""
        return (self.folder / MANIFEST).is_file()

    @cached_property
    def tasks(self) -> dict[str, Mapping[str, Any]]:
        """Name -> what run.json says of it; of a task that only the log knows, nothing."""
        listed = [task for task in self.about.get("tasks", ()) if isinstance(task, Mapping) and "name" in task]
        found: dict[str, Mapping[str, Any]] = {str(task["name"]): task for task in listed}
        for line in self.lines:
            if isinstance(line.get("task"), str):
                found.setdefault(line["task"], {})
        return found

    @property
    def trainer(self) -> Mapping[str, Any]:
        """The settings of training."""
        found = self.about.get("trainer", {})
        return found if isinstance(found, Mapping) else {}

    @property
    def model(self) -> Mapping[str, Any]:
        """Size, seed and parameters of the model."""
        found = self.about.get("model", {})
        return found if isinstance(found, Mapping) else {}

    @property
    def precision(self) -> str | None:
        """What it computes in, and why."""
        found = self.about.get("precision")
        return (
            f"{found.get('name')}: {found.get('why')}" if isinstance(found, Mapping) else self.trainer.get("precision")
        )

    @property
    def step(self) -> int:
        """The last step that the log or a checkpoint tells of."""
        return max([int(line["step"]) for line in self.lines] + [self.checkpoint(n) or 0 for n in ("best", "last")])

    @property
    def written(self) -> datetime | None:
        """When the log was last written to; None of a saved model, beside which lies a copy."""
        path = self.folder / "metrics.jsonl"
        if self.saved:
            return None
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.is_file() else None

    @property
    def minutes(self) -> float | None:
        """From the beginning of the run, or of its last going on, to its last line; None where the files do not
        tell.
        """
        begun = self.folder / "run.json"
        if self.written is None or not begun.is_file():
            return None
        spent = (self.written.timestamp() - begun.stat().st_mtime) / 60
        return spent if spent > 0 else None

    def checkpoint(self, name: str) -> int | None:
        """The step of the checkpoint "best" or "last"; None if there is none."""
        return step_of(self.folder, name)

    @property
    def stopped(self) -> str:
        """Why the run ended early, if it did."""
        stopped = self._state.get("stopped")
        return str(stopped.get("why", "")) if isinstance(stopped, Mapping) else ""

    @property
    def _state(self) -> Mapping[str, Any]:
        """What the last checkpoint keeps of the run."""
        last = str(read_object(self.folder / "checkpoints" / "last.json").get("folder", ""))
        return read_object(self.folder / "checkpoints" / last / "state.json") if last else {}

    @property
    def best_by(self) -> str:
        """What the best checkpoint was chosen by, in words."""
        best = self._state.get("best")
        if not isinstance(best, Mapping):
            return ""
        told = {name: value for name, value in best.items() if isinstance(value, int | float)}
        name, value = next(iter(told.items()), ("", 0.0))
        by = self.trainer.get("best") or name
        return f"by {by} ({value:.4g})" if name else ""

    def figures(self, task: str, kind: str) -> dict[str, Points]:
        """Figure -> (step, value) in the order of the log; a value that is no finite number is None."""
        found: dict[str, Points] = {}
        for line in self.lines:
            if line.get("task") == task and line["kind"] == kind:
                for name, value in line.items():
                    if name not in ("kind", "step", "task") and (value is None or _number(value)):
                        found.setdefault(name, []).append((int(line["step"]), value))
        return found

    def at(self, task: str, kind: str, step: int | None) -> Line | None:
        """The line of a step, or the last if there is none of it."""
        own = [line for line in self.lines if line.get("task") == task and line["kind"] == kind]
        return next((line for line in reversed(own) if line["step"] == step), own[-1] if own else None)

    def classes(self, task: str, step: int | None) -> dict[str, Line]:
        """Column -> the line of what its labels are taken for, of a step or the last."""
        own = [line for line in self.lines if line.get("task") == task and line["kind"] == "classes"]
        there = [line for line in own if line["step"] == step] or own
        return {str(line.get("column")): line for line in there}

    def bad(self, task: str) -> list[Line]:
        """The rows of a task that could not be used."""
        return [line for line in self.quarantined if line.get("task") == task]


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object in a file; of a file that is missing or torn, nothing."""
    try:
        found = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> tuple[list[Line], int]:
    """The lines of a log that can be read, and how many cannot, as the last of a run that was killed."""
    read = [line for _, line in log_lines(path)]
    found: list[Line] = [{"kind": "", **line} for line in read if line is not None]
    return found, len(read) - len(found)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
