"""Which number format a run computes in: measured on the machine it runs on, once, and kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from ofasys.errors import ConfigError
from ofasys.generalist import PRECISIONS
from ofasys.train.record import recorded

if TYPE_CHECKING:
    from ofasys.train.setup import Setup

Step = Callable[[str], None]  # in a number format

clock = time.perf_counter  # decides between number formats, and nothing else

COMPARED = ("float32", "bfloat16")  # what "auto" chooses from
CLEARLY = 1.15  # bfloat16 is taken where it is faster by this; less is within what a measurement varies by
ROWS = 1024  # of the products that are timed
VARIABLE = "OFASYS_PRECISION"  # what "auto" is, without measuring


@dataclass(frozen=True)
class Precision:
    """A number format, and why it was chosen."""

    name: str
    why: str

    def to_dict(self) -> dict[str, str]:
        """As JSON."""
        return {"name": self.name, "why": self.why}

    @classmethod
    def known(cls, values: Any) -> Precision | None:
        """What `to_dict` gave; None for anything else."""
        if not isinstance(values, Mapping) or values.get("name") not in PRECISIONS:
            return None
        return cls(str(values["name"]), str(values.get("why", "")))


def check(precision: str, what: str = "precision") -> None:
    """Errors: ConfigError for another word than "auto" and those of `PRECISIONS`."""
    if precision not in ("auto", *PRECISIONS):
        raise ConfigError(f"{what} is {precision!r}; it is 'auto', 'float32', 'bfloat16' or 'float16'")


def asked(precision: str, device: torch.device) -> Precision | None:
    """What needs no measurement: what was asked for, what the environment says, what a GPU has units for; else None.

    Errors: ConfigError for another word.
    """
    check(precision)
    if precision != "auto":
        return Precision(precision, "asked for")
    if given := os.environ.get(VARIABLE):
        if given not in PRECISIONS:
            raise ConfigError(f"{VARIABLE} is {given!r}; it is 'float32', 'bfloat16' or 'float16', or not set")
        return Precision(given, f"{VARIABLE}={given}")
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision("bfloat16" if able else "float32", f"the GPU has {'' if able else 'no '}units for bfloat16")
    return None


def choose(precision: str, setup: Setup, trial: Callable[[], Step | None]) -> Precision:
    """What a run computes in: as asked, as it did so far, or as is measured now. trial: as of `measured`."""
    if (found := asked(precision, setup.device)) is not None:
        return found
    before = setup.state.precision if setup.resumed else recorded(setup.out)
    if (kept := Precision.known(before)) is not None:
        return kept
    if setup.resumed:  # of a version that took float32 on every CPU
        return Precision("float32", "as the run did so far")
    return measured(setup.model.engine.width, trial)


def measured(width: int, trial: Callable[[], Step | None]) -> Precision:
    """bfloat16 where it is clearly faster on this machine: by products of the model's width, and then by a whole step.

    trial: makes a training step in a format, that leaves everything as it was; None: no batch could be made. A machine
    that has to emulate bfloat16 is 10 to 150 times slower in it: one product shows that, and no step is tried.
    """
    products = product_gain(width)
    if products < CLEARLY:
        return Precision("float32", f"products of this width run {_times(products)} in bfloat16")
    if (step := trial()) is None:
        return Precision("float32", "no batch to measure a step with")
    found = gain(step, rounds=2)
    chosen = "bfloat16" if found >= CLEARLY else "float32"
    return Precision(chosen, f"a step runs {_times(found)} in bfloat16, products of this width {_times(products)}")


def faster(width: int) -> bool:
    """Whether products of a model's width are clearly faster in bfloat16 on this machine."""
    return product_gain(width) >= CLEARLY


def product_gain(width: int) -> float:
    """How many times as fast they are."""
    return gain(lambda name: _product(width, name), rounds=5)


def gain(run: Step, rounds: int) -> float:
    """How many times as fast `run` is in bfloat16 as in float32: medians of `rounds` in turns, after one of each.

    Where the first shows it to be several times slower, it is not run again.
    """
    first = {name: _timed(run, name) for name in COMPARED}
    if first["bfloat16"] > 4 * first["float32"]:  # the first of a shape may have to be prepared
        again = _timed(run, "bfloat16")
        if again > 2 * first["float32"]:
            return first["float32"] / again
    times: dict[str, list[float]] = {name: [] for name in COMPARED}
    for _ in range(rounds):
        for name in COMPARED:
            times[name].append(_timed(run, name))
    return median(times["float32"]) / max(median(times["bfloat16"]), 1e-9)


def _timed(run: Step, name: str) -> float:
    began = clock()
    run(name)
    return clock() - began


def _product(width: int, name: str) -> None:
    dtype = getattr(torch, name)
    x = torch.ones(ROWS, width, dtype=dtype)
    weight = torch.ones(4 * width, width, dtype=dtype)
    torch.mm(x, weight.t())


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times as fast"
