"""`ofasys push` and `ofasys card`: a model on the Hugging Face hub, and the page about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofasys.cli.arguments import Run, Which
from ofasys.cli.document import check_replaceable, shown
from ofasys.cli.show import note, say
from ofasys.errors import OfasysError

if TYPE_CHECKING:
    from ofasys.hub import OFASys
    from ofasys.hub.facts import Trivial

ROWS = 200  # of a task's valid rows that trivial answers are scored on

Licence = Annotated[str, typer.Option("--licence", help="Of the weights, as apache-2.0.")]


def add_to(app: typer.Typer) -> None:
    """Add both commands."""
    app.command()(card)
    app.command()(push)


def card(
    run: Run,
    which: Which = None,
    licence: Licence = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file.")] = None,
) -> None:
    """Print the page about a model that `ofasys push` puts beside it: tasks, data, scores, how to ask it, limits."""
    if out is not None:
        check_replaceable(out, "README.md", like=(".md", ".markdown", ".txt"), what="card")
    model = _loaded(run, which)
    text = model.card(licence=licence)
    if out is None:
        say(text.rstrip("\n"))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf8")
    say(f"the card is {shown(out)}")


def push(
    run: Run,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the hub; made where it is not there.")],
    which: Which = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="The branch, made where it is not there; default: the main one.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A repository that is made is private.")] = False,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="Make changes of low rank part of their matrices, and write all weights of a backbone."
        ),
    ] = False,
    licence: Licence = "",
    message: Annotated[str, typer.Option("--message", help="Of the commit.")] = "",
) -> None:
    """Put a model on the Hugging Face hub, with a page about it; OFASys.from_pretrained("OWNER/NAME") brings it back.

    The address of the hub and who asks are those of its library: HF_ENDPOINT, HF_TOKEN, `hf auth login`.
    """
    model = _loaded(run, which)
    address = model.push_to_hub(
        repository, revision=revision, private=private, merge=merge, licence=licence, message=message
    )
    say(f"pushed: {address}")


def _loaded(run: Path, which: str | None) -> OFASys:
    """The model, its scores beside trivial ones where the rows of its tasks can be read."""
    from ofasys.cli.runfile import RESOLVED
    from ofasys.hub import OFASys

    model = OFASys.from_pretrained(run, which=which, merge=False)
    if (run / RESOLVED).is_file():
        model.facts = model.facts.with_trivial(_without_looking(run / RESOLVED, model))
    return model


def _without_looking(file: Path, model: OFASys) -> dict[str, dict[str, Trivial]]:
    """Task -> figure -> the best score of answers given without looking; of tasks with valid rows and metrics."""
    from ofasys.cli.runfile import read_run

    found: dict[str, dict[str, Trivial]] = {}
    try:
        run = read_run(file, ())
    except OfasysError as error:
        note(f"scores stand alone: {error}")
        return found
    for name in (name for name in run.names if name in model.tasks):
        try:
            found[name] = _trivial(run.tasks([name])[0], model)
        except (OfasysError, OSError) as error:
            note(f"task {name!r}: its scores stand alone: {error}")
    return found


def _trivial(task: Any, model: OFASys) -> dict[str, Trivial]:
    from ofasys import flow
    from ofasys.hub.facts import Trivial
    from ofasys.report.trivial import trivial
    from ofasys.train.evaluate import true_rows

    if "valid" not in task.sources or not task.metrics:
        return {}
    task.restore_labels(model.tasks[task.name].labels)
    program = flow.bind(model.model, task.plan, task.labels)
    answered = true_rows(task, "valid", program, ROWS)
    best = {metric.main: trivial(task, program, metric, answered, "valid") for metric in task.metrics}
    some = ROWS if len(task.source("valid")) > ROWS else None
    return {figure: Trivial(one.value, one.kind, some) for figure, one in best.items() if one is not None}
