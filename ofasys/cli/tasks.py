"""`ofasys tasks`: the built-in tasks, or those of a run or of a saved model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ofasys.cli.show import figure, say, table
from ofasys.errors import CheckpointError


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
    """What the tasks of a saved model are: lines, metrics, labels; and where they are known their rows, and the figures
    of the checkpoint.

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
    """Task -> its `instructions`, `metrics`, `labels`, and where they are known its `rows` by split and the valid
    `figures` of the checkpoint.
    """
    from ofasys.hub.facts import Facts, TaskFacts, facts_of
    from ofasys.hub.folder import as_path
    from ofasys.hub.model import read_cards
    from ofasys.hub.ofa.open import is_original, model_place, opened
    from ofasys.hub.remote import place_of
    from ofasys.hub.store import read_folder

    folder = Path(place_of(folder)[0])
    place = model_place(folder, which)
    original = is_original(place)
    try:
        cards = opened(place).cards if original else read_cards(read_folder(place, ["tasks.json"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{place} is not a saved model of this version: {error}") from None
    known = Facts() if original else facts_of(as_path(folder), place)
    told = {card.name: known.tasks.get(card.name, TaskFacts()) for card in cards}
    return {
        card.name: {
            "instructions": list(card.instructions),
            "metrics": list(card.metrics),
            "labels": {column: list(names) for column, names in card.labels.items()},
            "rows": dict(told[card.name].rows),
            "figures": dict(told[card.name].scores),
        }
        for card in cards
    }
