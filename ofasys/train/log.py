"""What a run tells: metrics.jsonl and quarantine.jsonl always, TensorBoard if installed; a live table in a terminal,
and elsewhere a line every so often.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ofasys.hub.folder import log_lines
from ofasys.train.lines import Lines
from ofasys.train.saving import writing
from ofasys.train.track import TensorBoard, Tracker, Trackers

_log = logging.getLogger("ofasys")

NAMES = ("metrics.jsonl", "quarantine.jsonl")
RENEWED = 0.25  # seconds between two states of the table
TOLD = 20.0  # and between two lines, where there is no terminal


class RunLog:
    """Writes to `out` (None: nowhere) and shows how it goes on standard error. Use as a context.

    live: True shows a table that renews itself, False nothing; None the table in a terminal, and lines elsewhere.
    trackers: where figures go besides; TensorBoard where it is installed. settings: of the run, for these.
    """

    def __init__(
        self,
        out: Path | None,
        max_steps: int,
        start: int,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        trackers: Sequence[Tracker] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.out, self.max_steps, self.start, self.step = out, max_steps, start, start
        self.metrics, self.bad_lines = (None if out is None else Lines(out / name) for name in NAMES)
        self.trackers, self.settings = (
            Trackers([*_if_installed(trackers), *trackers] if out is not None else ()),
            settings or {},
        )
        self.live = Live(console=Console(stderr=True), refresh_per_second=4) if _wanted(live) else None
        self.lines = live is None and self.live is None
        self.tasks: dict[str, dict[str, float]] = {}
        self.bad_rows: dict[str, tuple[int, str]] = {}
        self.clock, self.began = clock, clock()
        self.shown = self.began

    def __enter__(self) -> RunLog:
        if self.out is not None and self.metrics is not None:
            with writing(self.out, "the log", self.start or None):
                self.out.mkdir(parents=True, exist_ok=True)
                for name in NAMES:
                    _drop_after(self.out / name, self.start)
                self.metrics.open()
                self.trackers.begin(self.out, self.settings, self.start)
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        if self.live:
            self.live.update(self.table())
            self.live.__exit__(*problem)
        self.trackers.end(failed=problem[0] is not None)
        lost = [error for lines in (self.metrics, self.bad_lines) if lines and (error := lines.close()) is not None]
        for error in lost[0 if problem[0] is not None else 1 :]:
            _log.warning(str(error))
        if lost and problem[0] is None:
            raise lost[0]

    def write(self, kind: str, step: int, task: str | None, figures: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl. kind: "train", "valid" ..."""
        if self.metrics:
            where = {"kind": kind, "step": step} | ({"task": task} if task else {})
            self.metrics.add(json.dumps({**where, **_strict(figures)}, ensure_ascii=False, allow_nan=False))
        numbers = {name: value for name, value in figures.items() if isinstance(value, (int, float))}
        self.trackers.figures(step, {"/".join(filter(None, (kind, task, n))): v for n, v in numbers.items()})
        if task:
            self.tasks.setdefault(task, {}).update(
                {f"{kind} {n}": v for n, v in figures.items() if isinstance(v, (int, float))}
            )

    def quarantine(self, step: int, task: str, epoch: int, row: int, problem: str) -> None:
        """One line of quarantine.jsonl: a row that could not be used at this step."""
        if self.bad_lines:
            line = {"step": step, "task": task, "epoch": epoch, "row": row, "problem": problem}
            self.bad_lines.add(json.dumps(line, ensure_ascii=False))

    def bad(self, task: str, rows: int, first: str) -> None:
        """How many training rows of a task were left out so far, and why the first of them."""
        self.bad_rows[task] = rows, first

    def at(self, step: int) -> None:
        """A step is done: the table is renewed, or a line told, if it is time."""
        self.step = step
        now = self.clock()
        if now - self.shown < (RENEWED if self.live else TOLD):
            return
        self.shown = now
        if self.live:
            self.live.update(self.table())
        elif self.lines:
            print(self.line(), file=sys.stderr, flush=True)

    def show(self, step: int) -> None:
        """Renew the table."""
        self.step = step
        if self.live:
            self.live.update(self.table())

    def left(self) -> str:
        """The time left, if the steps to come take as long as those of this call."""
        done = self.step - self.start
        return _clock((self.max_steps - self.step) * (self.clock() - self.began) / done if done else 0.0)

    def line(self) -> str:
        """What the table shows, in a line."""
        found = [f"step {self.step}/{self.max_steps}", f"{self.left()} left"]
        for task, figures in self.tasks.items():
            told = [f"loss {figures['train loss']:.3f}"] if "train loss" in figures else []
            found.append(" ".join([f"{task}:", *told, *self._headline(figures)]))
        found += [f"{task}: {rows} bad rows, the first: {first}" for task, (rows, first) in self.bad_rows.items()]
        return "  ".join(found)

    @staticmethod
    def _headline(figures: Mapping[str, float]) -> list[str]:
        """The first figure of validation that is no loss, if there is one."""
        beside = ("valid loss", "valid samples")
        valid = [(n, v) for n, v in figures.items() if n.startswith("valid ") and n not in beside]
        return [f"{n[6:]} {v:.3f}" for n, v in valid[:1]]

    def table(self) -> Table:
        """A row a task: loss, its headline metric, samples, bad rows, positions a second, useful share; time left in
        the title, and below it why rows are bad.
        """
        title = f"step {self.step}/{self.max_steps}  {self.left()} left"
        why = [f"{task}: {rows} bad, the first: {first}" for task, (rows, first) in self.bad_rows.items()]
        caption = Text("\n".join(why)) if why else None
        table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
        for name in ("task", "loss", "valid", "samples", "bad", "tokens/s", "useful"):
            table.add_column(name, justify="left" if name == "task" else "right")
        for task in [*self.tasks, *(name for name in self.bad_rows if name not in self.tasks)]:
            figures = self.tasks.get(task, {})
            table.add_row(
                Text(task),
                f"{figures.get('train loss', float('nan')):.3f}",
                *(self._headline(figures) or [""]),
                f"{figures.get('train samples', 0):,.0f}",
                f"{self.bad_rows.get(task, (0, ''))[0]:,}",
                f"{figures.get('train tokens_per_second', 0):,.0f}",
                f"{100 * figures.get('train useful', 0):.0f}%",
            )
        return table


def _strict(figures: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: a figure that there is not, or that is no longer finite, is null."""
    return {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in figures.items()}


def _wanted(live: bool | None) -> bool:
    return sys.stderr.isatty() if live is None else live


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def _drop_after(path: Path, step: int) -> None:
    """Lines of steps that a resumed run will make again are dropped, and a last line that was cut off."""
    if not path.is_file():
        return
    kept = [line for line, row in log_lines(path) if row is not None and row["step"] <= step]
    aside = path.with_name(f".{path.name}.new")
    try:
        aside.write_bytes(b"".join(line + b"\n" for line in kept))
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def _if_installed(asked: Sequence[Tracker]) -> list[Tracker]:
    """TensorBoard, where it is there and not asked for anyway."""
    if any(isinstance(one, TensorBoard) for one in asked):
        return []
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        return []
    return [TensorBoard()]
