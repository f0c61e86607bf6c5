"""Scores made into ratios and means: pure functions of the lines of the results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

Line = Mapping[str, Any]
Score = Mapping[str, Any]


def ratio(one: Score, other: Score) -> float | None:
    """How good a score is beside another of the same metric: score / other where higher is better, other / score where
    lower is. None where that is no number: a zero below the line, or scores of two signs.
    """
    above, below = one["value"], other["value"]
    if not one["higher_is_better"]:
        above, below = below, above
    if above == below > 0:
        return 1.0
    if below <= 0 or above < 0 or not (math.isfinite(above) and math.isfinite(below)):
        return None
    return float(above / below)


def beats_trivial(score: Score) -> bool:
    """Whether a score is better than that of the best answer without looking."""
    value, trivial = score["value"], score["trivial"]
    return trivial is None or (value > trivial if score["higher_is_better"] else value < trivial)


@dataclass(frozen=True)
class Compared:
    """A generalist's score of a task beside the specialist's, of one seed."""

    task: str
    seed: int
    own: Score
    specialist: Score

    @property
    def ratio(self) -> float | None:
        return ratio(self.own, self.specialist)


def compared(lines: Mapping[str, Line], system: str, part: str = "joint") -> list[Compared]:
    """Of each seed and task for which both are there."""
    found = []
    for line in lines.values():
        if (line["part"], line["system"]) != (part, system):
            continue
        for task, score in line["tasks"].items():
            alone = lines.get(f"joint/{task}/{line['seed']}")
            if alone is not None:
                found.append(Compared(task, line["seed"], score, alone["tasks"][task]))
    return found


@dataclass(frozen=True)
class Mean:
    """Of ratios: each seed its mean over tasks."""

    by_seed: Mapping[int, float]
    tasks: int
    """Of which some seed has a ratio."""
    without: Sequence[str]
    """Tasks of which a seed has none."""
    geometric: float
    even: int
    """Tasks whose mean ratio over seeds is 1 or more."""

    @property
    def value(self) -> float:
        return mean(self.by_seed.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for one."""
        return stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None


def meant(found: Sequence[Compared]) -> Mean | None:
    """None where there is no ratio."""
    known = [(one, value) for one in found if (value := one.ratio) is not None]
    if not known:
        return None
    seeds = sorted({one.seed for one, _ in known})
    by_seed = {seed: mean(value for one, value in known if one.seed == seed) for seed in seeds}
    by_task = {
        name: [v for one, v in known if one.task == name] for name in dict.fromkeys(one.task for one, _ in known)
    }
    without = sorted({one.task for one in found if one.ratio is None})
    positive = [value for _, value in known if value > 0]
    geometric = math.exp(mean(map(math.log, positive))) if len(positive) == len(known) else 0.0
    even = sum(mean(values) >= 1 for values in by_task.values())
    return Mean(by_seed, len(by_task), without, geometric, even)


def learned(found: Sequence[Compared]) -> list[Compared]:
    """Those whose specialist is better than an answer without looking: elsewhere a ratio says little."""
    return [one for one in found if beats_trivial(one.specialist)]


def shown(values: Sequence[float], digits: int = 3) -> str:
    """The mean, and from the least to the most where there are several; `-` for none."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"
