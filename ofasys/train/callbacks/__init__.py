"""Callbacks that come with ofasys: a file and a line each."""

from ofasys.train.callbacks.conflict import Conflict
from ofasys.train.callbacks.ema import EMA

__all__ = ["EMA", "Conflict"]
