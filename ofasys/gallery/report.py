"""The demo's report: one file that needs nothing beside it. A table, the loss curves, and pictures with the answers.

Below them the pages of `ofasys demo --all`, if there are some: each writes its section beside its run, and the report
holds all that there are. What they made is heard, seen and watched in place.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofasys.modality.box.draw import draw
from ofasys.modality.shared import media
from ofasys.modality.shared.read_image import read_image
from ofasys.report import page
from ofasys.report.history import History
from ofasys.report.plot import plot, shares
from ofasys.task.task import Task

if TYPE_CHECKING:
    from ofasys.gallery.pages.judge import Judged
    from ofasys.gallery.pages.page import Page

SHOWN = 10
SCALE = 3
# Between these the pages stand, so that one page can be run again without the others.
FROM, UPTO = "<!-- pages -->", "<!-- end of pages -->"
HEAD = page.head("ofasys demo")


def write_report(
    out: Path, tasks: Sequence[Task], found: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any]
) -> Path:
    """Write out/report.html. found: per task its figures and `answers`, pairs (prediction, truth) in test order."""
    parts = [
        f"{HEAD}<h1>One model, {len(tasks)} tasks</h1>",
        f"<p class='muted'>{summary['parameters'] / 1e6:.2f} M parameters, {summary['steps']} steps,"
        f" {summary['minutes']:.1f} minutes in all, seed {summary['seed']}. Each task is one line:</p>",
        _table(tasks, found),
        "<h2>Loss while training</h2>",
        _plot(out, tasks),
    ]
    for task in tasks:
        parts.append(
            f"<h2>{html.escape(task.name.replace('_', ' '))}</h2><code>{html.escape(str(task.instructions[0]))}</code>"
        )
        parts.append("<div class='row'>")
        answers = found[task.name]["answers"]
        count = min(SHOWN, len(answers))
        for i in (j * len(answers) // count for j in range(count)):
            parts.append(_figure(task, task.source("test")[i], *answers[i]))
        parts.append("</div>")
    parts.append(
        "<p class='muted'>Boxes: the answer in solid colours, the truth in grey. Pictures are from the test sets. "
        f"Drawings: Noto Emoji (Apache-2.0) and Fluent Emoji (MIT).</p>{FROM}{UPTO}</html>"
    )
    path = out / "report.html"
    path.write_text("\n".join(parts), encoding="utf8")
    return path


def write_section(
    folder: Path, section: Page, judged: Mapping[str, Judged], shown: str, about: Mapping[str, Any]
) -> Path:
    """Write folder/section.html: what a page is about, its figures beside the trivial ones, its loss, its samples."""
    found = {name: one.summary() for name, one in judged.items()}
    tasks = [one.task for one in judged.values()]
    lines = [
        f"<h2 id='{section.name}'>{html.escape(section.title)}</h2><p>{html.escape(section.about)}</p>",
        "".join(f"<p><code>{html.escape(str(task.instructions[0]))}</code></p>" for task in tasks),
        _table(tasks, found),
        f"<p class='muted'>{about['parameters'] / 1e6:.2f} M parameters, {about['steps']} steps, "
        f"{about['minutes']:.1f} minutes in all, seed {about['seed']}.</p>",
        shown,
        f"<details><summary>Loss while training</summary>{_plot(folder / 'run', tasks, height=200)}</details>",
    ]
    path = folder / "section.html"
    path.write_text("\n".join(lines), encoding="utf8")
    return path


def write_pages(out: Path) -> Path:
    """Put the sections of all pages that were run so far into out/report.html; what else it holds stays."""
    from ofasys.gallery.pages import PAGES

    path = out / "report.html"
    report = path.read_text(encoding="utf8") if path.is_file() else ""
    if FROM not in report or UPTO not in report:
        report = f"{HEAD}<h1>A model a page</h1>{FROM}{UPTO}</html>"
    before, after = report.split(FROM)[0], report.split(UPTO)[-1]
    there = [(one, out / "pages" / one.name / "section.html") for one in PAGES]
    there = [(one, section) for one, section in there if section.is_file()]
    links = "".join(f"<a href='#{one.name}'>{html.escape(one.title)}</a>" for one, _ in there)
    sections = "\n".join(section.read_text(encoding="utf8") for _, section in there)
    intro = "<p class='muted'>A tiny model each, trained for about a minute, from nothing.</p>"
    path.write_text(f"{before}{FROM}<nav>{links}</nav>{intro}{sections}{UPTO}{after}", encoding="utf8")
    return path


def _table(tasks: Sequence[Task], found: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for task in tasks:
        r = found[task.name]
        less = "" if r.get("higher_is_better", True) else " (less is better)"
        figures = f"<b>{r['value']:.3f}</b>", f"{r['baseline']:.3f}", str(r["test_samples"])
        rows.append([media.text(task.name), media.text(r["metric"]) + less, *figures, media.text(r["baseline_kind"])])
    return page.figures(("task", "metric", "model", "trivial answer", "test rows", "trivial answer is"), rows)


def _figure(task: Task, row: Mapping[str, Any], prediction: Mapping[str, Any], truth: Mapping[str, Any]) -> str:
    image = read_image(row["img"])
    boxes_of = {slot.column: slot for slot in task.plan.slots if slot.modality == "BOX"}
    text = [slot.column for slot in task.plan.on("target") if slot.modality != "BOX"]
    grey: list[Any] = []
    solid: list[Any] = []
    labels: list[str] = []
    for column, slot in boxes_of.items():
        if slot.side == "source":
            solid = [row[column]]
        else:
            grey = truth[column] if slot.group is not None else [truth[column]]
            solid = prediction[column] if slot.group is not None else [prediction[column]]
            labels = prediction[text[0]] if slot.group is not None and text else []
    picture = draw(image, grey, scale=SCALE, colours=("#adb5bd",))
    picture = draw(picture, [[c * SCALE for c in box] for box in solid], labels)
    asked = [str(row[s.column]) for s in task.plan.on("source") if s.value == "text"]
    lines = [f"<span class='muted'>{html.escape(' '.join(asked))}</span>"] if asked else []
    for column in text:
        right = prediction[column] == truth[column]
        lines.append(f"<span class='{'right' if right else 'wrong'}'>{media.text(prediction[column])}</span>")
        if not right:
            lines.append(f"<span class='muted'>truth: {media.text(truth[column])}</span>")
    return f"<figure>{media.picture(picture, picture.width)}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _plot(folder: Path, tasks: Sequence[Task], height: int = 300) -> str:
    """The loss of each task over its first, while training."""
    history = History.of(folder)
    curves = {task.name: history.figures(task.name, "train").get("loss", []) for task in tasks}
    return plot("share of each task's first loss", shares(curves), width=1000, height=height, wide=True)
