"""Optimizers by name: a file and a line each."""

from ofasys.train.optimizers.adafactor import ADAFACTOR
from ofasys.train.optimizers.adamw import ADAMW
from ofasys.train.optimizers.known import OPTIMIZERS, known_optimizers
from ofasys.train.optimizers.muon import MUON
from ofasys.train.optimizers.spec import OptimizerSpec, find

__all__ = ["ADAFACTOR", "ADAMW", "MUON", "OPTIMIZERS", "OptimizerSpec", "find", "known_optimizers"]
