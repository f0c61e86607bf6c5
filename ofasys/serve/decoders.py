"""Processes that read the files strangers send. One that dies or takes too long takes its file with it, no more."""

from __future__ import annotations

import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ofasys.errors import DataError, DeadlineError, OfasysError
from ofasys.modality import Part, Registry
from ofasys.serve.decoder_process import unpacked
from ofasys.serve.limits import Limits
from ofasys.types import SlotFeatures

FILES = 500  # that a process reads before another takes its place
EXPECTED = "a file that can be read, within the limits"
SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


class NotBegunError(Exception):
    """A process has ended before it was asked for anything."""


class Nursery:
    """The process that the others are forked from. modules: what it loads first."""

    def __init__(self, limits: Limits, modules: Iterable[str]) -> None:
        self.limits, self.modules = limits, sorted(set(modules))
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.line: socket.socket | None = None
        self.begin()

    def begin(self) -> socket.socket:
        """Start it; it is not waited for."""
        self.line, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ofasys.serve.decoder_process",
                str(theirs.fileno()),
                str(self.limits.decode_memory),
                *self.modules,
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_without_secrets() | {"OFASYS_MOST_PIXELS": str(self.limits.pixels), "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        return self.line

    def child(self) -> Connection:
        """The line to a process that will read files. It is there when it says so. Where the first has died another is
        begun.
        """
        ours, theirs = socket.socketpair()
        with self.lock, theirs:
            assert self.line is not None
            try:
                socket.send_fds(self.line, [b"c"], [theirs.fileno()])
            except OSError:
                self.close()
                socket.send_fds(self.begin(), [b"c"], [theirs.fileno()])
        return Connection(ours.detach())

    def close(self) -> None:
        """End it; those that read end by themselves."""
        if self.line is not None and self.process is not None:
            self.line.close()
            self.process.kill()
            self.process.wait()


class Decoder:
    """One process that reads files, one at a time."""

    def __init__(self, line: Connection, seconds: float) -> None:
        self.line, self.seconds = line, seconds
        self.process: int | None = None  # a descriptor of it, which means no other when its number is given anew
        self.read = 0
        self.dead = False

    def ask(self, request: bytes, wait: float) -> bytes:
        """What it answers. wait: seconds until it has begun.

        Errors: DataError where it dies of the request, or takes too long; DeadlineError where it has not begun yet,
        NotBegunError where it never will.
        """
        if self.process is None:
            self._met(wait)
        late = threading.Event()

        def end() -> None:
            late.set()
            self.kill()

        timer = threading.Timer(self.seconds, end)
        timer.start()
        try:
            self.line.send_bytes(request)
            return self.line.recv_bytes()
        except (EOFError, OSError):
            self.dead = True
            what = f"it takes more than {self.seconds:g} s to be read" if late.is_set() else "what reads it died of it"
            raise DataError(what, expected=EXPECTED) from None
        finally:
            timer.cancel()
            self.read += 1

    def _met(self, wait: float) -> None:
        if not self.line.poll(wait):
            raise DeadlineError(f"the file could not be read within {wait:.3g} s, for what reads files begins yet")
        try:
            self.process = os.pidfd_open(int.from_bytes(self.line.recv_bytes(), "little"))
        except (EOFError, OSError) as error:
            self.dead = True
            raise NotBegunError("what reads files has ended before it began") from error

    @property
    def usable(self) -> bool:
        """Whether it may read one more file."""
        ended = self.process is not None and bool(select.select([self.process], [], [], 0)[0])
        return not (self.dead or ended) and self.read < FILES

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.process, signal.SIGKILL)

    def end(self) -> None:
        """End the process, and let go of it."""
        self.kill()
        self.line.close()
        if self.process is not None:
            os.close(self.process)
            self.process = None


class Decoders:
    """As many of them as the limits say. Any thread may ask."""

    def __init__(self, limits: Limits, registry: Registry) -> None:
        self.limits = limits
        self.nursery = Nursery(limits, _modules(registry))
        self.idle: queue.LifoQueue[Decoder] = queue.LifoQueue()
        self.deaths = 0
        self.closed = False
        for _ in range(limits.decoders):
            self.idle.put(self._begun())

    def features(self, where: str, preprocessor: Any, outside: Part, value: Any, ids: int, wait: float) -> SlotFeatures:
        """What the preprocessor of a slot makes of a value. ids: of the vocabulary. wait: seconds for a process.

        Errors: DataError for a file that cannot be read, is too large or takes too long; DeadlineError where others
        are read all the time.
        """
        request = bytes(ForkingPickler.dumps((where, preprocessor, outside.load, value, ids)))
        try:
            message = self._answered(request, wait)
        except NotBegunError:  # which is no fault of the file
            message = self._answered(request, wait)
        try:
            return unpacked(message)
        except OfasysError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"what reads it gave no features: {error}", expected=EXPECTED) from None

    def _answered(self, request: bytes, wait: float) -> bytes:
        try:
            decoder = self.idle.get(timeout=max(wait, 0.0))
        except queue.Empty:
            raise DeadlineError(f"the file could not be read within {wait:.3g} s, for others are read") from None
        try:
            return decoder.ask(request, wait)
        finally:
            self._back(decoder)

    def _begun(self) -> Decoder:
        return Decoder(self.nursery.child(), self.limits.decode_seconds)

    def _back(self, decoder: Decoder) -> None:
        """Hand the process back, or another in its place."""
        if decoder.usable and not self.closed:
            self.idle.put(decoder)
            return
        self.deaths += decoder.dead
        decoder.end()
        if not self.closed:
            self.idle.put(self._begun())

    def close(self) -> None:
        """End all processes; those that read end when they are handed back."""
        self.closed = True
        self.nursery.close()
        with suppress(queue.Empty):
            while True:
                self.idle.get_nowait().end()


def _without_secrets() -> dict[str, str]:
    """The environment, but for what a stranger's file should not find there."""
    return {name: value for name, value in os.environ.items() if not SECRET.search(name)}


def _modules(registry: Registry) -> list[str]:
    """Those of all preprocessors, which read files."""
    parts = [part for spec in registry.modalities for part in (spec.outside, *spec.preprocess.values())]
    return [part.load.partition(":")[0] for part in parts]
