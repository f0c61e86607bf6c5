"""Files by address, from the hosts that were allowed and from no private one; what an address leads on to is not
followed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import httpx2

from ofasys.serve.limits import Limits
from ofasys.serve.refusal import Refusal

PORTS = {"http": 80, "https": 443}
TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""Networks whose addresses stand for others, of version 4, which may be private."""
Resolve = Callable[[str, int], Sequence[str]]


def addresses(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def is_public(address: str) -> bool:
    """Whether an address is one of the open network: not of this machine, of a local network, or kept for anything."""
    known = ipaddress.ip_address(address)
    if isinstance(known, ipaddress.IPv6Address):
        if any(known in network for network in TRANSLATED):
            return False
        known = known.ipv4_mapped or known
    return known.is_global and not known.is_multicast


class Fetcher:
    """Fetches addresses of `allowed` hosts: `host`, or `host:port` where the port is not the usual one.

    A host is looked up once, and what was found is connected to, so that a name cannot mean another place when it is
    used than when it was checked.
    """

    def __init__(
        self,
        allowed: Sequence[str],
        limits: Limits,
        resolve: Resolve = addresses,
        public: Callable[[str], bool] = is_public,
    ) -> None:
        self.allowed, self.limits, self.resolve, self.public = frozenset(allowed), limits, resolve, public

    def fetch(self, url: str, place: str) -> bytes:
        """The bytes of a file. place: where the address stands, for the message. Errors: Refusal."""
        scheme, host, port, path = self._parts(url, place)
        known = f"{host}:{port}" if PORTS[scheme] != port else host
        if known not in self.allowed:
            there = ", ".join(sorted(self.allowed)) or "none"
            raise _refused(f"addresses of {known} are not fetched", place, url, f"send the file; allowed are: {there}")
        try:
            found = self.resolve(host, port)
        except OSError as error:
            raise _refused(
                f"{host} is not known: {error}", place, url, "correct the address, or send the file"
            ) from None
        if not found or not all(map(self.public, found)):
            raise _refused(f"{host} is no public address", place, url, "send the file itself")
        return self._get(scheme, host, port, path, found[0], place, url)

    def _parts(self, url: str, place: str) -> tuple[str, str, int, str]:
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise _refused(f"no address: {error}", place, url, "give https://host/path") from None
        plain = not (parts.username or parts.password) and url.isascii() and url.isprintable() and " " not in url
        if scheme not in PORTS or not host or not plain:
            raise _refused("no address that is fetched", place, url, "give https://host/path, without a user's name")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return scheme, host, PORTS[scheme] if port is None else port, path

    def _get(self, scheme: str, host: str, port: int, path: str, address: str, place: str, url: str) -> bytes:
        shown = f"[{address}]" if ":" in address else address
        name = host if PORTS[scheme] == port else f"{host}:{port}"
        made = bytearray()
        try:
            with (
                httpx2.Client(trust_env=False, follow_redirects=False, timeout=self.limits.fetch_seconds) as client,
                client.stream(
                    "GET",
                    f"{scheme}://{shown}:{port}{path}",
                    headers={"host": name, "accept-encoding": "identity"},
                    extensions={"sni_hostname": host},
                ) as response,
            ):
                if response.status_code != 200:
                    step = "send the file itself" if response.is_redirect else "correct the address, or send the file"
                    raise _refused(f"{host} answers with status {response.status_code}", place, url, step)
                for part in response.iter_raw():
                    made += part
                    if len(made) > self.limits.body:
                        raise _refused(f"more than {self.limits.body:,} bytes", place, url, "give a smaller file")
        except httpx2.HTTPError as error:
            raise _refused(f"{host} cannot be read: {error or type(error).__name__}", place, url, "send it") from None
        return bytes(made)


def _refused(message: str, place: str, value: str, step: str) -> Refusal:
    return Refusal(422, message, place=place, value=value, next=step)
