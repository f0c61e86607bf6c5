"""In what tokens are decoded: float32, or what is faster on this machine and nearly as exact."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ofasys.engine import Engine
from ofasys.errors import ConfigError, nearest
from ofasys.generator.vocabulary import ROUGHLY, OutputRows

DECODINGS = ("float32", *ROUGHLY)
ROWS, BEST, TURNS = 8, 12, 5  # of a step that is measured: its rows, tokens wanted of each, how often it is made


@dataclass(frozen=True)
class Decoding:
    """How tokens of a large vocabulary are found."""

    precision: str = "float32"
    """"float32": as the model computes. "bfloat16" and "int8": the output rows are in so many bits to find the best
    tokens, whose scores are then computed from the rows themselves; in both the matrices of a step are in bfloat16."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of a step of 8 rows in each that this machine can do; empty where it was chosen by hand."""

    def __str__(self) -> str:
        if not self.measured:
            return self.precision
        times = ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in self.measured.items())
        return f"{self.precision}, the fastest of {times} a step of {ROWS} rows"


def check_decoding(precision: str) -> None:
    """Errors: ConfigError for none of `DECODINGS`."""
    if precision not in DECODINGS:
        hint = nearest(precision, DECODINGS)
        raise ConfigError(f"decoding is {precision!r}; {hint}it is one of {', '.join(DECODINGS)}, or 'auto'")


def laid_out(table: Tensor, precision: str) -> OutputRows:
    """Output rows for decoding. Errors: ConfigError where this machine cannot do it."""
    try:
        return OutputRows(table, precision)
    except RuntimeError as error:
        raise ConfigError(
            f"decoding is {precision!r}, and there are {error}: it needs a processor with AVX-512 VNNI and a C "
            "compiler; decode in 'bfloat16' or 'auto'"
        ) from None


@torch.inference_mode()
def fastest(engine: Engine, table: Tensor) -> Decoding:
    """What decodes fastest, by a few steps of each. Where two are within a twentieth the more exact one is taken."""
    measured: dict[str, float] = {}
    states = torch.randn(ROWS, table.shape[1], generator=torch.Generator().manual_seed(0))
    for precision in DECODINGS:
        try:
            rows = laid_out(table, precision)
        except ConfigError:
            continue
        with reduced(engine, precision != "float32"):
            measured[precision] = 1000 * (_least(_scoring(rows, states)) + _least(_stepping(engine)))
    best = min(measured.values())
    return Decoding(next(name for name, found in measured.items() if found <= 1.05 * best), measured)


class reduced:  # noqa: N801
    """Within it an engine that can steps in bfloat16, or does not."""

    def __init__(self, engine: Engine, yes: bool) -> None:
        self.engine: Any = engine
        self.yes = yes

    def __enter__(self) -> None:
        self.before = getattr(self.engine, "reduced", None)
        if self.before is not None:
            self.engine.reduced = self.yes

    def __exit__(self, *problem: object) -> None:
        if self.before is not None:
            self.engine.reduced = self.before


def _scoring(rows: OutputRows, states: Tensor) -> Callable[[], object]:
    whole = len(rows.table)
    if rows.shortlist is None:
        return lambda: torch.log_softmax(rows.scores(states, 0, whole), 1).topk(BEST)
    shortlist = rows.shortlist
    return lambda: shortlist.best(states, 0, whole, BEST)


def _stepping(engine: Engine) -> Callable[[], object]:
    session = engine.open(None, None, ROWS) if getattr(engine, "reduced", None) is not None else None
    if session is None:
        return lambda: None
    position = torch.tensor([[0, -1, -1]])
    embedding = torch.zeros(ROWS, 1, engine.width)
    return lambda: session.append(embedding, position)


def _least(work: Callable[[], object]) -> float:
    """Seconds of the fastest of a few turns; the first, in which things are laid out, does not count."""
    work()
    found = []
    for _ in range(TURNS):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)
