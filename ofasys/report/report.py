"""The report of a run: what was trained, its curves, its figures beside trivial ones, and rows with their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ofasys.errors import CheckpointError, ConfigError, nearest
from ofasys.hub import OFASys
from ofasys.modality.shared import media
from ofasys.report import page
from ofasys.report.history import History
from ofasys.report.plot import plot, shares
from ofasys.report.section import Known, section_of
from ofasys.task.task import SPLITS, Task

LIMIT = 500  # rows of a task that are answered, unless more are asked for
TOGETHER = 8  # tasks whose losses share a picture


def write_report(
    run: str | Path,
    tasks: Sequence[Task] | Task = (),
    *,
    out: str | Path | None = None,
    split: str | None = None,
    limit: int | None = LIMIT,
    which: str | None = None,
    names: Sequence[str] = (),
    missing: Mapping[str, str] | None = None,
) -> Path:
    """Write the report of a run, finished or not, as one HTML file that needs nothing beside it; its path.

    run: the folder a Trainer wrote to. tasks: those whose rows are to be answered, with their data, as they were
    trained; of others the page has what the log tells. out: the file; RUN/report.html if None. split: train, valid or
    test; of each task the first it has of test, valid, train. limit: rows of a task, evenly spread; None: all. which:
    "best" or "last" checkpoint; the best if there is one. names: only these tasks. missing: task -> why its rows are
    not known. Errors: ConfigError for a folder without a run and for unknown names.
    """
    history = History.of(run)
    given = {task.name: task for task in ([tasks] if isinstance(tasks, Task) else tasks)}
    chosen = _chosen(history, given, names)
    _check(split, limit)
    answerer, why = _answerer(history, which, list(given.values()))
    told, step = dict(missing or {}), _step(history, which)
    sections, summary = [], []
    for name in chosen:
        known = _known(given.get(name), answerer, told.get(name) or why, split, limit)
        section, row = section_of(history, name, known, step)
        sections.append(section)
        summary.append(row)
    path = Path(out) if out is not None else history.folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    title = history.folder.resolve().name
    whole = [page.head(title), _head(history, title, which), _summary(summary), _links(chosen)]
    whole += [_together(history, chosen), *sections, "</html>\n"]
    path.write_text("\n".join(whole), encoding="utf8", errors="replace")
    return path


_UNKNOWN = (
    "the rows of this task are not known here, so these are the figures of the log alone; give its run file "
    "(ofasys report RUN --file RUNFILE), or the tasks themselves (write_report(run, tasks))"
)


def _chosen(history: History, given: Mapping[str, Task], names: Sequence[str]) -> list[str]:
    known = [*history.tasks, *(name for name in given if name not in history.tasks)]
    for name in names:
        if name not in known:
            raise ConfigError(f"no task {name!r} in this run; {nearest(name, known)}there are {', '.join(known)}")
    return [name for name in known if not names or name in names]


def _answerer(history: History, which: str | None, tasks: Sequence[Task]) -> tuple[OFASys | None, str | None]:
    """The model, and why there is none. Errors: CheckpointError where one was asked for by name."""
    modalities = next((task.modalities for task in tasks if task.modalities is not None), None)
    try:
        answerer = OFASys.from_pretrained(history.folder, which=which, modalities=modalities)
    except CheckpointError as error:
        if which is not None:
            raise
        return None, f"no row is answered, for there is no checkpoint that can be read: {error}"
    answerer.model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return answerer, None


def _check(split: str | None, limit: int | None) -> None:
    if split is not None and split not in SPLITS:
        raise ConfigError(f"no split {split!r}; {nearest(split, SPLITS)}there are {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; it is 1 or more")


def _known(
    task: Task | None, answerer: OFASys | None, reason: str | None, split: str | None, limit: int | None
) -> Known | str:
    """What answers the task's rows; or why they cannot be answered, such as the reason that is given."""
    if task is None or answerer is None or reason is not None:
        return reason or _UNKNOWN
    own = _split(task, split)
    if own is None:
        return f"the task has no {split or 'rows'}{' rows' if split else ''}"
    for card in answerer.cards:
        if card.name == task.name:
            task.restore_labels(card.labels)
    return Known(task, answerer.model, own, limit)


def _split(task: Task, asked: str | None) -> str | None:
    if asked is not None:
        return asked if asked in task.sources else None
    return next((split for split in ("test", "valid", "train") if split in task.sources), None)


def _step(history: History, which: str | None) -> int | None:
    """The step of the checkpoint that answers."""
    if which is not None:
        return history.checkpoint(which)
    best = history.checkpoint("best")
    return best if best is not None else history.checkpoint("last")


def _head(history: History, title: str, which: str | None) -> str:
    trainer, model = history.trainer, history.model
    most = trainer.get("max_steps")
    best, last = history.checkpoint("best"), history.checkpoint("last")
    done = f"{history.step:,} of {most:,}" if isinstance(most, int) else f"{history.step:,}"
    if isinstance(most, int) and history.step < most:
        done += f" (ended early: {history.stopped})" if history.stopped else " (going on, or stopped)"
    facts = {
        "steps": done,
        "best step": _best(best, history),
        "answers by": _answers_by(which, best, last, history.saved),
        "parameters": f"{model['parameters']:,}" if isinstance(model.get("parameters"), int) else None,
        "weights": str(model["origins"]).replace("\n", "; ") if model.get("origins") else None,
        "size": model.get("size"),
        "seed": trainer.get("seed"),
        "device": trainer.get("device"),
        "precision": history.precision,
        "learning rate": trainer.get("lr"),
        "minutes": None if history.minutes is None else f"{history.minutes:.1f}, since it was last begun",
        "last written": None if history.written is None else f"{history.written:%Y-%m-%d %H:%M} UTC",
        "torn lines": f"{history.torn} of the log could not be read and are left out" if history.torn else None,
    }
    rows = [[name, str(value)] for name, value in facts.items() if value is not None]
    return f"<h1>{media.text(title)}</h1>{media.table((), rows)}"


def _best(best: int | None, history: History) -> str | None:
    if best is None:
        return None if history.saved else "none: no checkpoint was chosen by validation"
    return f"{best:,} {history.best_by}"


def _answers_by(which: str | None, best: int | None, last: int | None, saved: bool) -> str:
    if saved and which is None:
        return "the model of this folder"
    name = which or ("best" if best is not None else "last")
    step = best if name == "best" else last
    return f"the {name} checkpoint, step {step:,}" if step is not None else "none: there is no checkpoint"


def _summary(rows: Sequence[Sequence[str]]) -> str:
    heads = ("task", "metric", "model", "trivial answer", "rows", "split", "trivial answer is")
    return page.figures(heads, rows)


def _links(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    links = "".join(f"<a href='#{media.text(name)}'>{media.text(name)}</a>" for name in names)
    return f"<nav>{links}</nav>"


def _together(history: History, names: Sequence[str]) -> str:
    curves = {name: history.figures(name, "train").get("loss", []) for name in names}
    curves = {name: points for name, points in curves.items() if points}
    if not 1 < len(curves) <= TOGETHER:
        return ""
    return plot("training loss over its first value", shares(curves), width=1000, height=260, wide=True)
