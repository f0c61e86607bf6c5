"""`ofasys tasks`: the built-in tasks, or those of a run or of a saved model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofasys.cli.show import figure, say, table
from ofasys.errors import CheckpointError
from ofasys.hub.folder import log_lines

BESIDE = ("kind", "step", "task", "samples")  # of a line of the log, what is no figure


def built_in(as_json: bool = False) -> None:
    """Name, metric and instruction of the built-in tasks: those of every page of the demo, and those of the gallery,
    which `ofasys train gallery:NAME` trains on data that is fetched.
    """
    from ofasys.gallery.pages import MAIN, PAGES
    from ofasys.gallery.tasks import TASKS

    told = {line.name: (line.metric, line.instruction) for page in (MAIN, *PAGES) for line in page.lines}
    told |= {f"gallery:{task.name}": (task.metric, task.instructions[0]) for task in TASKS}
    if as_json:
        listed = {name: {"instruction": line, "metric": metric} for name, (metric, line) in told.items()}
        say(json.dumps(listed, ensure_ascii=False, indent=1))
        return
    table(("task", "metric", "instruction"), [[name, *found] for name, found in told.items()])


def of_run(folder: Path, as_json: bool = False, which: str | None = None) -> None:
    """What the tasks of a saved model are: lines, metrics, labels; of a run their rows and the figures of the
    checkpoint too.

    Errors: CheckpointError where no model is.
    """
    found = describe(folder, which)
    if as_json:
        say(json.dumps(found, ensure_ascii=False, indent=1))
        return
    rows = []
    for name, task in found.items():
        labels = ", ".join(f"{column}: {len(names):,}" for column, names in task["labels"].items())
        sizes = ", ".join(f"{split} {count:,}" for split, count in task["rows"].items())
        figures = "  ".join(f"{n} {figure(v)}" for n, v in task["figures"].items() if v is not None)
        for place, line in enumerate(task["instructions"]):
            first = place == 0
            rows.append(
                [
                    name if first else "",
                    ", ".join(task["metrics"]) or "-" if first else "",
                    labels or "-" if first else "",
                    sizes or "-" if first else "",
                    figures or "-" if first else "",
                    line,
                ]
            )
    table(("task", "metrics", "labels", "rows", "valid", "instruction"), rows)


def describe(folder: Path, which: str | None = None) -> dict[str, dict[str, Any]]:
    """Task -> its `instructions`, `metrics`, `labels`, `rows` by split, and the valid `figures` of the checkpoint."""
    from ofasys.hub.model import read_cards
    from ofasys.hub.ofa.open import is_original, model_place, opened
    from ofasys.hub.remote import place_of
    from ofasys.hub.store import read_folder

    folder = Path(place_of(folder)[0])
    place = model_place(folder, which)
    try:
        cards = opened(place).cards if is_original(place) else read_cards(read_folder(place, ["tasks.json"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{place} is not a saved model of this version: {error}") from None
    sizes = _sizes(folder / "run.json")
    step = place.name.rpartition("-")[2]
    figures = _figures(folder / "metrics.jsonl", int(step)) if step.isdigit() else {}
    return {
        card.name: {
            "instructions": list(card.instructions),
            "metrics": list(card.metrics),
            "labels": {column: list(names) for column, names in card.labels.items()},
            "rows": sizes.get(card.name, {}),
            "figures": figures.get(card.name, {}),
        }
        for card in cards
    }


def _figures(log: Path, step: int) -> dict[str, dict[str, Any]]:
    """Task -> its last valid figures up to a step."""
    found: dict[str, dict[str, Any]] = {}
    for _, line in log_lines(log):
        if line is not None and line.get("kind") == "valid" and line.get("task") is not None and line["step"] <= step:
            found[line["task"]] = {n: v for n, v in line.items() if n not in BESIDE and _is_figure(v)}
    return found


def _is_figure(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def _sizes(about: Path) -> dict[str, dict[str, int]]:
    """Task -> split -> rows, as the run had them; nothing where that is not written."""
    try:
        tasks = json.loads(about.read_text(encoding="utf8"))["tasks"]
        return {task["name"]: _counts(task) for task in tasks}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _counts(task: Mapping[str, Any]) -> dict[str, int]:
    return {"train": task["size"]} if isinstance(task.get("size"), int) else {}
