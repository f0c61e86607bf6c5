"""A command in several processes of this machine, each told which of them it is, as torchrun does. Imports no torch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ofasys.parallel.place import ADDRESS, LOCAL, PORT, RANK, SIZE

GRACE = 20.0  # seconds that the others have to end by themselves once one has failed
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Process = subprocess.Popen[bytes]


def launch(command: Sequence[str], processes: int) -> int:
    """Run `command` so many times, and wait for all: the exit status, 0 where each ended with 0.

    Else that of process 0, or of the first that failed; 128 and its number for a signal. A signal to this process is
    given to each of them once, wherever it came from. Once one has failed, the others are ended after GRACE seconds.
    """
    environment = os.environ | {SIZE: str(processes), ADDRESS: "127.0.0.1", PORT: str(_free_port())}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    begun: list[Process] = []
    with _forwarding(begun):
        for rank in range(processes):
            own = environment | {RANK: str(rank), LOCAL: str(rank)}
            begun.append(subprocess.Popen(command, env=own, process_group=0))
        while any(process.poll() is None for process in begun):
            if any(process.returncode for process in begun):
                _end(begun)
            else:
                with suppress(ChildProcessError):  # the last was met while a signal was given on
                    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    failed = [process.returncode for process in begun if process.returncode]
    status = begun[0].returncode or (failed[0] if failed else 0)
    return status if status >= 0 else 128 - status


@contextmanager
def _forwarding(begun: Sequence[Process]) -> Iterator[None]:
    """Within it signals go to the processes, which have groups of their own: a terminal's Ctrl-C reaches each once."""

    def forward(number: int, frame: Any) -> None:
        for process in begun:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield
    finally:
        for process in begun:
            if process.poll() is None:  # only where this process itself fails
                process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(begun: Sequence[Process]) -> None:
    """Wait until each has ended; whoever takes too long is asked to, and then made to."""
    until = time.monotonic() + GRACE
    for ask in (None, Process.terminate, Process.kill):
        for process in begun:
            if process.poll() is None:
                if ask is not None:
                    ask(process)
                try:
                    process.wait(max(0.1, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    until = time.monotonic() + GRACE / 4
                    break


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
