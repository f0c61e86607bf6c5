"""`ofasys demo --pretrained`: what the model that comes with the package answers, without any training."""

from __future__ import annotations

from pathlib import Path

from ofasys.cli.report import report
from ofasys.cli.runfile import RESOLVED, read_run
from ofasys.cli.show import say
from ofasys.hub.shipped import SHIPPED

FOLDER = SHIPPED / "gallery"


def show(out: Path) -> None:
    """Answer the rows that lie beside it, and write out/report.html."""
    names = read_run(FOLDER / RESOLVED).names
    say(f"one model answers rows of {len(names)} tasks that it has not learned from: {', '.join(names)}")
    out.mkdir(parents=True, exist_ok=True)
    report(FOLDER, out=out / "report.html")
    say("try it: ofasys serve gallery, or ofasys infer gallery TASK COLUMN=VALUE; ofasys tasks gallery lists the tasks")
