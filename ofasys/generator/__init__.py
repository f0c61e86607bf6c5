"""From hidden states to answers: the target sentence as an automaton, and searches that stay inside it.

Importing this room imports no torch. `ofasys.generator.search.search` and `ofasys.generator.rank.rank` do the work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ofasys.generator.generator import GENERATORS, Generator
from ofasys.generator.options import SearchOptions

if TYPE_CHECKING:
    from ofasys.generator.constraint import Constraint, EmissionClass, bind
    from ofasys.generator.decoder import Decoder
    from ofasys.generator.hypothesis import Hypothesis

__all__ = [
    "GENERATORS",
    "Constraint",
    "Decoder",
    "EmissionClass",
    "Generator",
    "Hypothesis",
    "SearchOptions",
    "bind",
]

_LAZY = {
    "Constraint": "ofasys.generator.constraint",
    "EmissionClass": "ofasys.generator.constraint",
    "bind": "ofasys.generator.constraint",
    "Decoder": "ofasys.generator.decoder",
    "Hypothesis": "ofasys.generator.hypothesis",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
