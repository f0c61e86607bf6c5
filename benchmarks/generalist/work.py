"""A unit trained, asked and judged, in a process of its own; what it costs is counted over all processes it takes."""

from __future__ import annotations

import math
import platform
import resource
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.generalist.state import Cost, Plan
from benchmarks.generalist.suite import entry_of, made, page_of, suite
from benchmarks.generalist.units import Unit
from ofasys import Callback, GeneralistModel, Trainer, flow
from ofasys.gallery.tasks.run import chosen
from ofasys.hub import OFASys
from ofasys.report.trivial import trivial
from ofasys.task.schedule.ledger import Ledger
from ofasys.task.schedule.round_robin import fraction
from ofasys.task.task import Task
from ofasys.train.callback import RunView
from ofasys.train.evaluate import answer_rows, scored
from ofasys.train.tokens import tokens_of_a_row

ANSWERED = 32  # test rows at a time
WARM, TIMED, ASKED = 3, 8, 8  # steps before a task is timed, steps that are, and test rows
WAYS = ("schedule", "accumulate", "balance", "precision", "optimizer", "lr")  # of the plan, which `Trainer` is given
MEASURED = ("seconds", "processor_seconds", "peak_bytes", "device_peak_bytes")


class Meter(Callback):
    """Seconds of the wall and of the processor, and the most memory, of all processes that had a share in a run.

    What a process did after its last checkpoint is done again, and counted there.
    """

    def __init__(self) -> None:
        self.wall, self.processor = time.monotonic(), time.process_time()
        self.before: dict[str, float] = dict.fromkeys(MEASURED, 0)
        self.done: dict[str, float] | None = None

    def state(self) -> dict[str, Any]:
        """All until now, or until the last step."""
        if self.done is not None:
            return self.done
        return {
            "seconds": self.before["seconds"] + time.monotonic() - self.wall,
            "processor_seconds": self.before["processor_seconds"] + time.process_time() - self.processor,
            "peak_bytes": max(self.before["peak_bytes"], peak_bytes()),
            "device_peak_bytes": max(self.before["device_peak_bytes"], device_peak_bytes()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.before = dict.fromkeys(MEASURED, 0) | dict(state)

    def before_fit(self, run: RunView) -> None:
        if run.step >= run.max_steps:  # all was done before this process
            self.done = self.before

    def before_save(self, run: RunView) -> None:
        if run.step >= run.max_steps:  # what comes after the last step is not counted
            self.done = self.state()


def peak_bytes() -> int:
    """The most memory that this process has held.

    Linux tells `getrusage` of a process that another has started no less than its parent held, so its own is read from
    where it stands.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def device_peak_bytes() -> int:
    """The most that tensors have held of a GPU; 0 without one."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def pieces_of(name: str, most: int) -> int:
    """Of the tokenizer of a task's own recipe, at most those of the generalist."""
    kind, _, place = entry_of(name)["from"].partition(":")
    if kind == "gallery":
        (task,) = chosen([place])
        return min(task.text_pieces, most)
    return min(page_of(place).text_pieces, most)


def weighed(plan: Plan, unit: Unit, folder: Path) -> list[Task]:
    """The unit's tasks, each with its share of the turns."""
    test = None if unit.part == "published" else plan.test
    tasks = [made(entry_of(name), folder, test) for name, _ in unit.tasks]
    least = min((steps for _, steps in unit.tasks), default=1)
    for task, (_, steps) in zip(tasks, unit.tasks, strict=True):
        task.weight = times(steps, least)
    return tasks


def times(steps: int, least: int) -> float:
    """How many times `least` so many steps are: the least weight of which `least` updates of every task draw them all.

    A quotient that is rounded down draws one less, and a weight below 1 counts as 1.
    """
    weight = steps / least
    return weight if least * fraction(weight) >= steps else math.nextafter(weight, math.inf)


def updates(ledger: Ledger, micro_batches: int) -> int:
    """The first at which so many have been drawn: an update may hold one of them or several."""
    return bisect_left(range(micro_batches), micro_batches, key=lambda step: sum(ledger.positions(step).values()))


def new_model(plan: Plan, unit: Unit) -> GeneralistModel:
    """Of the plan's size; a specialist with the tokenizer of its own recipe."""
    one = len(unit.tasks) == 1
    pieces = pieces_of(unit.tasks[0][0], plan.text_pieces) if one else plan.text_pieces
    return GeneralistModel(size=plan.size, seed=unit.seed, text_pieces=pieces)


def run(plan: Plan, unit: Unit, folder: Path) -> dict[str, Any]:
    """All that a line of the results says of a unit. folder: of the unit; a run that was cut short goes on there."""
    meter = Meter()
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    model = new_model(plan, unit)
    tasks = weighed(plan, unit, data)
    way = {name: getattr(plan, name) for name in WAYS} | dict(unit.way)
    per = way["accumulate"] = max(1, min(way["accumulate"], len(tasks)))
    ledger = Ledger(way["schedule"], [task.entry() for task in tasks]) if tasks else None
    steps = 0 if ledger is None else math.ceil(updates(ledger, sum(steps for _, steps in unit.tasks)) / per)
    if tasks:
        Trainer(
            max_steps=steps,
            out=folder / "run",
            seed=unit.seed,
            save_minutes=1.0,
            log_every=max(1, steps // 50),
            live=False,
            callbacks=[meter],
            **way,
        ).fit(model=model, tasks=tasks)
    seen = {} if ledger is None else ledger.positions(steps * per)
    began = time.monotonic()
    found = {task.name: judged(model, task) for task in tasks}
    for task in tasks:
        found[task.name] |= {"micro_batches": seen[task.name], "samples": seen[task.name] * task.micro_batch_size}
        found[task.name]["train_rows"] = len(task.source("train"))
    probes = [] if unit.part != "scaling" else [probed(plan, unit, probe, folder) for probe in suite()["probe"]]
    return {
        "key": unit.key,
        "part": unit.part,
        "system": unit.system,
        "seed": unit.seed,
        "tasks": found,
        "probes": probes,
        "parameters": model.parameters_count if tasks else None,
        "steps": steps,
        "tokens": round(sum(plan.cost(name).tokens * seen[name] for name, _ in unit.tasks)),
        **(meter.state() if tasks else {}),
        "answering_seconds": time.monotonic() - began,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} processor",
        "date": date.today().isoformat(),
    }


def judged(model: GeneralistModel, task: Task) -> dict[str, Any]:
    """The figures of a task's metrics on its test rows, and what the best answer without looking has of the first."""
    program = flow.bind(model, task.plan, task.labels)
    answered = answer_rows(model, task, "test", program, ANSWERED)
    figures: dict[str, float] = {}
    for metric in reversed(task.metrics):
        _, answers, truths = scored(program, metric, answered)
        figures |= metric(answers, truths, root=task.source("test").root)
    first = task.metrics[0]
    best = trivial(task, program, first, answered, "test")
    return {
        "metric": first.main,
        "value": figures[first.main],
        "higher_is_better": first.higher_is_better,
        "figures": figures,
        "trivial": None if best is None else best.value,
        "test_rows": len(answered.rows),
    }


def probed(plan: Plan, unit: Unit, probe: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A probe's figures before its examples were seen, and after."""
    way = suite()["scaling"]
    task = made(probe, folder / "data", plan.test, way["examples"])
    task.micro_batch_size = min(way["micro_batch_size"], way["examples"])
    if unit.tasks:
        model = OFASys.from_pretrained(folder / "run", which="last").model
    else:
        model = GeneralistModel(size=plan.size, seed=unit.seed, text_pieces=plan.text_pieces)
    model.grow([(one, task.labels) for one in task.plans], task.texts, task.examples)
    zero = judged(model, task)
    Trainer(
        max_steps=way["steps"],
        lr=way["lr"],
        precision=plan.precision,
        optimizer=plan.optimizer,
        seed=unit.seed,
        live=False,
        log_every=way["steps"],
    ).fit(model=model, tasks=[task])
    return {"name": probe["name"], "zero": zero, "examples": judged(model, task)}


def measured(plan: Plan, names: Sequence[str]) -> dict[str, Cost]:
    """What each task costs on this machine: a few steps of a model that is thrown away, and a few answers."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: _measured(plan, name, Path(folder)) for name in names}


def _measured(plan: Plan, name: str, folder: Path) -> Cost:
    task = made(entry_of(name), folder, ASKED)
    model = GeneralistModel(size=plan.size, seed=0, text_pieces=pieces_of(name, plan.text_pieces))

    def train(steps: int) -> float:
        began = time.monotonic()
        Trainer(max_steps=steps, warmup=1, live=False, precision=plan.precision, optimizer=plan.optimizer).fit(
            model=model, tasks=[task]
        )
        return time.monotonic() - began

    train(WARM)
    least = train(1)
    seconds = max(1e-4, (train(1 + TIMED) - least) / TIMED)
    program = flow.bind(model, task.plan, task.labels)
    began = time.monotonic()
    answered = answer_rows(model, task, "test", program, ANSWERED)
    answer = (time.monotonic() - began) / len(answered.rows)
    programs = [flow.bind(model, one, task.labels) for one in task.plans]
    return Cost(seconds, answer, tokens_of_a_row(task, programs, 0) * task.micro_batch_size)
