"""How a run has the engine compute its blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel

if TYPE_CHECKING:
    from ofasys.parallel.sharded import Shards

_log = logging.getLogger("ofasys")

BACKEND: str | Callable[..., Any] = "inductor"  # of torch.compile


def check_modes(model: GeneralistModel, recompute: bool, compile: bool) -> None:
    """Errors: ConfigError for an engine that cannot compute its blocks a second time, or have them compiled."""
    wanted = {"recompute": recompute and not isinstance(getattr(model.engine, "recompute", None), bool)}
    wanted["compile"] = compile and not callable(getattr(model.engine, "compile_blocks", None))
    for name, missing in wanted.items():
        if missing:
            word = "an attribute `recompute`" if name == "recompute" else "a method `compile_blocks(backend)`"
            raise ConfigError(
                f"trainer.{name} is True, and engine {model.engine_spec.name!r} does not have {word}; leave it out, or "
                "give the engine one"
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


@contextmanager
def compiling(model: GeneralistModel, wanted: bool, shards: Shards | None = None) -> Iterator[None]:
    """Within it the blocks of the engine are compiled, if wanted; where that fails it is told, and they are not.

    shards: of weights that lie in pieces.
    """
    engine: Any = model.engine
    if not wanted:
        yield
        return
    try:
        with nullcontext() if shards is None else shards.whole(), model.computing():
            engine.compile_blocks(BACKEND)
    except Exception as error:
        why = " ".join(str(error).split("\n\n")[0].split())
        _log.warning(
            f"the blocks are not compiled ({type(error).__name__}: {why:.200}) and computed as without trainer.compile;"
            " is there a C++ compiler?"
        )
    try:
        yield
    finally:
        engine.compile_blocks(None)
