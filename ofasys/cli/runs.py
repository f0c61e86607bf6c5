"""`ofasys runs`: runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(help="Runs beside each other.", no_args_is_help=True, rich_markup_mode=None)


@commands.callback()
def about() -> None:
    """Runs beside each other."""


@commands.command()
def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Say where two runs part: settings, versions, code, rows, the first line of their logs, weights; exit code 1 where
    they do.
    """
    from ofasys.cli.diff import diff as begin

    if begin(one, other, as_json):
        raise typer.Exit(1)
