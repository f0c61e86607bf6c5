"""Two machines on one: network namespaces with a cable between them and host names of their own, or two loopback
addresses where namespaces are not allowed.

Processes are forked into them as torchrun would start them there, one a machine.
"""

from __future__ import annotations

import ctypes
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.parallel.processes import Ended, begin, end, free_port

NEW_NET, NEW_UTS = 0x40000000, 0x04000000  # of setns(2) and unshare(2)
NAMESPACES = Path("/var/run/netns")


@dataclass(frozen=True)
class Hosts:
    """names: of the two, of their namespaces too where they have some. addresses: the first is where they meet."""

    names: tuple[str, str]
    addresses: tuple[str, str]
    apart: bool
    """Whether they have networks of their own."""

    def run(self, do: Callable[..., Any], *args: Any, seconds: float = 30.0, **settings: Any) -> list[Ended]:
        """do(rank, *args, **settings) on each host. seconds: that they wait for each other."""
        context, port, begun = get_context("fork"), str(free_port()), []
        for rank in range(2):
            mine, theirs = context.Pipe(duplex=False)
            own = {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": "0", "OFASYS_RANK_TIMEOUT": str(seconds)}
            own |= {"MASTER_ADDR": self.addresses[0], "MASTER_PORT": port}
            process = context.Process(target=self._on, args=(rank, theirs, own, do, args, settings))
            process.start()
            theirs.close()
            begun.append((process, mine))
        return [end(process, pipe) for process, pipe in begun]

    def _on(self, rank: int, pipe: Any, environment: dict[str, str], do: Any, args: Any, settings: Any) -> None:
        if self.apart:
            libc = ctypes.CDLL(None, use_errno=True)
            with (NAMESPACES / self.names[rank]).open() as there:
                assert libc.setns(there.fileno(), NEW_NET) == 0
            assert libc.unshare(NEW_UTS) == 0
            socket.sethostname(self.names[rank])
        begin(pipe, environment, lambda: do(rank, *args, **settings))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)


def why_not() -> str | None:
    """Why there can be no network namespaces here; None: there can."""
    try:
        with namespaces():
            return None
    except FileNotFoundError:
        return "there is no `ip` here"
    except subprocess.CalledProcessError as error:
        return f"`ip netns` is not allowed here: {error.stderr.strip()}"


@contextmanager
def namespaces() -> Iterator[Hosts]:
    """Two of them, 10.77.0.1 and 10.77.0.2, gone afterwards."""
    word = secrets.token_hex(3)
    names = (f"ofa{word}a", f"ofa{word}b")
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for place, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.77.0.{place}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        yield Hosts(names, ("10.77.0.1", "10.77.0.2"), True)
    finally:
        for name in names:
            if (NAMESPACES / name).exists():
                ip("netns", "del", name)


LOOPBACK = Hosts(("first", "second"), ("127.0.0.1", "127.0.0.2"), False)
