"""Processes that read the files strangers send. One that dies or takes too long takes its file with it, no more."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ofasys.errors import DataError, DeadlineError, OfasysError
from ofasys.modality import Part
from ofasys.serve.decoder_process import unpacked
from ofasys.serve.limits import Limits
from ofasys.types import SlotFeatures

FILES = 500  # that a process reads before another takes its place
EXPECTED = "a file that can be read, within the limits"


class Decoder:
    """One such process."""

    def __init__(self, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        self.limits, self.read = limits, 0
        environment = os.environ | {"OFASYS_MOST_PIXELS": str(limits.pixels), "OMP_NUM_THREADS": "1"}
        words = [str(theirs.fileno()), str(limits.decode_memory)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ofasys.serve.decoder_process", *words],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        theirs.close()
        self.line = Connection(ours.detach())
        self.begun = False

    def ask(self, request: bytes) -> bytes:
        """What it answers. Errors: DataError where it dies of the request, or takes too long."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self.process.kill()

        if not self.begun:  # what it needs is read, which is not the file's fault
            self.line.recv_bytes()
            self.begun = True
        timer = threading.Timer(self.limits.decode_seconds, end)
        timer.start()
        try:
            self.line.send_bytes(request)
            return self.line.recv_bytes()
        except (EOFError, OSError) as error:
            if late.is_set():
                took = f"it takes more than {self.limits.decode_seconds:g} s to be read"
                raise DataError(took, expected="a smaller file, or another") from None
            self.process.wait()
            how = f"what reads it ended with {self.process.returncode}"
            raise DataError(how, expected=EXPECTED) from error
        finally:
            timer.cancel()
            self.read += 1

    @property
    def usable(self) -> bool:
        """Whether it may read one more file."""
        return self.process.poll() is None and self.read < FILES

    def end(self) -> None:
        """End the process, whatever it is doing."""
        with suppress(OSError):
            self.line.close()
        self.process.kill()
        self.process.wait()


class Decoders:
    """As many of them as the limits say. Any thread may ask."""

    def __init__(self, limits: Limits, begin: Callable[[Limits], Decoder] = Decoder) -> None:
        self.limits, self.begin = limits, begin
        self.idle: queue.LifoQueue[Decoder] = queue.LifoQueue()
        self.deaths = 0
        self.closed = False
        for _ in range(limits.decoders):
            self.idle.put(begin(limits))

    def features(self, where: str, preprocessor: Any, outside: Part, value: Any, ids: int, wait: float) -> SlotFeatures:
        """What the preprocessor of a slot makes of a value. ids: of the vocabulary. wait: seconds for a process.

        Errors: DataError for a file that cannot be read, is too large or takes too long; DeadlineError where others
        are read all the time.
        """
        request = bytes(ForkingPickler.dumps((where, preprocessor, outside.load, value, ids)))
        try:
            decoder = self.idle.get(timeout=max(wait, 0.0))
        except queue.Empty:
            raise DeadlineError(f"the file could not be read within {wait:.3g} s, for others are read") from None
        try:
            message = decoder.ask(request)
        finally:
            self._back(decoder)
        try:
            return unpacked(message)
        except OfasysError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"what reads it gave no features: {error}", expected=EXPECTED) from None

    def _back(self, decoder: Decoder) -> None:
        """Hand the process back, or another in its place."""
        if not decoder.usable or self.closed:
            self.deaths += decoder.process.poll() is not None
            decoder.end()
            if self.closed:
                return
            decoder = self.begin(self.limits)
        self.idle.put(decoder)

    def close(self) -> None:
        """End all processes; those that read end when they are handed back."""
        self.closed = True
        with suppress(queue.Empty):
            while True:
                self.idle.get_nowait().end()
