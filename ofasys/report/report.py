"""The report of a run: what was trained, its curves, its figures beside trivial ones, and rows with their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ofasys import flow
from ofasys.errors import CheckpointError, ConfigError, OfasysError, nearest
from ofasys.generalist import GeneralistModel
from ofasys.hub import OFASys
from ofasys.metric import larger_is_better
from ofasys.modality.shared import media
from ofasys.program.program import Program
from ofasys.report import classes, page
from ofasys.report.examples import cards
from ofasys.report.history import COUNTED, History
from ofasys.report.plot import plot, shares
from ofasys.report.trivial import trivial
from ofasys.task.task import SPLITS, Task
from ofasys.train.evaluate import Answered, answer_rows, classes_of, figures_of

LIMIT = 500  # rows of a task that are answered, unless more are asked for
REASONS = 3  # bad rows of a task that are told of
PICTURES = 8  # curves of a task that are open at once
INKS = {"train": "#0b7285", "valid": "#c92a2a"}
TOGETHER = 8  # tasks whose losses share a picture


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
    if split is not None and split not in SPLITS:
        raise ConfigError(f"no split {split!r}; {nearest(split, SPLITS)}there are {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; it is 1 or more")
    answerer, why = _answerer(history, which, list(given.values()))
    told = dict(missing or {})
    sections, summary = [], []
    for name in chosen:
        task, step = given.get(name), _step(history, which)
        reason = told.get(name) or why or (None if task else _UNKNOWN)
        known = None
        if task is not None and answerer is not None and reason is None:
            reason = None if _split(task, split) else f"the task has no {split or 'rows'}{' rows' if split else ''}"
        if task is not None and answerer is not None and reason is None:
            for card in answerer.cards:
                if card.name == name:
                    task.restore_labels(card.labels)
            known = Known(task, answerer.model, str(_split(task, split)), limit)
        section, row = _section(history, name, known, reason, step)
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


# --- the head ---------------------------------------------------------------------------------------------------------


def _head(history: History, title: str, which: str | None) -> str:
    trainer, model = history.trainer, history.model
    most = trainer.get("max_steps")
    best, last = history.checkpoint("best"), history.checkpoint("last")
    done = f"{history.step:,} of {most:,}" if isinstance(most, int) else f"{history.step:,}"
    if isinstance(most, int) and history.step < most:
        done += f" (ended early: {history.stopped})" if history.stopped else " (going on, or stopped)"
    facts = {
        "steps": done,
        "best step": "none: no checkpoint was chosen by validation" if best is None else f"{best:,} {history.best_by}",
        "answers by": _answers_by(which, best, last),
        "parameters": f"{model['parameters']:,}" if isinstance(model.get("parameters"), int) else None,
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


def _answers_by(which: str | None, best: int | None, last: int | None) -> str:
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


# --- a task -----------------------------------------------------------------------------------------------------------


def _section(
    history: History, name: str, known: Known | None, reason: str | None, step: int | None
) -> tuple[str, list[str]]:
    """HTML of a task, and its row in the table of all."""
    about = history.tasks.get(name, {})
    lines = list(about.get("instructions", ())) or ([str(i) for i in known.task.instructions] if known else [])
    parts = [f"<h2 id='{media.text(name)}'>{media.text(name)}</h2>"]
    parts += [f"<p><code>{media.text(line)}</code></p>" for line in lines]
    data = about.get("data")
    if isinstance(data, Mapping):
        told = ", ".join(f"{split}: {source}" for split, source in data.items())
        parts.append(f"<p class='muted'>{media.text(told)}</p>")
    parts.append(_bad(history, name))
    parts.append(_curves(history, name))
    row = [media.text(name), "", "", "", "", "", ""]
    if known is not None:
        try:
            row = _answered(known, parts)
        except OfasysError as error:  # what one task's rows are must not cost the report of the others
            reason, known = f"its rows could not be answered: {error}", None
    if known is None:
        parts += [f"<p class='bad'>{media.text(reason)}</p>", _of_log(history, name, step)]
        row = _log_row(history, name, step)
    return "\n".join(parts), row


def _bad(history: History, name: str) -> str:
    bad = history.bad(name)
    if not bad:
        return ""
    reasons = "".join(f"<li>{media.text(line.get('problem', ''))}</li>" for line in bad[:REASONS])
    more = f"<li>and {len(bad) - REASONS:,} more, in quarantine.jsonl</li>" if len(bad) > REASONS else ""
    return f"<p class='bad'>{len(bad):,} training rows were left out as bad:</p><ul class='bad'>{reasons}{more}</ul>"


def _curves(history: History, name: str) -> str:
    train, valid = history.figures(name, "train"), history.figures(name, "valid")
    best = history.checkpoint("best")
    drawn = {}
    for figure in dict.fromkeys(["loss", *valid, *train]):
        curves = {kind: own[figure] for kind, own in (("train", train), ("valid", valid)) if figure in own}
        if figure not in COUNTED and curves:
            drawn[figure] = plot(figure, curves, mark=best, colours=INKS)
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


def _answered(known: Known, parts: list[str]) -> list[str]:
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
        better = {True: "higher", False: "lower", None: ""}[larger_is_better(name, task.metrics)]
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
