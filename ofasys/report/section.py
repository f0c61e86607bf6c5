"""A task in the report of its run: its curves, its figures beside trivial ones, and rows with their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ofasys import flow
from ofasys.errors import OfasysError
from ofasys.generalist import GeneralistModel
from ofasys.modality.shared import media
from ofasys.program.program import Program
from ofasys.report import classes, page
from ofasys.report.examples import cards
from ofasys.report.history import COUNTED, History
from ofasys.report.plot import plot
from ofasys.report.trivial import trivial
from ofasys.task.task import Task
from ofasys.train.evaluate import Answered, answer_rows, classes_of, figures_of

REASONS = 3  # bad rows of a task that are told of
PICTURES = 8  # curves of a task that are open at once
INKS = {"train": "#0b7285", "valid": "#c92a2a"}


@dataclass(frozen=True)
class Known:
    """A task whose rows can be answered."""

    task: Task
    model: GeneralistModel
    """Which answers them."""
    split: str
    """Which rows."""
    limit: int | None
    """So many of them at most. None: all."""


def section_of(history: History, name: str, known: Known | str, step: int | None) -> tuple[str, list[str]]:
    """HTML of a task, and its row in the table of all. known: what answers its rows, or why they cannot be answered.

    step: of the checkpoint whose figures of the log stand where no row is answered.
    """
    about = history.tasks.get(name, {})
    lines = list(about.get("instructions", ()))
    if not lines and isinstance(known, Known):
        lines = [str(line) for line in known.task.instructions]
    parts = [f"<h2 id='{media.text(name)}'>{media.text(name)}</h2>"]
    parts += [f"<p><code>{media.text(line)}</code></p>" for line in lines]
    data = about.get("data")
    if isinstance(data, Mapping):
        told = ", ".join(f"{split}: {source}" for split, source in data.items())
        parts.append(f"<p class='muted'>{media.text(told)}</p>")
    parts.append(_bad(history, name))
    parts.append(curves(history, name))
    if isinstance(known, Known):
        try:
            row = answers(known, parts)
            return "\n".join(parts), row
        except OfasysError as error:  # what one task's rows are must not cost the report of the others
            known = f"its rows could not be answered: {error}"
    parts += [f"<p class='bad'>{media.text(known)}</p>", _of_log(history, name, step)]
    return "\n".join(parts), _log_row(history, name, step)


def _bad(history: History, name: str) -> str:
    bad = history.bad(name)
    if not bad:
        return ""
    reasons = "".join(f"<li>{media.text(line.get('problem', ''))}</li>" for line in bad[:REASONS])
    more = f"<li>and {len(bad) - REASONS:,} more, in quarantine.jsonl</li>" if len(bad) > REASONS else ""
    return f"<p class='bad'>{len(bad):,} training rows were left out as bad:</p><ul class='bad'>{reasons}{more}</ul>"


def curves(history: History, name: str) -> str:
    """HTML of a task's curves, those of the loss and of what is validated first."""
    train, valid = history.figures(name, "train"), history.figures(name, "valid")
    best = history.checkpoint("best")
    drawn = {}
    for figure in dict.fromkeys(["loss", *valid, *train]):
        found = {kind: own[figure] for kind, own in (("train", train), ("valid", valid)) if figure in own}
        if figure not in COUNTED and found:
            drawn[figure] = plot(figure, found, mark=best, colours=INKS)
    if not drawn:
        return "<p class='muted'>The log has no figures of this task.</p>"
    shown = [figure for figure in drawn if figure == "loss" or figure in valid][:PICTURES]
    rest = [drawn[figure] for figure in drawn if figure not in shown]
    folded = (
        f"<details><summary>{len(rest)} more curve{'s' if len(rest) > 1 else ''}</summary>{media.row(rest)}</details>"
        if rest
        else ""
    )
    note = "<p class='muted'>Curves over the steps; the last value is beside the name, the best step dashed.</p>"
    return f"<h3>Curves</h3>{media.row([drawn[figure] for figure in shown])}{note}{folded}"


def answers(known: Known, parts: list[str]) -> list[str]:
    """Add figures, labels and examples of the rows to the parts; and give the task's row in the table of all."""
    task, split = known.task, known.split
    program = flow.bind(known.model, task.plan, task.labels)
    answered = answer_rows(known.model, task, split, program, 32, known.limit, stop=False)
    total = len(task.source(split))
    count = f"{len(answered.rows):,} of {total:,} {split} rows"
    count += ", evenly spread" if known.limit is not None and known.limit < total else ""
    note = " These are rows it was trained on: they tell nothing of rows it has not seen." if split == "train" else ""
    parts.append(f"<h3>Figures</h3><p class='muted'>On {count}.{note}</p>")
    if not answered.rows:
        parts.append(cards(task, program, answered, split))
        return [media.text(task.name), "", "no row could be read", "", "0", split, ""]
    row = _figures(task, program, answered, split, parts)
    for column, confusion in classes_of(program, answered).items():
        parts.append(f"<h3>Labels of {media.text(column)}</h3>{classes.of_confusion(confusion)}")
    parts.append(f"<h3>Answers</h3>{cards(task, program, answered, split)}")
    return row


def _figures(task: Task, program: Program, answered: Answered, split: str, parts: list[str]) -> list[str]:
    try:
        figures = figures_of(task, split, program, answered)
    except Exception as error:  # a metric may be of one's own
        said = error if isinstance(error, OfasysError) else f"a metric failed: {type(error).__name__}: {error}"
        parts.append(f"<p class='bad'>{media.text(said)}</p>")
        return [media.text(task.name), "", "an error", "", f"{len(answered.rows):,}", split, ""]
    found = {metric.main: trivial(task, program, metric, answered, split) for metric in task.metrics}
    rows = []
    for name, value in figures.items():
        if name == "samples":
            continue
        other = found.get(name)
        better = {True: "higher", False: "lower", None: ""}[task.larger_is_better(name)]
        without = (page.number(other.value), other.kind) if other else ("", "")
        rows.append([media.text(name), better, f"<b>{page.number(value)}</b>", *without])
    parts.append(page.figures(("figure", "better", "model", "trivial answer", "trivial answer is"), rows))
    if not task.metrics:
        return [media.text(task.name), "loss", page.number(figures["loss"]), "", f"{len(answered.rows):,}", split, ""]
    main = task.metrics[0].main
    first = found[main]
    without = (page.number(first.value), first.kind) if first else ("", "")
    model = f"<b>{page.number(figures[main])}</b>"
    return [media.text(task.name), media.text(main), model, without[0], f"{len(answered.rows):,}", split, without[1]]


def _of_log(history: History, name: str, step: int | None) -> str:
    """The figures of the log at the best step, or the last."""
    line = history.at(name, "valid", step) or history.at(name, "train", None)
    if line is None:
        return ""
    rows = [
        [media.text(figure), f"<b>{_told(value)}</b>"]
        for figure, value in line.items()
        if figure not in ("kind", "step", "task", "waiting", "useful", "tokens_per_second")
    ]
    rows_said = "valid rows" if line["kind"] == "valid" else "training batches"
    made = f"<h3>Figures</h3><p class='muted'>Of the log: {rows_said}, step {line['step']:,}.</p>"
    made += page.figures(("figure", "model"), rows)
    for column, one in history.classes(name, int(line["step"])).items():
        made += f"<h3>Labels of {media.text(column)}</h3>{classes.of_line(one)}"
    return made


def _log_row(history: History, name: str, step: int | None) -> list[str]:
    line = history.at(name, "valid", step) or history.at(name, "train", None)
    if line is None:
        return [media.text(name), "", "", "", "", "", ""]
    others = [figure for figure in line if figure not in ("kind", "step", "task", "loss", *COUNTED)]
    figure = others[0] if others and line["kind"] == "valid" else "loss"
    rows = _told(line.get("samples"))
    return [
        media.text(name),
        media.text(figure),
        f"<b>{_told(line.get(figure))}</b>",
        "",
        rows,
        f"{line['kind']} (log)",
        "",
    ]


def _told(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none" if value is None else media.text(value)
    return page.number(value) if math.isfinite(value) else "none"
