"""Running pages: each trains its own tiny model for a bounded time, is judged, saved, loaded, asked and shown.

This is the only way a page is run, the main one of the demo too.
"""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofasys.errors import ConfigError
from ofasys.gallery.pages import folder
from ofasys.gallery.pages.page import Asked, Judged, Page, Shown

if TYPE_CHECKING:
    from ofasys.generalist import GeneralistModel
    from ofasys.hub import OFASys
    from ofasys.task.task import Task

WARM_STEPS = 8  # before steps are timed: the first rows of a page take longer than the others
PROBE_STEPS = 4  # of each task, that are timed; 12 at least
EVALUATIONS = 4  # of a run whose tasks have valid rows
EVALUATED = 64  # valid rows

Say = Callable[[str], None]


@dataclass(frozen=True)
class Training:
    """How a page is trained, found before."""

    model: GeneralistModel
    """Not trained yet, with its vocabulary and what its slots fit."""
    steps: int
    """How many it will take."""


def run_each(
    pages: Sequence[Page],
    out: str | Path,
    minutes: float | None = None,
    seed: int = 0,
    say: Say = print,
    *,
    anew: bool = False,
    steps: int | None = None,
) -> Path:
    """Run pages and add them to the report in `out`; its path.

    minutes: for all of them together, shared as by default. say: is told what happens; of a page that lacks a library
    and is left out, what to install. anew: instead of what an earlier demo left there. steps: instead of as many as
    fit, so many, on as little data as will do: a test.

    Errors: ConfigError for no page or no time, for a folder that holds something else, and if every page lacks
    something.
    """
    from ofasys.gallery.report import write_report

    out, sentences = Path(out), {page.name: page.lacks() for page in pages}
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"minutes is {minutes:g}; it is more than 0")
    if not pages:
        raise ConfigError("there is no page to run; give one at least")
    if all(sentences.values()):
        raise ConfigError("; ".join(map(str, sentences.values())))
    folder.prepare(out, anew=anew)
    factor = 1.0 if minutes is None else minutes / sum(page.minutes for page in pages)
    for page in pages:
        if sentence := sentences[page.name]:
            say(f"left out: {sentence}")
            continue
        seconds = 60 * page.minutes * factor
        long = f"about {seconds:.0f} seconds" if steps is None else f"{steps} steps on a few rows"
        say(f"page {page.name}: {page.title[0].lower()}{page.title[1:]}; {long}")
        run_page(page, out, seconds, seed, say, steps)
        write_report(out)
    return out / "report.html"


def run_page(page: Page, out: Path, seconds: float, seed: int, say: Say, steps: int | None = None) -> None:
    """Train, evaluate, draw, write: the page's run, its section of the report, its figures in report.json."""
    from ofasys.gallery.pages.judge import judge
    from ofasys.gallery.report import write_section
    from ofasys.hub import OFASys
    from ofasys.hub.examples import write_examples

    began, own = time.monotonic(), folder.of_page(out, page.name)
    run = out if page.at_root else own / "run"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    tasks = list(page.tasks(Asked(own, seed, brief=steps is not None)))
    training = begin(page, tasks, began + seconds * page.share, seed, steps)
    _train(page, tasks, training, run, seed)
    write_examples(run, tasks)
    say(f"  trained {training.steps} steps in {time.monotonic() - began:.0f} s; answering the test rows")
    loaded = OFASys.from_pretrained(run, which="last")
    judged = {task.name: judge(loaded.model, task, seed, page.judging) for task in tasks}
    _say_figures(judged, say)
    for found in judged.values():
        _say_one(loaded, found, say)
    shown = page.show(Shown(judged, loaded))
    about = {
        "title": page.title,
        "parameters": training.model.parameters_count,
        "steps": training.steps,
        "minutes": round((time.monotonic() - began) / 60, 2),
        "seed": seed,
    }
    write_section(own, page, judged, shown, about, run)
    folder.note(out, page.name, {name: found.summary() for name, found in judged.items()}, about)


def begin(page: Page, tasks: Sequence[Task], until: float, seed: int, steps: int | None = None) -> Training:
    """A model ready to be trained, and the steps that fit until then (of `time.monotonic`), or those that are given.

    They are timed on a model that is thrown away; what it learned before training (tokenizers, statistics) is handed
    on.
    """
    from ofasys.generalist import GeneralistModel
    from ofasys.train import Trainer

    probe = GeneralistModel(size="tiny", seed=seed, text_pieces=page.text_pieces)
    timed = _without_valid(tasks)  # an evaluation is no step
    warm = WARM_STEPS if steps is None else 0
    way: dict[str, Any] = {"warmup": 1, "optimizer": page.optimizer, "live": False}
    Trainer(max_steps=len(tasks) + warm, **way).fit(model=probe, tasks=timed)
    if steps is None:
        many, began = max(12, PROBE_STEPS * len(tasks)), time.monotonic()
        Trainer(max_steps=many, **way).fit(model=probe, tasks=timed)
        seconds = (time.monotonic() - began) / many
        steps = max(2 * len(tasks), math.floor((until - time.monotonic()) / seconds))
    model = GeneralistModel(size="tiny", seed=seed, text_pieces=page.text_pieces)
    model.tokenizer, model.fitted = probe.tokenizer, dict(probe.fitted)
    return Training(model, steps)


def _train(page: Page, tasks: Sequence[Task], training: Training, run: Path, seed: int) -> None:
    from ofasys.train import Trainer

    steps = training.steps
    valid = any("valid" in task.sources for task in tasks)
    Trainer(
        max_steps=steps,
        out=run,
        lr=page.lr,
        optimizer=page.optimizer,
        eval_every=math.ceil(steps / EVALUATIONS) if valid else 0,
        eval_samples=EVALUATED,
        log_every=max(1, steps // 40),
        seed=seed,
    ).fit(model=training.model, tasks=tasks)


def _without_valid(tasks: Sequence[Task]) -> list[Task]:
    found = [copy.copy(task) for task in tasks]
    for task in found:
        task.sources = {"train": task.sources["train"]}
    return found


def _say_figures(judged: Mapping[str, Judged], say: Say) -> None:
    for name, found in judged.items():
        say(
            f"  {name:17} {found.metric:17} {found.value:.3f}   baseline {found.baseline:.3f} ({found.baseline_kind})"
            f"{'' if found.higher_is_better else '   less is better'}"
        )


def _say_one(model: OFASys, judged: Judged, say: Say) -> None:
    """The first test row, asked as a user would; of the answer, what the task is judged by."""
    from ofasys.task.task import metric_columns

    task, row, true = judged.task, judged.rows[0], judged.references[0]
    answer: Any = model.inference(
        str(task.instructions[0]), data={s.column: row[s.column] for s in task.plan.on("source") if s.column in row}
    )
    said = ", ".join(repr(row[s.column]) for s in task.plan.on("source") if s.value == "text" and s.column in row)
    columns = metric_columns(task.metrics[0], task.plan)
    shown, truth = (" and ".join(_in_words(values.get(column)) for column in columns) for values in (answer, true))
    say(f"  asked: {task.instructions[0]}{f' with {said}' if said else ''} -> {shown} (truth: {truth})")


def _in_words(value: Any) -> str:
    """As much of a value as a line holds."""
    if hasattr(value, "getpixel"):
        return f"a picture of {value.width} x {value.height}"
    return " ".join(str(value).split())[:100]
