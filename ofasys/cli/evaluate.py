"""`ofasys evaluate`: a run's best checkpoint on its own test rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ofasys.cli.document import shown
from ofasys.cli.runfile import RESOLVED, RunFile, read_run
from ofasys.cli.show import figure, note, say, table
from ofasys.errors import ConfigError, nearest
from ofasys.hub import OFASys
from ofasys.task.task import SPLITS


def evaluate(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    split: str | None = None,
    names: Sequence[str] = (),
    limit: int | None = None,
    file: Path | None = None,
    which: str | None = None,
    as_json: bool = False,
) -> None:
    """Print the figures of a run's tasks. split: default test where a task has one, else valid. file: a run file whose
    tasks stand for those of the run. which: "best" or "last" checkpoint; default the best."""
    if split is not None and split not in SPLITS:
        raise ConfigError(f"no split {split!r}; {nearest(split, SPLITS)}there are {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit is {limit}; it is 1 or more")
    answerer = OFASys.from_pretrained(folder, which=which)
    run = _run(folder, file, overrides)
    chosen = _chosen(run, names, split)
    trainer = run.trainer()
    found: dict[str, dict[str, float]] = {}
    cards = {card.name: card for card in answerer.cards}
    for name, part in chosen.items():
        task = run.tasks([name], [part])[0]
        if name in cards:
            task.restore_labels(cards[name].labels)
        found |= trainer.evaluate(model=answerer.model, tasks=[task], split=part, limit=limit)
    if as_json:
        say(json.dumps(found, ensure_ascii=False, indent=1))
        return
    rows = []
    for name, figures in found.items():
        metrics = "  ".join(f"{n} {figure(v)}" for n, v in figures.items() if n not in ("loss", "samples"))
        rows.append([name, chosen[name], figure(figures["samples"]), figure(figures["loss"]), metrics or "-"])
    table(("task", "split", "samples", "loss", "metrics"), rows, right=(2, 3))


def _run(folder: Path, file: Path | None, overrides: Sequence[str]) -> RunFile:
    path = file or folder / RESOLVED
    if file is None and not path.is_file():
        raise ConfigError(
            f"{shown(folder)} has no {RESOLVED}, so its tasks' rows are not known; give --file with a run file"
        )
    return read_run(path, overrides)


def _chosen(run: RunFile, names: Sequence[str], split: str | None) -> dict[str, str]:
    """Task -> the split to look at."""
    found = {}
    for name in names or run.names:
        if name not in run.names:
            raise ConfigError(
                f"no task {name!r} in this run; {nearest(name, run.names)}there are {', '.join(run.names)}"
            )
        have = _splits(run, name)
        part = split or next((s for s in ("test", "valid") if s in have), None)
        if part is None or part not in have:
            problem = (
                f"task {name!r} has no {part or 'test or valid'} rows in {shown(run.path)} "
                f"(it has: {', '.join(have) or 'none'})"
            )
            if names:
                raise ConfigError(
                    f"{problem}; give tasks.{name}.{part or 'test'}=PATH, or --file with a run file that has them"
                )
            note(f"left out: {problem}")
            continue
        found[name] = part
    if not found:
        raise ConfigError(
            "there is nothing to evaluate; give rows with tasks.NAME.test=PATH, or --file with a run file"
        )
    return found


def _splits(run: RunFile, name: str) -> list[str]:
    given = run.document.values["tasks"][name]
    if isinstance(given, dict):
        return [split for split in SPLITS if given.get(split) is not None]
    return list(run.tasks([name])[0].sources)
