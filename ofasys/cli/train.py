"""`ofasys train`: a run file in, or a run's folder, a trained model and its folder out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ofasys.cli.document import shown
from ofasys.cli.repeat import begun
from ofasys.cli.runfile import RESOLVED, read_run, resolved
from ofasys.cli.show import figure, note, say, table
from ofasys.errors import OfasysError
from ofasys.hub.folder import log_lines, step_of
from ofasys.parallel.join import joined
from ofasys.parallel.ranks import ALONE, Ranks
from ofasys.train import one_run
from ofasys.train.record import RECORD

USER_ERROR = 2  # the exit status of a command that says what is wrong


def train(path: Path, overrides: Sequence[str], check: bool = False) -> None:
    """Train what a run file says, or once more what a run's folder holds. check: read and check everything, print the
    resolved run, train nothing.

    Of several processes each does so, and the first speaks for all.
    """
    ranks = ALONE
    try:
        with joined() as ranks:
            _train(path, overrides, check, ranks)
    except OfasysError:
        if not ranks.spoken_for:
            raise
        raise SystemExit(USER_ERROR) from None


def _train(path: Path, overrides: Sequence[str], check: bool, ranks: Ranks) -> None:
    path, overrides, repeat = ranks.of_first("the run", lambda: begun(path, overrides))
    first = ranks.first
    run = read_run(path, overrides)
    tasks, trainer = run.tasks(), run.trainer()
    model = run.model()
    if not first:
        if not check:
            trainer.fit(model=model, tasks=tasks)
        return
    out = Path(trainer.out or "")
    text = resolved(run, tasks, model, trainer, out)
    if check:
        found = trainer.forecast(model=model, tasks=tasks)
        say(text.rstrip("\n"))
        for one in found.looked:
            note(str(one))
        note(str(found))
        return
    trainer.foretell = lambda found: note(str(found))
    try:
        with one_run(out), resolved_file(out, text):
            trainer.fit(model=model, tasks=tasks)
    except (KeyboardInterrupt, SystemExit):  # the latter where a signal asked for the end
        done = step_of(out, "last")
        kept = f"the same command goes on from step {done}" if done is not None else "no checkpoint was written yet"
        note(f"stopped; {kept}")
        raise
    figures(out, run.names)
    say(f"the run is in {shown(out)}; next: ofasys evaluate {shown(out)}")
    if repeat is not None:
        repeat.compare(out)


@contextmanager
def resolved_file(out: Path, text: str) -> Iterator[None]:
    """Write the resolved run file; where a run is refused before it begins, the one before stands again."""
    path, record = out / RESOLVED, out / RECORD
    before = path.read_bytes() if path.is_file() else None
    began = _identity(record)
    _replaced(path, text.encode())
    try:
        yield
    except BaseException:
        if _identity(record) == began:
            if before is not None:
                _replaced(path, before)
            else:
                path.unlink(missing_ok=True)
        raise


def _replaced(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(data)
    aside.replace(path)


def _identity(path: Path) -> tuple[int, int] | None:
    """What is another when a file is written anew."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def figures(out: Path, names: Sequence[str]) -> None:
    """A table of the last figures of each of these tasks, from metrics.jsonl."""
    last: dict[str, dict[str, dict[str, Any]]] = {}
    steps: dict[str, int] = {}
    for _, row in log_lines(out / "metrics.jsonl"):
        if row is not None and row.get("task") is not None:
            last.setdefault(row["task"], {})[row["kind"]] = row
            steps[row["task"]] = row["step"]
    if not last:
        return
    rows = []
    for task in (name for name in names if name in last):
        kinds = last[task]
        train, valid = kinds.get("train", {}), kinds.get("valid", {})
        beside = ("kind", "step", "task", "loss", "samples")
        metrics = "  ".join(
            f"{n} {figure(v)}" for n, v in valid.items() if n not in beside and isinstance(v, (int, float))
        )
        losses = [figure(each["loss"]) if "loss" in each else "-" for each in (train, valid)]
        rows.append([task, str(steps[task]), *losses, metrics or "-"])
    table(("task", "step", "loss", "valid loss", "valid metrics"), rows, right=(1, 2, 3))
