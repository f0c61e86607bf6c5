"""What a proof has decided and found, in a folder: `plan.json`, once, and a line of `results.jsonl` for each unit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.generalist.suite import digest, entries, recipe, suite
from ofasys.errors import ConfigError

PLAN, RESULTS = "plan.json", "results.jsonl"
WAYS = ("precision", "optimizer", "lr", "schedule", "accumulate", "balance", "clip")  # what `Trainer` is given


@dataclass(frozen=True)
class Cost:
    """What a task costs here, measured before anything is planned."""

    seconds: float
    """Of a micro-batch in training."""
    answer: float
    """Seconds of a test row."""
    tokens: float
    """Stream positions of a micro-batch, both sides together."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run. Of one plan all figures compare."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    size: str
    parts: tuple[str, ...]
    steps: int
    """Micro-batches of each task in the first part."""
    test: int
    """Test rows of a task at most, by a fixed hash."""
    schedule: str
    balance: str = "sum"
    """How tasks of one update share its step, of the generalist."""
    accumulate: int = 1
    """Micro-batches in an update, of models of several tasks: no more than they have tasks."""
    clip: float = 1.0
    """The longest gradient of an update, of the generalist: below it a task weighs as its gradient is long."""
    precision: str
    optimizer: str = "adamw"
    """Of all models."""
    lr: float | None = None
    """The highest learning rate, of all models. None: the optimizer's own."""
    text_pieces: int
    """Of the generalist's tokenizer; a specialist has what its own recipe says, at most."""
    costs: Mapping[str, Cost]
    budget: float = 0.0
    """Minutes that the steps were made of; 0: they were given."""
    suite: str = field(default="")
    """Of the list, so that figures of another are not mixed in."""

    @property
    def options(self) -> str:
        """How models are trained, as on the command line."""
        names = ("size", *WAYS, "text-pieces", "test")
        told = {name: getattr(self, name.replace("-", "_")) for name in names}
        return " ".join(f"--{name} {value}" for name, value in told.items() if value is not None)

    def cost(self, name: str) -> Cost:
        """Of a task, or of the whole of which it is a part."""
        instead = {other: own for own, other in suite()["scaling"]["instead"].items()}
        return self.costs[instead.get(name, name)]


def listed(tasks: tuple[str, ...]) -> str:
    """The digest of all that a plan of these tasks depends on in the list, and in the gallery."""
    found = suite()
    every = [*entries(tasks), *found["variant"], *found["probe"]]
    return digest(
        [every, found["scaling"], found["published"], sorted(map(recipe, {entry["from"] for entry in every}))]
    )


def write_whole(path: Path, value: Any) -> None:
    """JSON that is there whole, or not at all."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(json.dumps(value, indent=1), encoding="utf8")
    aside.replace(path)


def save_plan(folder: Path, plan: Plan) -> None:
    write_whole(folder / PLAN, asdict(plan))


def load_plan(folder: Path) -> Plan | None:
    """The plan of a state folder. Errors: ConfigError for one of another list."""
    if not (folder / PLAN).is_file():
        return None
    told = json.loads((folder / PLAN).read_text(encoding="utf8"))
    told |= {name: tuple(told[name]) for name in ("tasks", "seeds", "parts")}
    told["costs"] = {name: Cost(**cost) for name, cost in told["costs"].items()}
    plan = Plan(**told)
    if plan.suite != listed(plan.tasks):
        raise ConfigError(
            f"{folder / PLAN} is of another list of tasks than suite.toml is now, and their figures do not compare; "
            "give another --state, or the list as it was"
        )
    return plan


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Key of a unit -> its line. A last line that was cut off is as if it were not there."""
    path, found = folder / RESULTS, dict[str, dict[str, Any]]()
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        found[one["key"]] = one
    return found


def add_result(folder: Path, line: Mapping[str, Any]) -> None:
    """On the disk before this returns; a line that was cut off before stays a line of its own."""
    path = folder / RESULTS
    with path.open("ab+") as file:
        file.seek(0, os.SEEK_END)
        torn = False
        if file.tell():
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
        file.write((b"\n" if torn else b"") + json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
