"""How processes that were started anew find each other in a store that still holds what was said before.

torchrun keeps one store for all its rounds, and so does a process that makes several runs: whoever reads too early
finds addresses of processes that are gone.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from torch.distributed import TCPStore

from ofasys.parallel.place import ADDRESS, PORT, Place, number_of

PAUSE = 0.05  # seconds between two looks
TRY = 5.0  # seconds of one try to reach the store


def meeting_place(place: Place, environment: Mapping[str, str], seconds: float) -> Any:
    """The store at MASTER_ADDR and MASTER_PORT: of torchrun's agent, or of the first process.

    Errors: RuntimeError where nobody is there in time.
    """
    host, port = environment[ADDRESS], number_of(environment, PORT)
    here = place.first and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    until, wait = time.monotonic() + seconds, timedelta(seconds=seconds)
    while not here:  # torch would wait where no signal is heard, and tell of each try
        try:
            socket.create_connection((host, port), min(TRY, seconds)).close()
            break
        except OSError as error:
            if time.monotonic() >= until:
                raise RuntimeError(f"nobody is there: {error}") from error
            time.sleep(PAUSE)
    return TCPStore(host, port, place.size, here, wait, wait_for_workers=False, multi_tenant=True)


def fresh_name(store: Any, place: Place, seconds: float) -> str:
    """A name that all processes of this meeting know, and none before had.

    Each says a word that it draws. The first names the meeting by all words that stand there, which may be old ones,
    and again as they change, until each has said that its own word is among them. Errors: RuntimeError where some do
    not come in time.
    """
    word, until = secrets.token_hex(8), time.monotonic() + seconds
    store.set(f"word/{place.rank}", word)
    while time.monotonic() < until:
        name = _named(store, place) if place.first else _heard(store, place, word)
        if name is not None:
            return name
        time.sleep(PAUSE)
    raise RuntimeError(f"not all of {place.size} came within {seconds:g} seconds")


def _named(store: Any, place: Place) -> str | None:
    """Of the first process: name the meeting by the words that stand there; the name once all have agreed to it."""
    every = [f"word/{rank}" for rank in range(place.size)]
    if not store.check(every):
        return None
    words = [store.get(key).decode() for key in every]
    name = hashlib.blake2b(" ".join(words).encode(), digest_size=8).hexdigest()
    store.set("meeting", json.dumps([name, words]))
    if not store.check([f"{name}/agreed/{rank}" for rank in range(1, place.size)]):
        return None
    store.set(f"{name}/begun", "")
    return name


def _heard(store: Any, place: Place, word: str) -> str | None:
    """Of the others: agree to a name that has this process's word in it; the name once all have."""
    if not store.check(["meeting"]):
        return None
    name, words = json.loads(store.get("meeting"))
    if words[place.rank] != word:
        return None
    store.set(f"{name}/agreed/{place.rank}", "")
    begun: bool = store.check([f"{name}/begun"])
    return name if begun else None
