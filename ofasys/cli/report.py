"""`ofasys report`: one page about a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ofasys.cli.document import check_replaceable, shown
from ofasys.cli.runfile import RESOLVED, RunFile, read_run
from ofasys.cli.show import note, say
from ofasys.errors import ConfigError, OfasysError
from ofasys.hub.shipped import SHIPPED
from ofasys.report import write_report
from ofasys.task.task import Task


def report(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    out: Path | None = None,
    split: str | None = None,
    names: Sequence[str] = (),
    limit: int | None = None,
    file: Path | None = None,
    which: str | None = None,
) -> None:
    """Write the report of the run in `folder`. file: a run file whose tasks stand for those of the run."""
    if out is not None:
        check_replaceable(out, "report.html", like=(".html", ".htm"), what="report")
    if out is None and folder.parent == SHIPPED:
        raise ConfigError(
            f"{folder.name} comes with ofasys, and no report is written into the package; `ofasys demo --pretrained` "
            f"writes one to runs/pretrained, or give --out {folder.name}.html"
        )
    path = file or folder / RESOLVED
    tasks: list[Task] = []
    missing: dict[str, str] = {}
    if path.is_file() or file is not None:
        tasks, missing = _tasks(read_run(path, overrides), names)
    elif overrides:
        raise ConfigError(
            f"{shown(folder)} has no {RESOLVED} that {overrides[0]!r} could change; give --file with a run file"
        )
    else:
        note(f"{shown(folder)} has no {RESOLVED}, so its rows are not known; --file RUNFILE gives them")
    made = write_report(folder, tasks, out=out, split=split, limit=limit, which=which, names=names, missing=missing)
    say(f"the report is {shown(made)}")


def _tasks(run: RunFile, names: Sequence[str]) -> tuple[list[Task], dict[str, str]]:
    """The tasks of a run file; and of those whose data cannot be opened any more, why."""
    found: list[Task] = []
    missing: dict[str, str] = {}
    for name in [name for name in run.names if not names or name in names]:
        try:
            found += run.tasks([name])
        except OfasysError as error:
            missing[name] = str(error)
            note(f"task {name!r}: its rows are not in the report: {error}")
    return found, missing
