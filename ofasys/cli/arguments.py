"""What several commands are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RUN_HELP = "Folder of a run, or of a saved model; or gallery, the model that comes with ofasys."


def named(given: Path | None) -> Path | None:
    """The folder of a run; of a model that comes with the package, its own."""
    if given is None:
        return None
    from ofasys.hub.shipped import shipped

    return shipped(given) or given


Run = Annotated[Path, typer.Argument(metavar="RUN", help=RUN_HELP, callback=named)]
Which = Annotated[
    str | None, typer.Option("--which", metavar="best|last", help="Checkpoint; default: the best, else the last.")
]
