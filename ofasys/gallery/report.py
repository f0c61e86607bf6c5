"""The demo's report: one file that needs nothing beside it, made of the sections of the pages that were run so far.

Each page writes its section beside its run, so that one can be run again without the others. What they made is heard,
seen and watched in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofasys.gallery.pages import folder
from ofasys.modality.shared import media
from ofasys.report import page as frame
from ofasys.report.history import History
from ofasys.report.plot import plot, shares

if TYPE_CHECKING:
    from ofasys.gallery.pages.page import Judged, Page

SECTION = "section.html"


def write_section(
    own: Path, page: Page, judged: Mapping[str, Judged], shown: str, about: Mapping[str, Any], run: Path
) -> Path:
    """Write own/section.html: what a page is about, its figures beside the trivial ones, its loss, its samples."""
    found = list(judged.values())
    lines = [
        f"<h2 id='{page.name}'>{media.text(page.title)}</h2><p>{media.text(page.about)}</p>",
        "".join(f"<p><code>{media.text(one.task.instructions[0])}</code></p>" for one in found),
        _table(found),
        f"<p class='muted'>{about['parameters'] / 1e6:.2f} M parameters, {about['steps']} steps, "
        f"{about['minutes']:.1f} minutes in all, seed {about['seed']}.</p>",
        shown,
        f"<details><summary>Loss while training</summary>{_plot(run, list(judged))}</details>",
    ]
    path = own / SECTION
    path.write_text("\n".join(lines), encoding="utf8")
    return path


def write_report(out: Path) -> Path:
    """Write out/report.html: the sections of all pages that were run so far, in the order they were first run in."""
    titles = {name: title for name, title in folder.titles(out).items() if _section(out, name).is_file()}
    links = "".join(f"<a href='#{name}'>{media.text(title)}</a>" for name, title in titles.items())
    parts = [
        f"{frame.head('ofasys demo')}<h1>ofasys demo</h1>",
        "<p class='muted'>A tiny model a page, trained from nothing within minutes.</p>",
        f"<nav>{links}</nav>" if len(titles) > 1 else "",
        *(_section(out, name).read_text(encoding="utf8") for name in titles),
        "</html>\n",
    ]
    path = out / "report.html"
    path.write_text("\n".join(parts), encoding="utf8")
    return path


def _section(out: Path, name: str) -> Path:
    return folder.of_page(out, name) / SECTION


def _table(found: Sequence[Judged]) -> str:
    rows = []
    for one in found:
        less = "" if one.higher_is_better else " (less is better)"
        figures = f"<b>{one.value:.3f}</b>", f"{one.baseline:.3f}", str(len(one.references))
        rows.append([media.text(one.task.name), media.text(one.metric) + less, *figures, media.text(one.baseline_kind)])
    return frame.figures(("task", "metric", "model", "trivial answer", "test rows", "trivial answer is"), rows)


def _plot(run: Path, names: Sequence[str]) -> str:
    """The loss of each task over its first, while training."""
    history = History.of(run)
    curves = {name: history.figures(name, "train").get("loss", []) for name in names}
    return plot("share of each task's first loss", shares(curves), width=1000, height=200, wide=True)
