"""Engines: what computes the hidden states of streams. A protocol, the record one registers with, and those known."""

from ofasys.engine.protocol import Engine, Session, Tree
from ofasys.engine.spec import ENGINES, TRANSFORMER, EngineSpec

__all__ = ["ENGINES", "TRANSFORMER", "Engine", "EngineSpec", "Session", "Tree"]
