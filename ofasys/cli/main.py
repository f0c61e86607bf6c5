"""The console script. A command imports what it needs when it runs, so that `ofasys explain` needs no torch."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ofasys.cli import data, hub, malloc, runs, tokenizer
from ofasys.cli.arguments import RUN_HELP, Run, Which, named
from ofasys.cli.show import heard_warnings, note, say
from ofasys.errors import ConfigError, OfasysError, nearest

USER_ERROR = 2
BROKEN_PIPE = 141  # as a shell has it: 128 and the number of SIGPIPE
SOME_BAD = 3  # some rows could not be answered; the others were


class Commands(TyperGroup):
    """Commands whose errors are sentences, and which take `-> [TEXT:t]` for an instruction and not for an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--debug` is understood anywhere."""
        split = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:split]:
            os.environ["OFASYS_DEBUG"] = "1"
            args = [arg for i, arg in enumerate(args) if arg != "--debug" or i > split]
            args = args or ["--help"]
        return super().parse_args(ctx, [f" {arg}" if arg.startswith("->") else arg for arg in args])

    def invoke(self, ctx: Any) -> Any:
        """Run the command. An error of ours, or of a file, is a message and exit code 2; others keep their
        traceback.
        """
        try:
            with heard_warnings():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:  # who reads has had enough
            with suppress(OSError, ValueError):  # what is still held is flushed to nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        except (OfasysError, OSError) as error:
            if os.environ.get("OFASYS_DEBUG", "0") not in ("", "0"):
                note(traceback.format_exc())
            note(str(error) if isinstance(error, OfasysError) else _of_system(error))
            raise typer.Exit(USER_ERROR) from None


app = typer.Typer(
    cls=Commands,
    help="Declarative multi-modal multi-task learning: a task is one line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Changes, as trainer.max_steps=100.", show_default=False),
]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"ofasys {version('ofasys')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (also OFASYS_DEBUG=1).")
    ] = False,
) -> None:
    """Declarative multi-modal multi-task learning: a task is one line."""


@app.command()
def explain(
    text: Annotated[str, typer.Argument(metavar="INSTRUCTION", help='As "[IMAGE:img] what is it? -> [TEXT:cap]".')],
    as_json: Json = False,
    size: Annotated[str | None, typer.Option("--size", help="Add parameters and FLOPs of this model size.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A default for the plan, as IMAGE.size=64.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="Say what this one brings and what is new to it, as hf:FOLDER.")
    ] = None,
) -> None:
    """Say how an instruction will be carried out: every slot, every choice and why, before any data."""
    from ofasys.language import Instruction
    from ofasys.model.sizes import SIZES
    from ofasys.planner import explain as explained
    from ofasys.planner import plan, to_json

    if size is not None and size not in SIZES:
        raise ConfigError(f"unknown size {size!r}; {nearest(size, SIZES)}there are {', '.join(SIZES)}")
    found = plan(Instruction(text.lstrip()), settings=_settings(settings or []), engine=engine)
    say(json.dumps(to_json(found, size), ensure_ascii=False, indent=1) if as_json else explained(found, size))


@app.command("import")
def bring(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC", help="A .pt file of OFASys, a folder of OFA from Hugging Face, or its OWNER/NAME there."
        ),
    ],
    to: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write; new, or of an earlier model.")],
) -> None:
    """Write a checkpoint of OFA or OFASys as a model of ours, and list what has no place in it.

    GPT-2's encoder.json and vocab.bpe lie beside a .pt file.
    """
    from ofasys.hub.ofa.open import opened
    from ofasys.hub.ofasys import OFASys
    from ofasys.hub.remote import place_of
    from ofasys.hub.store import check_place

    check_place(to)  # before what may take minutes
    found = opened(Path(place_of(source)[0]))
    for name, why in sorted(found.left.items()):
        say(f"left out  {name}: {why}")
    OFASys(found.model, found.cards).save_pretrained(to)
    say(found.model.origins())
    say(f"{found.model.parameters_count:,} parameters, {len(found.cards)} tasks written to {to}")


@app.command()
def train(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="RUNFILE",
            help="A run file, YAML or .py; gallery:TASK, gallery:TASK,TASK or gallery:all; or the folder of a run to "
            "repeat.",
        ),
    ],
    overrides: Overrides = None,
    check: Annotated[bool, typer.Option("--check", help="Check everything and print the run; train nothing.")] = False,
    nproc: Annotated[
        int, typer.Option("--nproc", metavar="N", help="Processes of this machine that share the run; else: torchrun.")
    ] = 1,
) -> None:
    """Train what a run file says; a run that was stopped goes on where it was. Of a run's folder: the same run again,
    in NAME-again beside it.
    """
    if nproc != 1 and not check:
        from ofasys.cli.together import train_together

        raise typer.Exit(train_together(file, overrides or [], nproc))
    from ofasys.cli.train import train as begin

    begin(file, overrides or [], check)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="RUNFILE", help="A run file, YAML or .py.")],
    overrides: Overrides = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over", metavar="KEY=VALUES", help="A field and what to try: LOW..HIGH, LOW..HIGH,log or A|B|C."
        ),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", help="Runs in all.")] = 20,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the sweep; default: runs/NAME-sweep.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is tried.")] = 0,
    prune: Annotated[
        bool, typer.Option("--prune", help="End runs early that are worse than the median of the others.")
    ] = False,
) -> None:
    """Try values of any fields of a run file, chosen by Optuna, a run each; a sweep that was stopped goes on where it
    was.

    \b
    ofasys sweep run.yaml --over trainer.lr=1e-4..1e-2,log --over "model.size=tiny|small" --trials 12
    """
    from ofasys.cli.sweep import sweep as begin

    begin(file, overrides or [], over or [], out, trials, seed, prune)


@app.command()
def evaluate(
    run: Run,
    overrides: Overrides = None,
    split: Annotated[
        str | None, typer.Option("--split", help="train, valid or test; default: test, else valid.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="At most so many rows a task, evenly spread.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A run file whose tasks to use, not the run's own.")
    ] = None,
    which: Which = None,
    as_json: Json = False,
) -> None:
    """Loss and metrics of a run's tasks, by its best checkpoint."""
    from ofasys.cli.evaluate import evaluate as begin

    begin(run, overrides or [], split=split, names=task or [], limit=limit, file=file, which=which, as_json=as_json)


@app.command()
def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a run, finished or not; or gallery, the model that comes with ofasys.",
            callback=named,
        ),
    ],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file; default: RUN/report.html.")] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="train, valid or test; default: the first there is of test, valid, train."),
    ] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be repeated.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many rows a task, evenly spread.")] = 500,
    file: Annotated[
        Path | None, typer.Option("--file", help="A run file whose tasks to use, not the run's own.")
    ] = None,
    which: Which = None,
) -> None:
    """Write a page about a run: curves, figures beside trivial ones, what is mixed up, answers right and wrong."""
    from ofasys.cli.report import report as begin

    begin(run, overrides or [], out=out, split=split, names=task or [], limit=limit, file=file, which=which)


@app.command()
def infer(
    run: Run,
    text: Annotated[
        str, typer.Argument(metavar="TASK|INSTRUCTION", help="A task of the run, or any instruction, a new one too.")
    ],
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COLUMN=VALUE]...",
            help="A text, a path, a pattern of paths, or JSON for a box or a list; COLUMN=- reads "
            "standard input; or @rows.jsonl.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A file of rows (.jsonl .csv .parquet .tar ...), a folder of pictures, or - ."),
    ] = None,
    beam_size: Annotated[int | None, typer.Option("--beam-size", help="Beams; 1 is greedy.")] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="Generated tokens, or positions of frames, at most.")
    ] = None,
    search: Annotated[list[str] | None, typer.Option("--search", help="Any search option, as top_p=0.9.")] = None,
    closed_set: Annotated[
        str | None, typer.Option("--closed-set", help="The labels: a,b or a JSON list or @FILE.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Rows answered at a time.")] = 8,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the answer: .txt .json .png .wav .bvh .gif; of rows a file: .jsonl .csv .tsv .parquet .txt.",
        ),
    ] = None,
    n_best: Annotated[int, typer.Option("--n-best", help="Answers a row in a file of answers, best first.")] = 1,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="The probability of every label, in a file of answers.")
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B", help="Of the input only these columns, in a file of answers."),
    ] = None,
    on_bad: Annotated[
        str | None,
        typer.Option(
            "--on-bad",
            metavar="skip|stop",
            help="What a row that cannot be read does; default: skip, with its error in the file; stop without a file.",
        ),
    ] = None,
    negative_prompt: Annotated[
        str | None,
        typer.Option("--negative-prompt", help="What guidance leads away from: a text, or JSON of columns."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="float32 or bfloat16; int8 or auto for finding tokens alone; default: that of training.",
        ),
    ] = None,
    ray: Annotated[
        int | None,
        typer.Option("--ray", metavar="N", help="Workers of Ray that answer, at RAY_ADDRESS or on this machine."),
    ] = None,
    which: Which = None,
    as_json: Json = False,
) -> None:
    """Answer a task, or any instruction, by a trained model: one row, or a file of them.

    \b
    ofasys infer runs/first caption img=cat.png
    ofasys infer runs/first caption --data photos/ --out answers.csv
    ofasys infer runs/first "[TEXT:a] so [TEXT:b]? -> [TEXT:label,closed_set]" a=red b=red
    ofasys infer runs/first mood --data rows.csv --out answers.parquet --probabilities
    cat lines.txt | ofasys infer runs/first mood text=- --out answers.jsonl
    """
    from ofasys.cli.infer import Shape, search_options
    from ofasys.cli.infer import infer as begin

    options = search_options(search or [], beam_size=beam_size, max_length=max_length)
    bad = begin(
        run,
        text.lstrip(),
        values or [],
        data=data,
        closed_set=closed_set,
        search=options,
        negative_prompt=negative_prompt,
        batch_size=batch_size,
        out=out,
        as_json=as_json,
        which=which,
        shape=Shape(
            n_best=n_best,
            every=probabilities,
            columns=None if columns is None else [name.strip() for name in columns.split(",") if name.strip()],
            on_bad=on_bad,
        ),
        workers=ray,
        precision=precision,
    )
    if bad:
        raise typer.Exit(SOME_BAD)


@app.command()
def export(
    run: Run,
    to: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write; new, or of an earlier export.")],
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK|INSTRUCTION]",
            help="A task of the run, or any instruction; default: the only task.",
            show_default=False,
        ),
    ] = None,
    closed_set: Annotated[
        str | None, typer.Option("--closed-set", help="The labels: a,b or a JSON list or @FILE.")
    ] = None,
    which: Which = None,
) -> None:
    """Write an instruction of a trained model as graphs, in ONNX and of torch.export: its source, and a step of its
    answer. They run without this package.

    \b
    ofasys export runs/first exported caption
    """
    from ofasys.cli.export import export as begin

    begin(run, to, None if text is None else text.lstrip(), closed_set, which)


@app.command()
def serve(
    run: Run,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; 0.0.0.0 for any of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", help="Port to listen at; 0: any that is free.")] = 8000,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="Keys that requests may have, one a line; also OFASYS_API_KEYS=A,B."),
    ] = None,
    host_name: Annotated[
        list[str] | None,
        typer.Option("--host-name", help="Another name by which the server may be called; may be repeated."),
    ] = None,
    url_host: Annotated[
        list[str] | None,
        typer.Option("--url-host", help="A host from which files may be fetched; may be repeated. Default: none."),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option("--limit", metavar="NAME=VALUE", help="A limit, as body=8388608.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", help="Most hypotheses that are computed at once.")] = 64,
    waiting: Annotated[int, typer.Option("--waiting", help="Most rows that wait; more are told to come again.")] = 256,
    drain: Annotated[
        float, typer.Option("--drain", help="Seconds that requests in hand have when the server is told to end.")
    ] = 30.0,
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples", help="Rows of each task that the page offers to try; default: 4 on this machine, else none."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="float32 or bfloat16; int8 or auto for finding tokens alone; default: that of training.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="As cuda; default: the CPU.")] = None,
    which: Which = None,
) -> None:
    """Serve a trained model over HTTP: answers, streams, embeddings, plans, and a page to try it.

    \b
    ofasys serve runs/first --port 8000
    curl localhost:8000/v1/inference -F task=caption -F img=@cat.png
    """
    from ofasys.cli.serve import serve as begin

    begin(
        run,
        host=host,
        port=port,
        key_file=key_file,
        names=host_name or [],
        url_hosts=url_host or [],
        limits=limit or [],
        rows=rows,
        waiting=waiting,
        drain=drain,
        examples=examples,
        which=which,
        precision=precision,
        device=device,
    )


@app.command()
def tasks(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help=RUN_HELP, callback=named)] = None,
    which: Which = None,
    as_json: Json = False,
) -> None:
    """The tasks of a run: lines, metrics, labels, rows, figures; without RUN, the built-in tasks."""
    from ofasys.cli.tasks import built_in, of_run

    if run is not None:
        of_run(run, as_json, which)
    elif which is not None:
        raise ConfigError("--which is of a run; give its folder, or leave it out")
    else:
        built_in(as_json)


@app.command()
def demo(
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="For all that is run; default: at most 5, 17 with --all.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run and its report; default: runs/demo, or runs/pretrained."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of data and weights.")] = 0,
    everything: Annotated[bool, typer.Option("--all", help="And a page of each other kind of data.")] = False,
    page: Annotated[
        list[str] | None, typer.Option("--page", metavar="NAME", help="Only this page; may be repeated.")
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained", help="Train nothing: show how the model that comes with ofasys answers its tasks."
        ),
    ] = False,
) -> None:
    """Train one tiny model on six tasks on real pictures, and write a report; a page each of sound, video, tables ...
    with --all. With --pretrained at once, by the model that comes with ofasys.
    """
    if pretrained:
        if minutes is not None or everything or page:
            raise ConfigError("--pretrained trains nothing, so that it has no --minutes, --all or --page; leave it out")
        from ofasys.cli.pretrained import show

        return show(out or Path("runs/pretrained"))
    out = out or Path("runs/demo")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise ConfigError(f"--minutes is {minutes:g}; it is more than 0")
    if everything and page:
        raise ConfigError("--all runs every page; give --all or --page")
    from ofasys.gallery.demo import run_all, run_demo, run_pages

    if page:
        report = run_pages(out, minutes, seed, names=page)
    elif everything:
        report = run_all(out, minutes, seed)
    else:
        report = run_demo(out, minutes, seed)
    say(f"the report is {report}")


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file.")] = None,
) -> None:
    """The JSON Schema of a run file, for an editor that completes and checks it.

    \b
    ofasys schema --out run.schema.json
    and on top of the run file:  # yaml-language-server: $schema=run.schema.json
    """
    from ofasys.cli.jsonschema import print_schema

    print_schema(out)


@app.command()
def doctor(
    asked: Annotated[
        str | None,
        typer.Argument(
            metavar="[INSTRUCTION|RUNFILE]", help="Say only what extras this one needs.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """What is installed, what is missing for what, and a self-check of some ten seconds; of an instruction or a run
    file, the extras it needs.
    """
    from ofasys.cli.doctor import doctor as begin
    from ofasys.cli.doctor import what_it_needs

    if not (begin(as_json) if asked is None else what_it_needs(asked, as_json)):
        raise typer.Exit(1)


hub.add_to(app)
app.add_typer(data.commands, name="data")
app.add_typer(runs.commands, name="runs")
app.add_typer(tokenizer.commands, name="tokenizer")


def _settings(pairs: list[str]) -> dict[str, str]:
    found = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or "." not in name:
            raise ConfigError(f"--set {text!r} is not a setting; expected MODALITY.attribute=value, as IMAGE.size=64")
        found[name] = value
    return found


def _of_system(error: OSError) -> str:
    """An error of the system as a sentence: the file, what is wrong, the next step."""
    said = error.strerror or str(error) or type(error).__name__
    hint = _NEXT_STEPS.get(error.errno or 0, "")
    return f"{f'{error.filename}: ' if error.filename else ''}{said}{f'; {hint}' if hint else ''}"


_NEXT_STEPS = {
    errno.EMFILE: "raise the limit of open files with ulimit -n, or use fewer workers",
    errno.ENFILE: "the system has no more open files; end what holds them",
    errno.ENOSPC: "make room on that disk, and give the same command again",
    errno.EDQUOT: "make room in your quota, and give the same command again",
    errno.EACCES: "choose a place that you may read and write",
    errno.EROFS: "choose a place that may be written",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def main() -> None:
    """The console script `ofasys`."""
    malloc.begin_anew(sys.argv[1:])
    app(prog_name="ofasys")


if __name__ == "__main__":
    main()
