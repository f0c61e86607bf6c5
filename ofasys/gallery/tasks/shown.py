"""What the site shows of a task beside its page: rows of its data, and what a trained model answers, as HTML.

Both are made where the site is built, of what was fetched and trained there; none of it is part of the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, OfasysError
from ofasys.gallery.data import is_fetched
from ofasys.gallery.tasks.run import gallery_task
from ofasys.gallery.tasks.task import GalleryTask
from ofasys.modality.shared import media
from ofasys.report.examples import Canvas
from ofasys.report.history import History
from ofasys.report.section import Known, answers, curves
from ofasys.task.task import Task

ROWS = 6  # of a task that are shown
ANSWERED = 100  # test rows that a trained model answers


def shown_rows(task: GalleryTask) -> str:
    """Some test rows, evenly spread, each value as its modality shows it; or what has to be fetched or installed first.

    Errors: DataError for a package that is not whole.
    """
    lacking = [one for one in task.records if not is_fetched(one)]
    if lacking:
        names = ", ".join(one.title for one in lacking)
        return _note(f"Not shown: {names} was not fetched where this site was built; ofasys data fetch {task.name}")
    try:
        made = gallery_task(task.name)
    except ConfigError as error:  # a library is missing
        return _note(f"Not shown: {error}")
    source = made.source("test")
    cards = [_card(made, source[number], source.root) for number in media.spread(len(source), ROWS)]
    whose = "; ".join(f"{one.attribution} ({one.licence})" for one in task.records) or "made by rule"
    return f"{media.row(cards)}<p class='muted'>{media.text(whose)}</p>"


def _card(task: Task, row: Mapping[str, Any], root: Path | None) -> str:
    canvas = Canvas(task.plan, row, root, task.modalities)
    parts = []
    for slot, html in canvas.truth():
        arrow = "" if slot.side == "source" else "→ "
        parts.append(f"<span class='muted'>{arrow}{media.text(slot.column)}</span><br>{html}")
    return media.card(*parts)


def shown_answers(task: GalleryTask, runs: Path) -> str:
    """Figures, curves and answers, right and wrong, of the newest run of a folder that learned the task; or that none
    did.
    """
    run = newest_run(task.name, runs)
    if run is None:
        return _note(f"Not shown: no run had learned it where this site was built; ofasys train gallery:{task.name}")
    try:
        return _answered(task, run)
    except OfasysError as error:  # a run that was cut short, or rows that are gone
        return _note(f"Not shown: the answers of the run {run.folder.name} cannot be had: {error}")


def newest_run(name: str, runs: Path) -> History | None:
    """The run of a task of the gallery that was last written to: of the task alone if there is one, else of several."""
    found = []
    for about in sorted(runs.glob("gallery-*/run.json")):
        try:
            history = History.of(about.parent)
        except ConfigError:
            continue  # another program's folder
        if name in history.tasks and history.checkpoint("last") is not None:
            found.append(history)
    return max(
        found, key=lambda one: (len(one.tasks) == 1, one.written is not None and one.written.timestamp()), default=None
    )


def _answered(task: GalleryTask, run: History) -> str:
    from ofasys.hub import OFASys

    made = gallery_task(task.name)
    answerer = OFASys.from_pretrained(run.folder)
    for card in answerer.cards:
        if card.name == task.name:
            made.restore_labels(card.labels)
    parts = [_about(run)]
    answers(Known(made, answerer.model, "test", ANSWERED), parts)
    parts.append(f"<details><summary>Curves of training</summary>{curves(run, task.name)}</details>")
    return "\n".join(parts)


def _about(run: History) -> str:
    with_others = f" on {len(run.tasks)} tasks together" if len(run.tasks) > 1 else ""
    parameters, written = run.model.get("parameters"), run.written
    facts = [
        f"{run.model.get('size', 'a')} model",
        f"{parameters:,} parameters" if isinstance(parameters, int) else "",
        f"{run.step:,} steps{with_others}",
        f"seed {run.trainer.get('seed', 0)}",
        "" if run.minutes is None else f"{run.minutes:.1f} minutes",
        "" if written is None else f"{written:%Y-%m-%d}",
    ]
    return f"<p>{media.text('; '.join(fact for fact in facts if fact))}.</p>"


def _note(sentence: str) -> str:
    return f"<p class='muted'>{media.text(sentence)}.</p>"
