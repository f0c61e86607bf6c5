"""Processes of a run, forked from the one that tests: they begin at once, and what each gave comes back."""

from __future__ import annotations

import faulthandler
import gc
import os
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from ofasys.errors import OfasysError

SECONDS = 60  # after which a process that still waits is a failure of the test


@dataclass
class Ended:
    """How a process ended. value: what it gave; error: what it raised, its kind first; code: of its end."""

    value: Any = None
    error: str = ""
    code: int | None = None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def aside(do: Callable[..., Any], *args: Any, **settings: Any) -> Ended:
    """do(*args, **settings) in a process of its own. It has ended when it, and all that were forked from it, have."""
    return end(*begun({}, partial(do, *args, **settings)))


def on_ranks(size: int, do: Callable[..., Any], *args: Any, **settings: Any) -> list[Ended]:
    """do(rank, *args, **settings) in `size` processes that find each other as torchrun's do.

    One that hangs is ended.
    """
    environment = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    every = []
    for rank in range(size):
        own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OFASYS_RANK_TIMEOUT": str(SECONDS / 2)}
        every.append(begun(own, partial(do, rank, *args, **settings)))
    return [end(process, pipe) for process, pipe in every]


def begun(environment: dict[str, str], do: Callable[[], Any]) -> tuple[Any, Any]:
    """(a process that does so with these in its environment, where what it gives comes)."""
    context = get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=begin, args=(theirs, environment, do))
    process.start()
    theirs.close()
    return process, mine


def begin(pipe: Any, environment: dict[str, str], do: Callable[[], Any]) -> None:
    gc.freeze()  # what the parent no longer needs is not let go of here: threads that it would wait for are not
    os.environ.update(environment)
    faulthandler.dump_traceback_later(SECONDS - 5, file=sys.__stderr__)  # one that hangs says where
    try:
        pipe.send(Ended(do()))
    except BaseException as error:
        pipe.send(Ended(error=f"{type(error).__name__}: {error}"))
        if not isinstance(error, OfasysError | SystemExit | KeyboardInterrupt):
            traceback.print_exc()
        raise SystemExit(1) from None


def end(process: Any, pipe: Any) -> Ended:
    try:
        found = pipe.recv() if pipe.poll(SECONDS) else Ended(error="it hung")
    except EOFError:
        found = Ended(error="it was killed")
    process.join(10)
    if process.exitcode is None:
        process.kill()
        process.join()
    found.code = process.exitcode
    return found
