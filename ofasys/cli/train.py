"""`ofasys train`: a run file in, a trained model and its folder out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofasys.cli.document import Place, parsed, read_document, shown
from ofasys.cli.runfile import RESOLVED, read_run, resolved
from ofasys.cli.show import figure, note, say, table
from ofasys.train import Trainer


def train(path: Path, overrides: Sequence[str], check: bool = False) -> None:
    """Train what a run file says. check: read and check everything, print the resolved run, train nothing."""
    run = read_run(path, overrides)
    tasks, trainer = run.tasks(), run.trainer()
    model = run.model()
    out = Path(trainer.out or "")
    text = resolved(run, tasks, model, trainer, out)
    if check:
        looked = trainer.check(model=model, tasks=tasks)
        say(text.rstrip("\n"))
        for one in looked:
            note(str(one))
        return
    step = last_step(out)
    if step is not None:
        note(_resuming(out, step, trainer, text))
    out.mkdir(parents=True, exist_ok=True)
    aside = out / f".{RESOLVED}.new"
    aside.write_text(text, encoding="utf8")
    aside.replace(out / RESOLVED)
    try:
        trainer.fit(model=model, tasks=tasks)
    except (KeyboardInterrupt, SystemExit):  # the latter where a signal asked for the end
        done = last_step(out)
        kept = f"the same command goes on from step {done}" if done is not None else "no checkpoint was written yet"
        note(f"stopped; {kept}")
        raise
    figures(out, run.names)
    say(f"the run is in {shown(out)}; next: ofasys evaluate {shown(out)}")


def last_step(out: Path) -> int | None:
    """The step of the last checkpoint of a run folder; None where there is none."""
    try:
        folder = json.loads((out / "checkpoints" / "last.json").read_text(encoding="utf8"))["folder"]
        return int(str(folder).rpartition("-")[2])
    except (OSError, ValueError, KeyError):
        return None


def _resuming(out: Path, step: int, trainer: Trainer, text: str) -> str:
    if step >= trainer.max_steps:
        return (
            f"{shown(out)} holds a run that is finished (step {step} of {trainer.max_steps}): nothing is left to train; "
            "raise trainer.max_steps, or give another trainer.out"
        )
    said = f"{shown(out)} holds a run: going on from step {step} of {trainer.max_steps}"
    if (out / RESOLVED).is_file():
        changed = _changes(read_document(out / RESOLVED).values, parsed(text, Place(RESOLVED, out)).values)
        said += "".join(f"\n  changed since: {line}" for line in changed)
    return said


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = dict(_flat(before)), dict(_flat(after))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key} {old.get(key)!r:.60} -> {new.get(key)!r:.60}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def log_lines(log: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's log; none where there is no log. A line that was cut off is left out."""
    if not log.is_file():
        return
    with log.open(encoding="utf8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def figures(out: Path, names: Sequence[str]) -> None:
    """A table of the last figures of each of these tasks, from metrics.jsonl."""
    last: dict[str, dict[str, dict[str, Any]]] = {}
    steps: dict[str, int] = {}
    for row in log_lines(out / "metrics.jsonl"):
        if row.get("task") is not None:
            last.setdefault(row["task"], {})[row["kind"]] = row
            steps[row["task"]] = row["step"]
    if not last:
        return
    rows = []
    for task in (name for name in names if name in last):
        kinds = last[task]
        train, valid = kinds.get("train", {}), kinds.get("valid", {})
        beside = ("kind", "step", "task", "loss", "samples")
        metrics = "  ".join(
            f"{n} {figure(v)}" for n, v in valid.items() if n not in beside and isinstance(v, (int, float))
        )
        losses = [figure(each["loss"]) if "loss" in each else "-" for each in (train, valid)]
        rows.append([task, str(steps[task]), *losses, metrics or "-"])
    table(("task", "step", "loss", "valid loss", "valid metrics"), rows, right=(1, 2, 3))
