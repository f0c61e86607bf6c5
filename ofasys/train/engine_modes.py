"""How a run has the engine compute its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel


def check_recompute(model: GeneralistModel) -> None:
    """Errors: ConfigError for an engine that cannot compute its blocks a second time."""
    if not isinstance(getattr(model.engine, "recompute", None), bool):
        raise ConfigError(
            f"trainer.recompute is True, and engine {model.engine_spec.name!r} has no attribute `recompute` to be told "
            "so; leave it out, or give the engine one"
        )


@contextmanager
def recomputing(model: GeneralistModel, wanted: bool) -> Iterator[None]:
    """Within it the engine computes its blocks again for their gradients, if wanted."""
    engine: Any = model.engine
    if not wanted:
        yield
        return
    before = engine.recompute
    engine.recompute = True
    try:
        yield
    finally:
        engine.recompute = before
