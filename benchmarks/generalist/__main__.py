"""The command line: see the package."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.generalist import __doc__ as description
from benchmarks.generalist import report
from benchmarks.generalist.ship import ship
from benchmarks.generalist.state import WAYS, Cost, Plan, add_result, listed, load_plan, results, save_plan, write_whole
from benchmarks.generalist.suite import entries, suite
from benchmarks.generalist.units import GENERALIST, PARTS, Unit, minutes, planned, seconds, units
from ofasys.errors import ConfigError, OfasysError, nearest
from ofasys.gallery.data.store import held
from ofasys.modality.symbols import LEAST_PIECES
from ofasys.model.sizes import SIZES

COSTS = "costs.json"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generalist",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--state", type=Path, default=Path("runs/proof"), help="folder of plan, results and runs")
    parser.add_argument("--budget", type=float, help="minutes for all of a new proof")
    parser.add_argument("--steps", type=int, help="micro-batches of each task, in place of a budget")
    parser.add_argument("--tasks", nargs="*", help="all if none")
    parser.add_argument("--seeds", type=int, nargs="*", help="0 1 2 if none")
    parser.add_argument("--parts", nargs="*", choices=PARTS, help="all if none")
    parser.add_argument("--size", help="of every model: tiny, small, base, large")
    parser.add_argument("--test", type=int, help="test rows of a task at most, 200")
    schedules = ("round_robin", "accumulate")  # of others a task's share is not what its specialist has
    parser.add_argument("--schedule", choices=schedules, help="of the generalist, round_robin")
    parser.add_argument("--balance", help="of the generalist's tasks in one update, sum")
    parser.add_argument("--accumulate", type=int, help="micro-batches in an update of the generalist, 1")
    parser.add_argument("--clip", type=float, help="the longest gradient of an update of the generalist, 1.0")
    parser.add_argument("--precision", help="of all passes, float32")
    parser.add_argument("--optimizer", help="of all models, adamw")
    parser.add_argument("--lr", type=float, help="the highest learning rate of all models, the optimizer's own")
    parser.add_argument("--text-pieces", type=int, help="of the generalist's tokenizer, 3000")
    parser.add_argument("--list", action="store_true", help="what there is to run")
    parser.add_argument("--report", action="store_true", help="write the page of what is there; run nothing")
    parser.add_argument("--ship", action="store_true", help="make the generalist of one seed the package's own model")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent, help="folder of the page")
    parser.add_argument("--unit", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def given(args: argparse.Namespace) -> dict[str, Any]:
    """What was asked of the plan."""
    found: dict[str, Any] = {}
    for name in ("tasks", "seeds", "parts"):
        if getattr(args, name):
            found[name] = tuple(dict.fromkeys(getattr(args, name)))
    for name in ("size", "test", "text_pieces", *WAYS):
        if getattr(args, name) is not None:
            found[name] = getattr(args, name)
    if "tasks" in found:
        found["tasks"] = tuple(entry["name"] for entry in entries(args.tasks))
    if "parts" in found:
        found["parts"] = tuple(part for part in PARTS if part in args.parts)
    return found


def made_plan(args: argparse.Namespace) -> Plan:
    """The plan that the folder holds, or a new one. Errors: ConfigError for a plan that is not what is asked, and for
    a budget that is too small.
    """
    wanted, kept = given(args), load_plan(args.state)
    if kept is not None:
        return more_of(kept, wanted, args)
    tasks = tuple(entry["name"] for entry in entries())
    plan = Plan(
        tasks=tasks,
        seeds=(0, 1, 2),
        size="tiny",
        parts=PARTS,
        steps=0,
        test=200,
        schedule="round_robin",
        precision="float32",
        text_pieces=3000,
        costs={},
    )
    plan = replace(plan, **wanted)
    checked(plan)
    plan = replace(plan, suite=listed(plan.tasks), costs=costs(args.state, plan))
    plan = planned(plan, args.budget, args.steps)
    save_plan(args.state, plan)
    return plan


def checked(plan: Plan) -> None:
    """Errors: ConfigError for a setting that cannot be, before anything is measured."""
    from ofasys import Trainer

    Trainer(**{name: getattr(plan, name) for name in WAYS})
    if plan.size not in SIZES:
        raise ConfigError(f"--size is {plan.size!r}; {nearest(plan.size, SIZES)}there are {', '.join(SIZES)}")
    if plan.text_pieces < LEAST_PIECES:
        raise ConfigError(f"--text-pieces is {plan.text_pieces}; it is {LEAST_PIECES} or more, one for each byte")
    if plan.test < 1:
        raise ConfigError(f"--test is {plan.test}; it is 1 or more")


def more_of(kept: Plan, wanted: dict[str, Any], args: argparse.Namespace) -> Plan:
    """A plan that goes on, with more seeds or parts if they are asked for: what was found stays as it is.

    Errors: ConfigError for anything else that differs, since figures would not compare.
    """
    more: dict[str, Any] = {}
    for name in ("seeds", "parts"):
        asked, there = wanted.pop(name, ()), getattr(kept, name)
        if set(asked) - set(there):
            more[name] = tuple(dict.fromkeys((*there, *asked)))
    wanted |= {name: value for name in ("budget", "steps") if (value := getattr(args, name)) is not None}
    others = {name: value for name, value in wanted.items() if getattr(kept, name) != value}
    if others:
        told = ", ".join(f"{name} {getattr(kept, name)!r} and not {value!r}" for name, value in others.items())
        raise ConfigError(f"the proof in {args.state} has {told}; leave that out to go on, or give another --state")
    plan = replace(kept, **more)
    if more:
        save_plan(args.state, plan)
    return plan


def costs(folder: Path, plan: Plan) -> dict[str, Cost]:
    """What the tasks cost here. What was measured before stays, so that a larger budget is answered at once."""
    from benchmarks.generalist.work import measured

    path = folder / COSTS
    told = json.loads(path.read_text(encoding="utf8")) if path.is_file() else {}
    made = f"{plan.size}, {plan.precision}, {plan.optimizer}, {plan.text_pieces} pieces, {plan.suite}"
    found = {name: Cost(**cost) for name, cost in told.get(made, {}).items()}
    for name in plan.tasks:
        if name not in found:
            found |= measured(plan, [name])
            each = found[name]
            say(f"{name}: {1000 * each.seconds:.0f} ms a micro-batch, {1000 * each.answer:.0f} ms a test row")
            told[made] = {one: vars(cost) for one, cost in found.items()}
            write_whole(path, told)
    return {name: found[name] for name in plan.tasks}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def go_on(state: Path, plan: Plan) -> None:
    """Every unit that has no line yet, each in a process of its own."""
    every = list(units(plan))
    for number, unit in enumerate(every, 1):
        if unit.key in results(state):
            give_back(state, unit)
            continue
        say(f"{number} of {len(every)}: {unit.key}, about {seconds(plan, unit) / 60:.1f} minutes")
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.generalist", "--state", str(state), "--unit", unit.key]
        ended = subprocess.run(command, env=dict(os.environ))
        if ended.returncode:
            raise SystemExit(
                f"{unit.key} ended with {ended.returncode}; what it says stands above, and the same line goes on"
            )
        say(f"  {(time.monotonic() - began) / 60:.1f} minutes")


def run_unit(state: Path, plan: Plan, key: str) -> None:
    """Train and judge one, add its line, and give its folder back; a generalist's model stays."""
    from benchmarks.generalist.work import run

    unit = next(unit for unit in units(plan) if unit.key == key)
    folder = folder_of(state, unit)
    with held(folder.with_name(f"{folder.name}.lock"), wait=True):  # one whose parent was killed may still be at it
        if key not in results(state):
            add_result(state, run(plan, unit, folder))
    give_back(state, unit)


def give_back(state: Path, unit: Unit) -> None:
    """The disk space of a unit that is done; a generalist's model stays."""
    if unit.system != GENERALIST:
        shutil.rmtree(folder_of(state, unit), ignore_errors=True)


def folder_of(state: Path, unit: Unit) -> Path:
    return state / "units" / unit.key.replace("/", "-")


def show_list() -> None:
    for kind in ("task", "variant", "probe"):
        for entry in suite()[kind]:
            print(f"{kind:10} {entry['name']:34} {entry['from']}")
    for one in suite()["published"]:
        print(f"published  {one['task']:34} {one.get('called', one['figure'])}, goal {one['goal']}")


def main(arguments: Sequence[str] | None = None) -> None:
    args = parsed(arguments)
    if args.list:
        return show_list()
    try:
        if args.report or args.ship:
            plan = load_plan(args.state)
            if plan is None:
                raise ConfigError(f"{args.state} holds no proof; run one there: --state {args.state} --budget MINUTES")
            if args.ship:
                return print(ship(plan, args.state, (args.seeds or plan.seeds)[0]))
            for path in report.write(plan, results(args.state), args.out):
                print(path)
            return None
        args.state.mkdir(parents=True, exist_ok=True)
        if args.unit:
            plan = load_plan(args.state)
            assert plan is not None
            return run_unit(args.state, plan, args.unit)
        with held(args.state / "lock", wait=False):
            plan = made_plan(args)
            about = f"{minutes(plan):.0f} minutes in all"
            say(f"{plan.steps} micro-batches of each of {len(plan.tasks)} tasks; about {about}")
            go_on(args.state, plan)
    except BlockingIOError:
        raise SystemExit(f"another process is at work in {args.state}") from None
    except OfasysError as error:
        raise SystemExit(str(error)) from error
    return None


if __name__ == "__main__":
    main()
