"""What there is to run: a unit is one model, trained on some tasks with one seed, and all that is asked of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.generalist.state import Cost, Plan
from benchmarks.generalist.suite import suite
from ofasys.errors import ConfigError

PARTS = ("joint", "ways", "scaling", "published")
GENERALIST, HALF = "generalist", "generalist-half"
LEAST = 100  # micro-batches of a task, below which a model of this kind has learned nothing yet
SCALED = 4  # times a task's micro-batches, of all tasks together, in each model of task scaling
OVERHEAD = 20.0  # seconds a unit takes besides: starting, tokenizers, writing


@dataclass(frozen=True)
class Unit:
    """One model."""

    part: str
    system: str
    seed: int
    tasks: tuple[tuple[str, int], ...]
    """Name -> micro-batches it is trained with."""
    way: Mapping[str, Any] = field(default_factory=dict)
    """Settings of training, in place of the plan's."""

    @property
    def key(self) -> str:
        return f"{self.part}/{self.system}/{self.seed}"


def units(plan: Plan) -> Iterator[Unit]:
    """All of them, in the order they are run: each seed whole before the next, and of it the first part first."""
    for seed in plan.seeds:
        for part in PARTS:
            if part in plan.parts:
                yield from {"joint": joint, "ways": ways, "scaling": scaling, "published": published}[part](plan, seed)


def joint(plan: Plan, seed: int) -> Iterator[Unit]:
    """The generalist, the specialists with as much of their task, and a generalist with half of it."""
    yield Unit("joint", GENERALIST, seed, every(plan))
    for name, steps in every(plan):
        yield Unit("joint", name, seed, ((name, steps),))
    yield Unit("joint", HALF, seed, tuple((name, steps // 2) for name, steps in every(plan)))


def every(plan: Plan) -> tuple[tuple[str, int], ...]:
    """Each task with its micro-batches of the first part."""
    times = {entry["name"]: entry.get("times", 1) for entry in suite()["task"]}
    return tuple((name, round(times[name] * plan.steps)) for name in plan.tasks)


def ways(plan: Plan, seed: int) -> Iterator[Unit]:
    """The generalist trained otherwise, on as much of each task."""
    for way in suite()["way"]:
        called = ", ".join(f"{name} {value}" for name, value in way.items())
        yield Unit("ways", called, seed, every(plan), way)


def scaling(plan: Plan, seed: int) -> Iterator[Unit]:
    """The first so many tasks, always with the same tokens in all, each with an even share."""
    instead = suite()["scaling"]["instead"]
    names = [instead.get(name, name) for name in plan.tasks]
    tokens = SCALED * plan.steps * sum(plan.cost(name).tokens for name in names) / len(names)
    for count in (size for size in suite()["scaling"]["sizes"] if size <= len(names)):
        shares = [(name, max(1, round(tokens / count / plan.cost(name).tokens))) for name in names[:count]]
        yield Unit("scaling", f"of-{count}", seed, tuple(shares))


def published(plan: Plan, seed: int) -> Iterator[Unit]:
    """One task each, for as many times longer as the list says."""
    for one in suite()["published"]:
        if one["task"] in plan.tasks:
            yield Unit("published", one["task"], seed, ((one["task"], one["longer"] * plan.steps),))


def seconds(plan: Plan, unit: Unit) -> float:
    """What a unit is expected to take, by what was measured before."""
    found = OVERHEAD
    for name, steps in unit.tasks:
        cost = plan.cost(name)
        found += steps * cost.seconds + plan.test * cost.answer
    if unit.part == "scaling":
        way, named = suite()["scaling"], [probe["from"].partition(":")[2] for probe in suite()["probe"]]
        costs = [plan.costs[name] for name in named if name in plan.costs] or list(plan.costs.values())
        found += sum(way["steps"] * cost.seconds + 2 * plan.test * cost.answer for cost in costs)
    return found


def minutes(plan: Plan) -> float:
    return sum(seconds(plan, unit) for unit in units(plan)) / 60


def fitted(plan: Plan, budget: float) -> Plan:
    """The plan with as many steps as a budget of minutes holds. Errors: ConfigError for one that holds too few."""
    least = minutes(replace(plan, steps=LEAST))
    if not (math.isfinite(budget) and budget >= least):
        raise ConfigError(
            f"a budget of {budget:g} minutes is too small: {len(plan.tasks)} tasks, {len(plan.seeds)} seeds and the "
            f"parts {', '.join(plan.parts)} take {least:.0f} minutes here with {LEAST} micro-batches of each task, the "
            f"least that teaches anything; give --budget {math.ceil(least)}, or fewer --tasks, --seeds or --parts"
        )
    more = minutes(replace(plan, steps=2 * LEAST)) - least  # a step more costs the same wherever one is
    return replace(plan, steps=LEAST + int((budget - least) / more * LEAST), budget=budget)


def planned(plan: Plan, budget: float | None, steps: int | None) -> Plan:
    """With the steps that were given, or as many as fit."""
    if steps is not None:
        if steps < 2:
            raise ConfigError(f"--steps is {steps}; it is 2 or more, since a generalist is trained with half of it")
        return replace(plan, steps=steps)
    if budget is None:
        raise ConfigError("a new proof needs --budget MINUTES, for all of it, or --steps, of each task")
    return fitted(plan, budget)


__all__ = ["Cost", "Unit", "fitted", "minutes", "planned", "seconds", "units"]
