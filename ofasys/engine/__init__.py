"""Engines: what computes the hidden states of streams. A protocol, the record one registers with, and those known.

The records load without torch; the protocol is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ofasys.engine.spec import ENGINES, TRANSFORMER, EngineSpec

if TYPE_CHECKING:
    from ofasys.engine.protocol import Engine, Joined, Joining, Parting, Session, Tree

__all__ = ["ENGINES", "TRANSFORMER", "Engine", "EngineSpec", "Joined", "Joining", "Parting", "Session", "Tree"]


def __getattr__(name: str) -> Any:
    if name in ("Engine", "Joined", "Joining", "Parting", "Session", "Tree"):
        from ofasys.engine import protocol

        return getattr(protocol, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
