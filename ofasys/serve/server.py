"""The process that serves: it begins, and at SIGTERM takes no more, finishes what is in hand, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from collections.abc import Iterator, Sequence

import uvicorn

from ofasys.errors import ConfigError
from ofasys.serve.app import create_app
from ofasys.serve.desk import Desk
from ofasys.serve.service import Service

LOCAL = ("localhost", "127.0.0.1", "::1")
LOOK = 0.02  # seconds between two looks at what is in hand
_log = logging.getLogger("ofasys.serve")


class Server(uvicorn.Server):
    """uvicorn's, but for its end: it would wait for open streams without limit, or close the session under them.

    drain: seconds that requests in hand have to be finished; what is left then is given up, and told so.
    """

    def __init__(self, config: uvicorn.Config, desk: Desk, drain: float) -> None:
        super().__init__(config)
        self.desk, self.drain = desk, drain
        self.last: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the server in order; a second one at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
                loop.add_signal_handler(number, self.end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                    loop.remove_signal_handler(number)

    def end(self) -> None:
        """Take no more requests, and end when none is in hand; asked again, at once."""
        if self.last is not None:
            self.desk.give_up()
            self.should_exit = True
            return
        self.desk.ending = True
        _log.info("ending", extra={"fields": {"in_hand": self.desk.requests, "drain": self.drain}})
        self.last = asyncio.get_running_loop().create_task(self._finish())

    async def _finish(self) -> None:
        """What is refused meanwhile is told so, for the socket stays open until the last answer is sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.drain):
                while self.desk.requests:
                    await asyncio.sleep(LOOK)
        if self.desk.requests:
            _log.warning("given up", extra={"fields": {"in_hand": self.desk.requests}})
            self.desk.give_up()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    while self.desk.requests:
                        await asyncio.sleep(LOOK)
        self.should_exit = True


def serve(
    service: Service,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Sequence[str] = (),
    names: Sequence[str] = (),
    drain: float = 30.0,
) -> None:
    """Serve until a signal ends it. names: other names by which the server is called; `*` for any.

    Errors: ConfigError where the port cannot be had.
    """
    hosts = None if "*" in names else [*LOCAL, host, *names]
    if hosts is not None and not is_local(host) and not names:
        hosts = None  # by what names others call this machine is not known
    app = create_app(service, keys, hosts)
    listening = bound_socket(host, port)
    told = listening.getsockname()
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_keep_alive=30)
    server = Server(config, app.state.desk, drain)
    shown = f"[{told[0]}]" if ":" in told[0] else told[0]
    fields = {"url": f"http://{shown}:{told[1]}", "port": told[1], "model": service.name, "keys": len(keys)}
    _log.info("serving", extra={"fields": fields})
    if not is_local(host) and not keys:
        _log.warning("anyone who reaches this port may ask: give --key-file", extra={"fields": {"host": host}})
    try:
        server.run(sockets=[listening])
    finally:
        service.close(drain=False)
    _log.info("ended")


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens. Errors: ConfigError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.socket(family)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be had: {error.strerror or error}; give another --port") from None
    made.listen(1024)
    return made


def is_local(host: str) -> bool:
    """Whether a name is of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
