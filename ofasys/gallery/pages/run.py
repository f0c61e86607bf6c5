"""Running pages: each trains its own tiny model for a bounded time, is judged, saved, loaded and asked; one report
shows all.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofasys.errors import ConfigError, nearest
from ofasys.gallery.pages.page import Asked, Page, Shown

if TYPE_CHECKING:
    from ofasys.generalist import GeneralistModel
    from ofasys.task.task import Task

MAIN_MINUTES = 4.0  # the training of the main demo beside the pages
WARM_STEPS, PROBE_STEPS = 8, 12

Say = Callable[[str], None]


@dataclass(frozen=True)
class Training:
    """What `begin` found: a model that is not trained yet, with its vocabulary and what its slots fit; how many steps;
    how long one takes.
    """

    model: GeneralistModel
    steps: int
    seconds_a_step: float
    """As measured."""


def run_all(out: str | Path = "runs/demo", minutes: float | None = None, seed: int = 0, say: Say = print) -> Path:
    """The main demo and every page, in one report; its path. minutes: in all, shared as by default; 13 or so if
    None.
    """
    from ofasys.gallery.demo import run_demo
    from ofasys.gallery.pages import PAGES

    of_pages = sum(page.minutes for page in PAGES)
    factor = 1.0 if minutes is None else minutes / (MAIN_MINUTES + of_pages)
    make_way(out)
    run_demo(out, MAIN_MINUTES * factor, seed, say)
    return run_pages(out, of_pages * factor, seed, say)


def run_pages(
    out: str | Path = "runs/demo",
    minutes: float | None = None,
    seed: int = 0,
    say: Say = print,
    names: Sequence[str] = (),
    *,
    steps: int | None = None,
) -> Path:
    """Run pages (all, or those named) and add them to the report in `out`; its path.

    minutes: for all of them together, shared as by default. steps: instead of as many as fit, so many, on as little
    data as will do: a test. A page that lacks a library is left out, and `say` told what to install. Errors:
    ConfigError for an unknown page, for a folder that holds something else, and if every page lacks something.
    """
    from ofasys.gallery.report import write_pages

    pages = chosen(names)
    out = Path(out)
    if out.exists() and any(out.iterdir()) and not _is_demo(out):
        raise ConfigError(f"{out} holds something that is not of an earlier demo; give a new folder: --out FOLDER")
    sentences = {page.name: page.lacks() for page in pages}
    able = [page for page in pages if sentences[page.name] is None]
    if not able:
        raise ConfigError("; ".join(str(sentence) for sentence in sentences.values()))
    out.mkdir(parents=True, exist_ok=True)
    _note(out, "", {}, {})  # from here on the folder is known as a demo's
    factor = 1.0 if minutes is None else minutes / sum(page.minutes for page in pages)
    for page in pages:
        if sentence := sentences[page.name]:
            say(f"left out: {sentence}")
            continue
        seconds = 60 * page.minutes * factor
        say(f"page {page.name}: {page.title[0].lower()}{page.title[1:]}; about {seconds:.0f} seconds")
        run_page(page, out, seconds, seed, say, steps)
        write_pages(out)
    return out / "report.html"


def chosen(names: Sequence[str]) -> list[Page]:
    """The pages of these names, in their own order; all for no names. Errors: ConfigError for one that is not known."""
    from ofasys.gallery.pages import PAGES

    known = {page.name: page for page in PAGES}
    for name in names:
        if name not in known:
            raise ConfigError(f"no page {name!r}; {nearest(name, known)}there are {', '.join(known)}")
    return [page for page in PAGES if not names or page.name in names]


def make_way(out: str | Path) -> None:
    """Take away an earlier report that holds pages alone, which the main demo would not know as its own."""
    out = Path(out)
    if out.is_dir() and not (out / "run.json").exists() and _is_demo(out):
        shutil.rmtree(out / "pages", ignore_errors=True)
        for name in ("report.json", "report.html"):
            (out / name).unlink(missing_ok=True)


def run_page(page: Page, out: Path, seconds: float, seed: int, say: Say, steps: int | None = None) -> None:
    """One page: its run in out/pages/NAME, its figures in out/report.json."""
    from ofasys.gallery.pages.judge import judge
    from ofasys.gallery.report import write_section
    from ofasys.hub import OFASys
    from ofasys.train import Trainer

    began = time.monotonic()
    folder = out / "pages" / page.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tasks = list(page.tasks(Asked(folder, seed, brief=steps is not None)))
    training = begin(page, tasks, began + seconds * page.share, seed, steps)
    model = training.model
    Trainer(
        max_steps=training.steps,
        out=folder / "run",
        lr=page.lr,
        log_every=max(1, training.steps // 40),
        seed=seed,
    ).fit(model=model, tasks=tasks)
    say(f"  trained {training.steps} steps in {time.monotonic() - began:.0f} s; answering the test rows")
    loaded = OFASys.from_pretrained(folder / "run", which="last")
    judged = {task.name: judge(loaded.model, task, seed) for task in tasks}
    for name, found in judged.items():
        say(
            f"  {name:17} {found.metric:17} {found.value:.3f}   baseline {found.baseline:.3f} ({found.baseline_kind})"
            f"{'' if found.higher_is_better else '   less is better'}"
        )
    _say_one(loaded, tasks[0], say)
    shown = page.show(Shown(judged, loaded, folder))
    about = {
        "parameters": model.parameters_count,
        "steps": training.steps,
        "minutes": round((time.monotonic() - began) / 60, 2),
        "seed": seed,
    }
    write_section(folder, page, judged, shown, about)
    _note(out, page.name, {name: found.summary() for name, found in judged.items()}, about)


def begin(page: Page, tasks: Sequence[Task], until: float, seed: int, steps: int | None = None) -> Training:
    """A model ready to be trained, and the steps that fit until then (of `time.monotonic`).

    They are timed on a model that is thrown away; what it learned before training (tokenizers, statistics) is handed
    on.
    """
    from ofasys.generalist import GeneralistModel
    from ofasys.train import Trainer

    probe = GeneralistModel(size="tiny", seed=seed, text_pieces=page.text_pieces)
    warm = WARM_STEPS if steps is None else 0  # the first rows of a page take longer than the others
    Trainer(max_steps=len(tasks) + warm, warmup=1, live=False).fit(model=probe, tasks=tasks)
    seconds = 0.0
    if steps is None:
        began = time.monotonic()
        Trainer(max_steps=PROBE_STEPS, warmup=1, live=False).fit(model=probe, tasks=tasks)
        seconds = (time.monotonic() - began) / PROBE_STEPS
        steps = max(2 * len(tasks), math.floor((until - time.monotonic()) / seconds))
    model = GeneralistModel(size="tiny", seed=seed, text_pieces=page.text_pieces)
    model.tokenizer, model.fitted = probe.tokenizer, dict(probe.fitted)
    return Training(model, steps, seconds)


def _say_one(model: Any, task: Task, say: Say) -> None:
    """One test row, asked as a user would."""
    row = task.source("test")[0]
    answer = model.inference(str(task.instructions[0]), data={s.column: row[s.column] for s in task.plan.on("source")})
    said = ", ".join(repr(row[s.column]) for s in task.plan.on("source") if isinstance(row[s.column], str))
    value = answer[task.plan.answered[-1].column]
    shown = f"a picture of {value.width} x {value.height}" if hasattr(value, "getpixel") else str(value)[:100]
    say(f"  asked: {task.instructions[0]}{f' with {said}' if said else ''} -> {shown}")


def _note(out: Path, name: str, tasks: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    report = {"tasks": {}, "pages": {}} | _report(out)
    report["tasks"] |= tasks
    report["pages"] |= {name: {**about, "tasks": list(tasks)}} if about else {}
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf8")


def _is_demo(out: Path) -> bool:
    return (out / "run.json").is_file() or "pages" in _report(out)


def _report(out: Path) -> dict[str, Any]:
    try:
        found = json.loads((out / "report.json").read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
