"""What the endpoints share, and what they do with a request that was read."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import Request

from ofasys.errors import DeadlineError, FullError
from ofasys.hub import Event, Output, Pending
from ofasys.modality import Modality
from ofasys.serve.body import Body
from ofasys.serve.media import Files
from ofasys.serve.metrics import Metrics
from ofasys.serve.refusal import Refusal, refusal_of
from ofasys.serve.reply import told
from ofasys.serve.service import Service
from ofasys.serve.values import sent
from ofasys.serve.wire import Ask, Embed

Made = TypeVar("Made")
Row = Mapping[str, Any]
GRACE = 1.0  # seconds in which the session says itself that a request is late


class Desk:
    """The service, the threads that make rows ready, and how many requests are in hand."""

    def __init__(self, service: Service, metrics: Metrics, threads: int = 64) -> None:
        self.service, self.metrics = service, metrics
        self.threads = ThreadPoolExecutor(4, thread_name_prefix="ofasys")
        self.reading = ThreadPoolExecutor(threads, thread_name_prefix="ofasys rows")  # they wait for files
        self.ending = False
        self.requests = 0
        self.open: set[Pending] = set()

    async def made(self, function: Callable[..., Made], *arguments: Any) -> Made:
        """What a function gives that takes no long time, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)

    async def read(self, function: Callable[..., Made], *arguments: Any) -> Made:
        """What a function gives that may wait for files, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.reading, function, *arguments)

    def rows(self, asked: Ask | Embed) -> list[dict[str, Any]]:
        """The rows of a request. Errors: Refusal for none, or too many."""
        rows, most = [asked.data] if isinstance(asked.data, dict) else asked.data, self.service.limits.rows
        if not 0 < len(rows) <= most:
            raise Refusal(422, f"{len(rows)} rows", place="data", value=str(len(rows)), next=f"give 1 to {most}")
        return rows

    def end_of(self, asked: Ask) -> float:
        """When a request is late, by the monotonic clock."""
        most = self.service.limits.deadline
        return time.monotonic() + (most if asked.deadline is None else min(asked.deadline, most))

    async def answers(self, body: Body[Ask], rows: Sequence[Row]) -> dict[str, Any]:
        """The answers of all rows. Errors: of one row alone its own; of several what is wrong with all of them."""
        end, alone = self.end_of(body.asked), isinstance(body.asked.data, dict)
        handed = await self._submitted(body, rows, end)
        try:
            found = await asyncio.gather(*(_result(one, end) for one in handed), return_exceptions=True)
        finally:
            self._give_up(handed)
        errors = []
        for number, one in enumerate(found):
            if isinstance(one, BaseException):
                if alone or (refusal := refusal_of(one)) is None:
                    raise one
                errors.append(refusal.to_dict() | {"row": number})
        outputs = [one if isinstance(one, Output) else None for one in found]
        return await self.made(self.service.answered, outputs, _several(body.asked)) | {"errors": errors}

    async def events(self, body: Body[Ask], row: Row, number: str) -> AsyncIterator[bytes]:
        """The server-sent events of one row. Errors: those that are known before the first."""
        end = self.end_of(body.asked)
        (pending,) = await self._submitted(body, [row], end)
        if isinstance(pending, BaseException):
            raise pending
        specs = await self.made(self.service.specs, body.asked)
        return self._events(pending, end, number, _Teller(self.service, specs, number, _several(body.asked)))

    async def embeddings(self, body: Body[Embed], rows: Sequence[Row]) -> dict[str, Any]:
        """Column -> embeddings."""
        service, seconds = self.service, self.service.limits.deadline
        line = await self.made(service.line, body.asked)
        files, end = Files(body.uploads, service.fetcher), time.monotonic() + seconds
        async with asyncio.timeout(seconds):
            found = await self.read(service.embed, line, rows, files, end)
        alone = isinstance(body.asked.data, dict)
        return {column: (values[0] if alone else values).tolist() for column, values in found.items()}

    async def _submitted(self, body: Body[Ask], rows: Sequence[Row], end: float) -> list[Pending | BaseException]:
        """Of each row what it was handed in as, or why it was not. Errors: of the request as a whole."""
        service = self.service
        line = await self.made(service.line, body.asked)
        options = service.options(body.asked)
        await self.made(service.check, line, options)
        if time.monotonic() > end:  # what is late already is not begun, however soon it would be answered
            raise DeadlineError("the answer was not there in time")
        files = Files(body.uploads, service.fetcher)
        tasks = [self.read(service.submit, line, row, options, files, n, end) for n, row in enumerate(rows)]
        found: list[Pending | BaseException] = await asyncio.gather(*tasks, return_exceptions=True)
        self.open |= {one for one in found if isinstance(one, Pending)}
        if full := next((one for one in found if isinstance(one, FullError)), None):
            self._give_up(found)
            raise full
        return found

    def _give_up(self, handed: Sequence[Pending | BaseException]) -> None:
        """Nobody waits for these any more; those that are answered stay so."""
        for one in handed:
            if isinstance(one, Pending):
                one.cancel()
                self.open.discard(one)

    async def _events(self, pending: Pending, end: float, number: str, teller: _Teller) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event] = asyncio.Queue()

        def follow() -> None:
            for event in pending.events():
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(queue.put_nowait, event)

        threading.Thread(target=follow, name="ofasys stream", daemon=True).start()
        try:
            while True:
                async with asyncio.timeout(_left(end)):
                    event = await queue.get()
                yield await self.made(teller.line, event)
                if event.kind in ("done", "error"):
                    return
        except TimeoutError as error:
            yield event_line("error", {"error": told(error), "request_id": number})
        finally:
            self._give_up([pending])

    def give_up(self) -> None:
        """Give up all that is being answered: the server has waited long enough."""
        self._give_up(list(self.open))


class _Teller:
    """Events of one request as lines of a stream."""

    def __init__(self, service: Service, specs: Mapping[str, Modality], number: str, several: bool) -> None:
        self.service, self.specs, self.number, self.several = service, specs, number, several

    def line(self, event: Event) -> bytes:
        """One event."""
        if event.kind == "error":
            return event_line("error", {"error": told(event.value), "request_id": self.number})
        if event.kind == "done":
            answers = self.service.answered([event.value], self.several)
            return event_line("done", answers | {"errors": [], "request_id": self.number})
        value = sent(event.value, self.specs.get(str(event.column)))
        return event_line(event.kind, {"column": event.column, "value": value})


def event_line(kind: str, value: Any) -> bytes:
    """A server-sent event."""
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()


async def while_there(request: Request, work: Awaitable[Made]) -> Made:
    """What the work gives; it is given up where nobody waits for it any more."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_leaves(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refusal(499, "nobody waits for the answer", place="the connection", next="ask again")
        return working.result()
    finally:
        for one in (working, leaving):
            one.cancel()
        await asyncio.wait({working, leaving})


async def _leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _result(pending: Pending | BaseException, end: float) -> Output:
    if isinstance(pending, BaseException):
        raise pending
    async with asyncio.timeout(_left(end)):
        return await asyncio.wrap_future(pending.future)


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic()) + GRACE


def _several(asked: Ask) -> bool:
    return asked.options.get("n_best", 1) != 1
