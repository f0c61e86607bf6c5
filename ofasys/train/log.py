"""What a run tells: metrics.jsonl and quarantine.jsonl always, a live table in a terminal, TensorBoard if installed."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table


class RunLog:
    """Writes to `out` (None: nowhere) and, in a terminal, shows a table that renews itself. Use as a context."""

    def __init__(self, out: Path | None, max_steps: int, start: int, live: bool | None = None) -> None:
        self.out, self.max_steps, self.start, self.step = out, max_steps, start, start
        self.file: IO[str] | None = None
        self.board: Any = None
        self.live = Live(console=Console(stderr=True), refresh_per_second=4) if _wanted(live) else None
        self.tasks: dict[str, dict[str, float]] = {}
        self.began = time.monotonic()

    def __enter__(self) -> RunLog:
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            for name in ("metrics.jsonl", "quarantine.jsonl"):
                _drop_after(self.out / name, self.start)
            self.file = (self.out / "metrics.jsonl").open("a", encoding="utf8")
            self.board = _tensorboard(self.out, self.start)
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        if self.live:
            self.live.update(self.table())
            self.live.__exit__(*problem)
        if self.file:
            self.file.close()
        if self.board:
            self.board.close()

    def write(self, kind: str, step: int, task: str | None, figures: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl. kind: "train", "valid" ..."""
        if self.file:
            where = {"kind": kind, "step": step} | ({"task": task} if task else {})
            self.file.write(json.dumps({**where, **_strict(figures)}, ensure_ascii=False, allow_nan=False) + "\n")
            self.file.flush()
        if self.board:
            for name, value in figures.items():
                if isinstance(value, (int, float)):
                    self.board.add_scalar("/".join(filter(None, (kind, task, name))), value, step)
        if task:
            self.tasks.setdefault(task, {}).update(
                {f"{kind} {n}": v for n, v in figures.items() if isinstance(v, (int, float))}
            )

    def quarantine(self, step: int, task: str, epoch: int, row: int, problem: str) -> None:
        """One line of quarantine.jsonl: a row that could not be used at this step."""
        if self.out is not None:
            line = {"step": step, "task": task, "epoch": epoch, "row": row, "problem": problem}
            with (self.out / "quarantine.jsonl").open("a", encoding="utf8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def show(self, step: int) -> None:
        """Renew the table."""
        self.step = step
        if self.live:
            self.live.update(self.table())

    def table(self) -> Table:
        """A row a task: loss, its headline metric, samples, bad rows, positions a second, useful share; time left in
        the title.
        """
        done, spent = self.step - self.start, time.monotonic() - self.began
        left = (self.max_steps - self.step) * spent / done if done else 0.0
        table = Table(title=f"step {self.step}/{self.max_steps}  {_clock(left)} left", title_justify="left")
        for name in ("task", "loss", "valid", "samples", "bad", "tokens/s", "useful"):
            table.add_column(name, justify="left" if name == "task" else "right")
        for task, figures in self.tasks.items():
            metric = [
                f"{n[6:]} {v:.3f}"
                for n, v in figures.items()
                if n.startswith("valid ") and n not in ("valid loss", "valid samples")
            ]
            table.add_row(
                task,
                f"{figures.get('train loss', float('nan')):.3f}",
                metric[0] if metric else "",
                f"{figures.get('train samples', 0):,.0f}",
                f"{figures.get('train bad', 0):,.0f}",
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
    kept = []
    for line in path.read_text(encoding="utf8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    aside = path.with_name(f".{path.name}.new")
    aside.write_text("".join(f"{line}\n" for line in kept), encoding="utf8")
    aside.replace(path)


def _tensorboard(out: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(out / "tensorboard", purge_step=start + 1)
