"""The demo's report: one file that needs nothing beside it. A table, the loss curves, and pictures with the answers.

Below them the pages of `ofasys demo --all`, if there are some: each writes its section beside its run, and the report
holds all that there are. What they made is heard, seen and watched in place.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ofasys.modality.box.draw import draw
from ofasys.modality.shared.read_image import read_image
from ofasys.task.task import Task

if TYPE_CHECKING:
    from ofasys.gallery.pages.judge import Judged
    from ofasys.gallery.pages.page import Page

SHOWN = 10
SCALE = 3
COLOURS = ("#0b7285", "#c92a2a", "#5f3dc4", "#e67700", "#2b8a3e", "#364fc7", "#a61e4d", "#495057")

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #212529; max-width: 1080px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem }
code { background: #f1f3f5; padding: .15em .4em; border-radius: 4px; font-size: .92em }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .35rem .9rem; text-align: right; border-bottom: 1px solid #dee2e6 }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2), td:last-child, th:last-child { text-align: left }
.row { display: flex; flex-wrap: wrap; gap: 14px; margin-top: .6rem }
figure { margin: 0; width: 192px } figure img { width: 192px; height: 192px; border: 1px solid #dee2e6; border-radius: 6px; image-rendering: auto }
figcaption { font-size: .82rem; line-height: 1.35; margin-top: .25rem; overflow-wrap: anywhere }
.right { color: #2b8a3e } .wrong { color: #c92a2a } .muted { color: #868e96 }
.card { font-size: .82rem; line-height: 1.5; width: 232px; border: 1px solid #dee2e6; border-radius: 6px; padding: .5rem .6rem; overflow-wrap: anywhere }
.card.pair { width: 322px } .card.wide { width: 486px } .card.wide code { white-space: pre-wrap }
.card audio { width: 100%; height: 32px; margin-top: .2rem } .card img { border-radius: 4px; margin-right: 6px } .pixels { image-rendering: pixelated }
table.data { font-size: .82rem; margin: .3rem 0 } table.data td, table.data th { text-align: left; padding: .15rem .6rem }
table.board { border: 2px solid #495057; margin: .3rem 0; display: inline-table; margin-right: 7px }
table.board td { width: 1.38rem; height: 1.38rem; padding: 0; text-align: center !important; border: 1px solid #adb5bd }
table.board td.edge-right { border-right: 2px solid #495057 } table.board td.edge-below { border-bottom: 2px solid #495057 }
nav { margin: 2.4rem 0 0; border-top: 3px solid #dee2e6; padding-top: 1rem } nav a { margin-right: .9rem }
"""
# Between these the pages stand, so that one page can be run again without the others.
FROM, UPTO = "<!-- pages -->", "<!-- end of pages -->"
HEAD = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>ofasys demo</title><style>{STYLE}</style>"


def write_report(
    out: Path, tasks: Sequence[Task], found: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any]
) -> Path:
    """Write out/report.html. found: per task its figures and `answers`, pairs (prediction, truth) in test order."""
    curves = _curves(out / "metrics.jsonl")
    parts = [
        f"{HEAD}<h1>One model, {len(tasks)} tasks</h1>",
        f"<p class='muted'>{summary['parameters'] / 1e6:.2f} M parameters, {summary['steps']} steps,"
        f" {summary['minutes']:.1f} minutes in all, seed {summary['seed']}. Each task is one line:</p>",
        _table(tasks, found),
        "<h2>Loss while training</h2>",
        _plot(curves),
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


def write_section(folder: Path, page: Page, judged: Mapping[str, Judged], shown: str, about: Mapping[str, Any]) -> Path:
    """Write folder/section.html: what a page is about, its figures beside the trivial ones, its loss, its samples."""
    found = {name: one.summary() for name, one in judged.items()}
    tasks = [one.task for one in judged.values()]
    lines = [
        f"<h2 id='{page.name}'>{html.escape(page.title)}</h2><p>{html.escape(page.about)}</p>",
        "".join(f"<p><code>{html.escape(str(task.instructions[0]))}</code></p>" for task in tasks),
        _table(tasks, found),
        f"<p class='muted'>{about['parameters'] / 1e6:.2f} M parameters, {about['steps']} steps, "
        f"{about['minutes']:.1f} minutes in all, seed {about['seed']}.</p>",
        shown,
        "<details><summary>Loss while training</summary>"
        f"{_plot(_curves(folder / 'run' / 'metrics.jsonl'), height=200)}</details>",
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
    there = [(page, out / "pages" / page.name / "section.html") for page in PAGES]
    there = [(page, section) for page, section in there if section.is_file()]
    links = "".join(f"<a href='#{page.name}'>{html.escape(page.title)}</a>" for page, _ in there)
    sections = "\n".join(section.read_text(encoding="utf8") for _, section in there)
    intro = "<p class='muted'>A tiny model each, trained for about a minute, from nothing.</p>"
    path.write_text(f"{before}{FROM}<nav>{links}</nav>{intro}{sections}{UPTO}{after}", encoding="utf8")
    return path


def _table(tasks: Sequence[Task], found: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        "<table><tr><th>task</th><th>metric</th><th>model</th><th>trivial answer</th><th>test rows</th><th>trivial answer is</th></tr>"
    ]
    for task in tasks:
        r = found[task.name]
        less = "" if r.get("higher_is_better", True) else " (less is better)"
        rows.append(
            f"<tr><td>{html.escape(task.name)}</td><td>{html.escape(r['metric'])}{less}</td><td><b>{r['value']:.3f}</b></td>"
            f"<td>{r['baseline']:.3f}</td><td>{r['test_samples']}</td><td>{html.escape(r['baseline_kind'])}</td></tr>"
        )
    return "".join(rows) + "</table>"


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
        lines.append(f"<span class='{'right' if right else 'wrong'}'>{html.escape(_shown(prediction[column]))}</span>")
        if not right:
            lines.append(f"<span class='muted'>truth: {html.escape(_shown(truth[column]))}</span>")
    return f"<figure><img alt='' src='{_data_url(picture)}'><figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for line in path.read_text(encoding="utf8").splitlines():
        entry = json.loads(line)
        if entry["kind"] == "train":
            curves.setdefault(entry["task"], []).append((entry["step"], entry["loss"]))
    return curves


def _plot(curves: Mapping[str, Sequence[tuple[int, float]]], width: int = 1000, height: int = 300) -> str:
    """The curves as SVG, each over its own first value, so that tasks of different scales share one picture."""
    last = max((points[-1][0] for points in curves.values()), default=1)
    left, bottom = 46, 28
    lines = [f"<svg viewBox='0 0 {width} {height}' style='width:100%;font-size:12px'>"]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = 10 + (1 - share) * (height - bottom - 10)
        lines.append(f"<line x1='{left}' x2='{width - 150}' y1='{y:.0f}' y2='{y:.0f}' stroke='#e9ecef'/>")
        lines.append(f"<text x='{left - 6}' y='{y + 4:.0f}' text-anchor='end' fill='#868e96'>{share:.0%}</text>")
    for i, (name, points) in enumerate(curves.items()):
        first = points[0][1] or 1.0
        at = [
            (left + step / last * (width - 150 - left), 10 + (1 - min(value / first, 1.0)) * (height - bottom - 10))
            for step, value in points
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        colour = COLOURS[i % len(COLOURS)]
        lines.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        lines.append(
            f"<text x='{width - 142}' y='{24 + 20 * i}' fill='{colour}'>{html.escape(name)} {points[-1][1]:.2f}</text>"
        )
    lines.append(f"<text x='{left}' y='{height - 6}' fill='#868e96'>step 0</text>")
    lines.append(f"<text x='{width - 150}' y='{height - 6}' text-anchor='end' fill='#868e96'>step {last}</text>")
    return (
        "".join(lines) + "</svg><p class='muted'>Share of each task's first loss; the last value is in the legend.</p>"
    )
