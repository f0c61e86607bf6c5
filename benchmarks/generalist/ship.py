"""The generalist of a proof made the model that comes with the package: its weights, its card, some rows to try."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.generalist.state import Plan, results
from benchmarks.generalist.suite import entry_of, made, ranked, suite
from benchmarks.generalist.units import GENERALIST, every
from ofasys import OFASys, flow
from ofasys.errors import ConfigError
from ofasys.gallery.data import PACKAGES
from ofasys.gallery.tasks.run import chosen, gallery_task
from ofasys.hub.examples import as_file
from ofasys.hub.facts import Facts, TaskFacts, Trivial
from ofasys.hub.output import plain
from ofasys.hub.shipped import SHIPPED
from ofasys.modality import Context
from ofasys.program.program import Program
from ofasys.task.task import Task
from ofasys.types import TaskCard

NAME, LICENCE = "gallery", "apache-2.0"
ROWS = 12  # of each task
MOST = 20 * 2**20  # bytes of the folder
KEPT = ("image", "audio", "video")  # widgets whose values are files
CLOSED = ("-SA-", "GPL")  # in a licence: such rows are neither learned from nor passed on


def ship(plan: Plan, state: Path, seed: int, to: Path = SHIPPED / NAME) -> Path:
    """Write the folder. Errors: ConfigError for a generalist that is not there, and for rows not to be passed on."""
    key = f"joint/{GENERALIST}/{seed}"
    found = results(state).get(key)
    if found is None:
        raise ConfigError(f"{state} has no result of {key} yet; run the proof first")
    run = state / "units" / key.replace("/", "-") / "run"
    model = OFASys.from_pretrained(run, which="last")
    with TemporaryDirectory() as place:
        tasks = [made(entry_of(name), Path(place), plan.test) for name in plan.tasks]
        model.cards = tuple(carded(card) for card in model.cards)
        model.facts = _facts(plan, model.facts, found, tasks, seed)
        shutil.rmtree(to, ignore_errors=True)
        model.save_pretrained(to, name=NAME, licence=LICENCE)
        rows = {task.name: _rows(task, flow.bind(model.model, task.plan, task.labels), to) for task in tasks}
    (to / "run.yaml").write_text(yaml.safe_dump({"tasks": rows}, sort_keys=False, allow_unicode=True), encoding="utf8")
    told = json.loads((run / "run.json").read_text(encoding="utf8"))
    (to / "run.json").write_text(json.dumps(_told(told), indent=1, ensure_ascii=False) + "\n", encoding="utf8")
    shutil.copy(run / "metrics.jsonl", to / "metrics.jsonl")
    size = sum(path.stat().st_size for path in to.rglob("*") if path.is_file())
    if size > MOST:
        raise ConfigError(f"{to} holds {size / 2**20:.1f} MB, more than {MOST / 2**20:.0f}; a smaller --size is needed")
    return to


def _facts(plan: Plan, facts: Facts, found: Mapping[str, Any], tasks: Sequence[Task], seed: int) -> Facts:
    """With the scores on test rows, and the command that trained it."""
    command = f"python -m benchmarks.generalist {plan.options} --steps {plan.steps} --seeds {seed} --parts joint"
    known = {}
    for task in tasks:
        one = found["tasks"][task.name]
        metric = one["metric"]
        known[task.name] = TaskFacts(
            rows={split: len(source) for split, source in task.sources.items()},
            scores={metric: one["value"]},
            split="test",
            samples=one["test_rows"],
            step=found["steps"],
            trivial={} if one["trivial"] is None else {metric: Trivial(one["trivial"], "the best trivial")},
        )
    trained = {
        **facts.trained,
        "micro-batches of each task": ", ".join(f"{name} {steps}" for name, steps in every(plan)),
        "trained by": command,
    }
    trained["minutes of one processor core"] = round(found["processor_seconds"] / 60)
    return dataclasses.replace(facts, date=date.today().isoformat(), trained=trained, tasks=known)


def carded(card: TaskCard) -> TaskCard:
    """With where its rows are from, and under what terms. Errors: ConfigError for terms a model could not keep."""
    kind, _, place = entry_of(card.name)["from"].partition(":")
    if kind == "gallery":
        (task,) = chosen([place])
        packages = [PACKAGES[name] for name in task.packages if name not in suite()["ship"]["not_learned"]]
        origin = "; ".join(f"{package.title}: {package.attribution}" for package in packages)
        licence = ", ".join(dict.fromkeys(package.licence for package in packages))
    else:
        (source,) = (one for one in suite()["source"] if one["from"] == f"page:{place}")
        origin, licence = source["origin"], source["licence"]
    if any(word in licence for word in CLOSED):
        raise ConfigError(f"{card.name}: rows under {licence} were learned from; a model of them cannot be passed on")
    return dataclasses.replace(card, origin=origin, licence=licence)


def _rows(task: Task, program: Program, to: Path) -> dict[str, Any]:
    """Some rows that were not learned from, in a file -> the task as a run file has it.

    Of the gallery they are valid rows, since some test rows are under terms that this package does not have.
    """
    kind, _, place = entry_of(task.name)["from"].partition(":")
    path = to / "rows" / f"{task.name}.parquet"
    path.parent.mkdir(exist_ok=True)
    source = gallery_task(place).source("valid") if kind == "gallery" else task.source("test")
    rows = [_stored(task, program, source[i], source.root) for i in ranked(task.name, len(source))[:ROWS]]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    return dict(_fields(task, path.name))


def _stored(task: Task, program: Program, row: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    """A row as a file of Parquet holds it: what has a kind of file as one."""
    slots = {slot.column: slot for slot in task.plan.slots}
    found = {}
    for column, value in row.items():
        slot = slots.get(column)
        file = None
        if slot is not None and task.modalities.spec(slot.modality).widget_of(slot.values) in KEPT:
            canonical = program.preprocessors[slot.index].canonical
            known = value if isinstance(value, bytes | str) else canonical(value, Context(root=root))
            file = as_file(slot, known, task.modalities, root)
        found[column] = plain(value) if file is None else bytes(file)
    return found


def _fields(task: Task, file: str) -> Iterator[tuple[str, Any]]:
    yield "instruction", [str(line) for line in task.instructions]
    yield "test", f"rows/{file}"
    yield "metrics", [metric.name for metric in task.metrics]
    if task.settings:
        yield "settings", dict(task.settings)
    if task.labels:
        yield "closed_set", {column: list(labels) for column, labels in task.labels.items()}


def _told(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a run says of itself, without this machine's folders."""
    trainer = {name: value for name, value in about["trainer"].items() if name not in ("out", "callbacks")}
    return {"trainer": trainer, **{name: about[name] for name in ("model", "tasks", "versions") if name in about}}
