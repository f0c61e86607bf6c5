"""By which network card the processes of other machines are reached.

gloo takes the address that the machine's own name has, which is the loopback's on many (Debian gives it 127.0.1.1) and
none at all on others: processes of two machines would not find each other.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CARD = "GLOO_SOCKET_IFNAME"
"""Of the environment: the card that gloo takes."""
ADDRESS_OF_CARD = 0x8915  # SIOCGIFADDR of ioctl(2): the IPv4 address of a network card


@contextmanager
def on_card_to(host: str, port: int) -> Iterator[None]:
    """Within it gloo takes the card by which `host` is reached, unless the environment names one."""
    card = None if os.environ.get(CARD) else card_to(host, port)
    if card is None:
        yield
        return
    os.environ[CARD] = card
    try:
        yield
    finally:
        del os.environ[CARD]


def card_to(host: str, port: int) -> str | None:
    """The name of the card by which a host is reached; None of one on this machine's loopback, or where no card has the
    address. Nothing is sent.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            trial.connect((host, port))
            own: str = trial.getsockname()[0]
    except OSError:  # it is reached by IPv6, or not at all, which the meeting tells
        return None
    return None if own.startswith("127.") else _cards().get(own)


def _cards() -> dict[str, str]:
    """IPv4 address -> the card that has it first."""
    found: dict[str, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # one without such an address
                told = fcntl.ioctl(asked.fileno(), ADDRESS_OF_CARD, struct.pack("256s", name.encode()[:15]))
                found[socket.inet_ntoa(told[20:24])] = name
    return found
