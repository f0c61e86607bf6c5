"""Optimizers by name: a file and a line each."""

from __future__ import annotations

from ofasys.train.optimizers.adafactor import ADAFACTOR
from ofasys.train.optimizers.adamw import ADAMW
from ofasys.train.optimizers.muon import MUON
from ofasys.train.optimizers.spec import OptimizerSpec, find

OPTIMIZERS: dict[str, OptimizerSpec] = {one.name: one for one in (ADAMW, ADAFACTOR, MUON)}

__all__ = ["ADAFACTOR", "ADAMW", "MUON", "OPTIMIZERS", "OptimizerSpec", "find"]
