"""The face of a criterion, and those that are known. A face is a value: the plan reads it, torch is not needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Criterion:
    """A loss a slot can name. kind: the kind of target it is for. function: "module:name", loaded when first asked."""

    name: str
    about: str
    kind: str
    function: str

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        module, _, name = self.function.partition(":")
        loaded: Callable[..., Any] = getattr(import_module(module), name)
        return loaded


CRITERIA: dict[str, Criterion] = {
    "cross_entropy": Criterion(
        name="cross_entropy",
        about="negative log-likelihood of the tokens, over those that may come at that place; label smoothing",
        kind="tokens",
        function="ofasys.criterion.cross_entropy:cross_entropy",
    ),
}
