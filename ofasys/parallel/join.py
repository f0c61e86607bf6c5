"""How the processes of a run find each other, and how they part."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist

from ofasys.errors import ConfigError
from ofasys.parallel.last_words import LastWords
from ofasys.parallel.meeting import fresh_name, meeting_place
from ofasys.parallel.network import on_card_to
from ofasys.parallel.place import ADDRESS, PORT, Place, number_of
from ofasys.parallel.ranks import ALONE, Ranks

TIMEOUT = "OFASYS_RANK_TIMEOUT"
"""Of the environment: seconds that a process waits for the others, at their meeting and at any later wait."""
SECONDS = 1800.0

_log = logging.getLogger("ofasys")
_here: list[Ranks] = []  # while joined
_store: list[Any] = []  # of this process, for all the runs it makes


@contextmanager
def joined() -> Iterator[Ranks]:
    """Within it this process is one of those that its launcher started; alone where there is none.

    Nested, it is the same once more. Only the first process warns. However it ends on one process, it ends on all:
    each raises its own error, or RankError with that of the other. Errors: ConfigError as of `Place.told`, or where
    the others do not come.
    """
    if _here:
        yield _here[-1]
        return
    place = Place.told()
    if place.size == 1:
        yield ALONE
        return
    ranks = _meet(place)
    _here.append(ranks)
    level = _log.level
    if not ranks.first:
        _log.setLevel(logging.CRITICAL)
    try:
        yield ranks
        ranks.numbers("the end", ())  # nobody leaves while another may still wait
    except BaseException as error:
        assert ranks.words is not None
        ranks.words.say(error, close)
        raise
    finally:
        _log.setLevel(level)
        _here.remove(ranks)
        close()


def _meet(place: Place) -> Ranks:
    """Find the others. Errors: ConfigError where they do not come in time."""
    if dist.is_initialized():
        raise ConfigError(
            "torch.distributed is initialised already; leave init_process_group to the run: it begins and ends its own"
        )
    seconds = _seconds()
    wait = timedelta(seconds=seconds)
    try:
        if not _store:
            _store.append(meeting_place(place, os.environ, seconds))
        store = dist.PrefixStore(fresh_name(_store[0], place, seconds), _store[0])
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(place.local % torch.cuda.device_count())
        with on_card_to(os.environ[ADDRESS], number_of(os.environ, PORT)):
            dist.init_process_group(
                backend, store=dist.PrefixStore("group", store), rank=place.rank, world_size=place.size, timeout=wait
            )
    except RuntimeError as error:
        raise ConfigError(
            f"process {place.rank} of {place.size} did not meet the others at {os.environ[ADDRESS]} port "
            f"{os.environ[PORT]} ({str(error).splitlines()[0]:.160}); start all of them, with the same "
            "address, a port that is free, and a network between them"
        ) from error
    return Ranks(place, LastWords(store, place))


def _seconds() -> float:
    given = os.environ.get(TIMEOUT, "")
    try:
        seconds = float(given) if given else SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{TIMEOUT} is {given!r}; it is a number of seconds, more than 0")
    return seconds


def close() -> None:
    """Close what processes wait for each other at, if that is not done yet."""
    if dist.is_initialized():
        dist.destroy_process_group()
