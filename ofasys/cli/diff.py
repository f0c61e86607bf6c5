"""Where two runs part: settings, versions, code, rows, the first line of their logs, weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ofasys.cli.repeat import checksum, recorded
from ofasys.cli.show import say, table
from ofasys.errors import ConfigError, nearest
from ofasys.hub.folder import log_lines, step_of
from ofasys.train.record import RECORD

OF_A_CLOCK = ("tokens_per_second", "waiting")  # figures that differ each time
# Where a run is, and why it computes in what it does; `precision.name` says in what.
_NOT_COMPARED = ("trainer.out", "trainer.precision", "precision.why")
_SECTIONS = {"settings": ("trainer", "model", "tasks", "precision"), "made by": ("versions", "machine", "git")}
_ABSENT = "-"


def diff(one: Path, other: Path, as_json: bool = False) -> bool:
    """Print where two runs part; whether they do anywhere. Errors: ConfigError for a folder that holds no run."""
    found = parted(one, other)
    if as_json:
        say(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        _print(one, other, found)
    return any(found[name] for name in ("settings", "made by", "rows", "log")) or found["weights"] == "differ"


def parted(one: Path, other: Path) -> dict[str, Any]:
    """Section -> what differs, as {name: [of one, of other]}: "settings", "made by", "rows".

    "log": the first step whose lines differ, its kind, task, and its figures that do; None if none does. "weights":
    "same", "differ", or why they cannot be compared. Errors: ConfigError for a folder that holds no run.
    """
    records = [_record(folder) for folder in (one, other)]
    flat = [dict(_flat(record)) for record in records]
    found: dict[str, Any] = {}
    for name, heads in (*_SECTIONS.items(), ("rows", ("rows",))):
        own = [{k: v for k, v in each.items() if k.split(".")[0] in heads} for each in flat]
        found[name] = {
            key: [each.get(key, _ABSENT) for each in own]
            for key in dict.fromkeys([*own[0], *own[1]])
            if own[0].get(key, _ABSENT) != own[1].get(key, _ABSENT) and key not in _NOT_COMPARED
        }
    return found | {"log": _first_line(one, other), "weights": _weights(one, other)}


def _record(folder: Path) -> dict[str, Any]:
    found = recorded(folder)
    if not found:
        near = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
        hint = "" if folder.is_dir() else nearest(folder.name, near)
        raise ConfigError(f"{folder} holds no run: no {RECORD} that can be read; {hint}give the folder of a run")
    return found


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name -> plain value; tasks by their names."""
    if isinstance(value, list) and value and all(isinstance(one, dict) and "name" in one for one in value):
        value = {str(one["name"]): {k: v for k, v in one.items() if k != "name"} for one in value}
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _first_line(one: Path, other: Path) -> dict[str, Any] | None:
    """Where the logs part, but for figures of a clock; what only one of them has comes after what both have."""
    logs = [[line for _, line in log_lines(folder / "metrics.jsonl") if line is not None] for folder in (one, other)]
    for pair in zip_longest(*logs):
        lines = [{} if line is None else {k: v for k, v in line.items() if k not in OF_A_CLOCK} for line in pair]
        if lines[0] == lines[1]:
            continue
        there = next(line for line in lines if line)
        differ = [
            k for k in dict.fromkeys([*lines[0], *lines[1]]) if lines[0].get(k, _ABSENT) != lines[1].get(k, _ABSENT)
        ]
        figures = {k: [line.get(k, _ABSENT) for line in lines] for k in differ}
        return {"step": there["step"], "kind": there.get("kind"), "task": there.get("task"), "figures": figures}
    return None


def _weights(one: Path, other: Path) -> str:
    steps = [step_of(folder, "last") for folder in (one, other)]
    if None in steps or steps[0] != steps[1]:
        said = ["none" if step is None else f"of step {step}" for step in steps]
        return f"not comparable: the last checkpoints are {said[0]} and {said[1]}"
    sums = [checksum(folder) for folder in (one, other)]
    return "same" if sums[0] is not None and sums[0] == sums[1] else "differ"


def _print(one: Path, other: Path, found: Mapping[str, Any]) -> None:
    for name in ("settings", "made by", "rows"):
        if found[name]:
            table((name, str(one), str(other)), [[key, *map(_short, values)] for key, values in found[name].items()])
            say()
        else:
            say(f"{name}: the same")
    if (log := found["log"]) is None:
        say("log: the same")
    else:
        task = f" of task {log['task']}" if log["task"] else ""
        rows = [[key, *map(_short, values)] for key, values in log["figures"].items()]
        table((f"log parts at step {log['step']}, {log['kind']}{task}", str(one), str(other)), rows)
        say()
    say(f"weights: {found['weights'].replace('same', 'the same, bit for bit')}")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
