"""Before the endpoints: who may come in, how many at once, under which number; and what is said of whatever fails."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
import traceback
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ofasys.serve.refusal import AGAIN, Refusal, closing, refusal_of
from ofasys.serve.reply import fault, refused

if TYPE_CHECKING:
    from ofasys.serve.desk import Desk

OPEN = ("/", "/healthz", "/readyz")  # the page, and what is asked by who looks after processes, have no key
PAGE = "/playground/"  # files of the page
_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger("ofasys.serve")


class Gate:
    """Middleware of ASGI. See `create_app`."""

    def __init__(self, app: ASGIApp, desk: Desk, keys: Sequence[str], hosts: Sequence[str] | None) -> None:
        self.app, self.desk = app, desk
        self.keys = [_digest(key) for key in keys]
        self.hosts = None if hosts is None else frozenset(name.lower() for name in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or tell why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = headers.get("x-request-id", "")
        number = asked if _NUMBER.fullmatch(asked) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = number
        visit = _Visit(self.desk, scope, number, send)
        works = scope["path"].startswith("/v1/") and scope["method"] == "POST"
        self.desk.requests += works
        try:
            self._check(scope, headers, works)
            await self.app(scope, receive, visit.send)
        except Exception as error:
            await visit.fail(error)
        finally:
            self.desk.requests -= works
            visit.end()

    def _check(self, scope: Scope, headers: Headers, works: bool) -> None:
        """Errors: Refusal for who may not come in, or not now."""
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            step = "call the server by its own name, or allow this one with --host-name"
            raise Refusal(403, "the server is not called so", place="header host", value=host, next=step)
        origin = headers.get("origin")
        if origin is not None and works and urlsplit(origin).netloc != host:
            step = "ask from the server's own page, or from a program"
            raise Refusal(403, "a page of another site asks", place="header origin", value=origin, next=step)
        if self.keys and scope["path"] not in OPEN and not scope["path"].startswith(PAGE):
            self._check_key(headers)
        if works and self.desk.ending:
            raise closing()
        if works and self.desk.requests > self.desk.service.limits.requests:
            step = "ask again after `Retry-After` seconds"
            raise Refusal(429, "too many requests are in hand", place="the server", next=step, retry_after=AGAIN)

    def _check_key(self, headers: Headers) -> None:
        """All keys are compared, each in the same time whatever it is, so that nothing can be learnt of them by it."""
        kind, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip() if kind.lower() == "bearer" else headers.get("x-api-key", ""))
        if sum(hmac.compare_digest(given, known) for known in self.keys) == 0:
            step = "send `Authorization: Bearer KEY`"
            raise Refusal(401, "no key that is known", place="header authorization", next=step)


class _Visit:
    """One request, from its first byte to its last: its number on the response, a line in the log, figures."""

    def __init__(self, desk: Desk, scope: Scope, number: str, send: Send) -> None:
        self.desk, self.scope, self.number, self.out = desk, scope, number, send
        self.began, self.status, self.said = time.monotonic(), 0, ""

    async def send(self, message: Message) -> None:
        """Hand on, with the number."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.number
            headers["x-content-type-options"] = "nosniff"
        await self.out(message)

    async def fail(self, error: Exception) -> None:
        """Tell what went wrong, if nothing was told yet."""
        refusal = refusal_of(error)
        if refusal is None:
            _log.error(
                "failed", extra={"fields": self._fields() | {"error": "".join(traceback.format_exception(error))}}
            )
            refusal = fault()
        self.said = refusal.message
        if not self.status:
            await refused(refusal, self.number)(self.scope, _nothing, self.send)

    def end(self) -> None:
        """A line in the log, and figures."""
        seconds = time.monotonic() - self.began
        self.desk.metrics.seen(self._route(), self.scope["method"], self.status, seconds)
        fields = self._fields() | {"status": self.status, "seconds": round(seconds, 4)}
        _log.info("request", extra={"fields": fields | ({"refused": self.said[:200]} if self.said else {})})

    def _route(self) -> str:
        """The path as it was declared: what strangers make up is no name of a figure."""
        return str(getattr(self.scope.get("route"), "path", "other"))

    def _fields(self) -> dict[str, Any]:
        client = self.scope.get("client")
        about = {"request_id": self.number, "method": self.scope["method"], "route": self._route()}
        return about | {"client": client[0] if client else None}


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _digest(key: str) -> bytes:
    """Of one length, so that a comparison takes one time."""
    return hashlib.sha256(key.encode("utf8", "surrogateescape")).digest()


def _name(host: str) -> str:
    """A host without its port."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.strip("[]").lower()
