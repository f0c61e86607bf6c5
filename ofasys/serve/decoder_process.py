"""The processes that read strangers' files: a file of picture, sound or film goes in, features come out.

The first of them loads the libraries, and is asked for the others, which it forks: each begins in milliseconds. One may
be ended at any moment, by its limits or by what it reads, and another takes its place. What it hands over is JSON and
the numbers of arrays, in which nothing can be hidden that the server would run.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import signal
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError, OfasysError
from ofasys.modality import Context, Part, plugin
from ofasys.types import SlotFeatures

HEAD = 8  # bytes that say how long the JSON is


def packed(features: SlotFeatures) -> bytes:
    """Features as `unpacked` reads them."""
    arrays = dict(features.tensors)
    if features.grid is not None:
        arrays["grid of the features"] = features.grid
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    about = {
        "arrays": {name: [array.dtype.str, array.shape] for name, array in whole.items()},
        "length": int(features.length),
        "orders": None if features.orders is None else int(features.orders),
        "info": _plain(features.info),
        "grid": features.grid is not None,
    }
    head = json.dumps(about).encode()
    return b"".join([len(head).to_bytes(HEAD, "little"), head, *(array.tobytes() for array in whole.values())])


def unpacked(message: bytes) -> SlotFeatures:
    """The features of a message of `packed`. Errors: DataError for the refusal that it may hold, ConfigError for that
    of a setting, ValueError for no such message.
    """
    end = HEAD + int.from_bytes(message[:HEAD], "little")
    about = json.loads(message[HEAD:end])
    if "refused" in about:
        if about["setting"]:
            raise ConfigError(str(about["refused"]))
        raise DataError(str(about["refused"]), expected=str(about["expected"]))
    arrays = {}
    for name, (kind, shape) in about["arrays"].items():
        dtype = np.dtype(kind)
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {kind}")
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(message, dtype, count, end).reshape(shape).copy()
        end += count * dtype.itemsize
    grid = arrays.pop("grid of the features") if about["grid"] else None
    return SlotFeatures(arrays, about["length"], grid, about["orders"], about["info"])


def refused(error: OfasysError) -> bytes:
    """An error of a value as `unpacked` raises it again."""
    data = isinstance(error, DataError)
    about = {
        "refused": error.message if isinstance(error, DataError) else str(error),
        "expected": error.expected if isinstance(error, DataError) else "",
        "setting": not data,
    }
    head = json.dumps(about).encode()
    return len(head).to_bytes(HEAD, "little") + head


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a value besides, as JSON holds it."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in info.items()}


def bound(memory: int) -> None:
    """Limit this process: `memory` bytes more than it has, no files written, no picture of its memory left behind."""
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def answer(request: bytes) -> bytes:
    """The features of one request: (name of the slot, its preprocessor, the name of what takes
    values from outside, the value, ids of the vocabulary)."""
    where, preprocessor, outside, value, ids = ForkingPickler.loads(request)
    try:
        made = plugin.called(where, Part(outside).resolve(), value)
        return packed(plugin.read(where, preprocessor.preprocess, made, Context(), ids))
    except OfasysError as error:
        return refused(error)
    except MemoryError:
        return refused(DataError("it takes more memory than a file may", expected="a smaller file"))


def read_files(line: Connection, memory: int) -> None:
    """Answer requests until there are no more."""
    bound(memory)
    line.send_bytes(os.getpid().to_bytes(HEAD, "little"))
    while True:
        try:
            request = line.recv_bytes()
        except (EOFError, OSError):
            return
        line.send_bytes(answer(request))


def main(descriptor: int, memory: int, modules: Sequence[str]) -> None:
    """Load the modules; then for each descriptor that comes begin a process that reads files through it."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, for the server alone
    for module in modules:
        with suppress(Exception):  # a library that is not installed is told of when it is needed
            importlib.import_module(module)
    asked = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    while True:
        _, descriptors, _, _ = socket.recv_fds(asked, 1, 1)
        if not descriptors:
            return
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asked.close()
            try:
                read_files(Connection(descriptors[0]), memory)
            finally:
                os._exit(0)
        os.close(descriptors[0])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
