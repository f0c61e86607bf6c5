"""The random states that a whole program shares: Python's, numpy's, torch's. Set, compared, put back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed(number: int) -> None:
    """Begin all three anew."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def draws_of(call: Callable[[], object]) -> list[str]:
    """The libraries whose shared state a call draws from."""
    seed(7)
    before = _next()
    seed(7)
    call()
    after = _next()
    return [library for library, number in after.items() if number != before[library]]


def _next() -> dict[str, float]:
    """Library -> the number it draws next."""
    return {"random": random.random(), "numpy": float(np.random.random()), "torch": float(torch.rand(()))}


@contextmanager
def put_back() -> Iterator[None]:
    """Within it all three may be drawn from; after it they are as before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
