"""A client of `ofasys serve`: its endpoints as methods, its answers as values. Where the server says so, it asks again.

with Client("http://localhost:8000") as client:
    client.infer("[IMAGE:img] what does the image describe? -> [TEXT:cap]", {"img": Path("cat.png")})["cap"]
"""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload

from ofasys.errors import ConfigError, OfasysError

try:
    import httpx2
except ModuleNotFoundError as error:
    raise ConfigError('the client needs httpx2: pip install "ofasys[serve]"') from error

AGAIN = (429, 503)
FIRST, LONGEST = 0.1, 5.0  # seconds before it asks again, where the server does not say

Row = Mapping[str, Any]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Problem:
    """Why there is no answer, as the server says it."""

    message: str
    """What is wrong, in a sentence."""
    place: str = ""
    """Where."""
    value: str = ""
    """What was found there."""
    next: str = ""
    """The next step."""
    caret: str | None = None
    """Of an instruction its text, and a line with carets under the place."""
    start: int | None = None
    """Of an instruction the first character of the place, from 0."""
    end: int | None = None
    """The character behind it."""
    retry_after: int | None = None
    """Seconds after which asking again may do."""
    row: int | None = None
    """The number of the row, where several were asked."""

    @classmethod
    def of(cls, told: Any) -> Problem:
        """That of a response."""
        known = {name: told[name] for name in cls.__dataclass_fields__ if isinstance(told, Mapping) and name in told}
        return cls(**{"message": str(told)[:200], **known})

    def __str__(self) -> str:
        return "\n".join(part for part in (self.message, self.caret, self.next) if part)


class RefusedError(OfasysError):
    """The server does not answer. status: of HTTP; 0 where it could not be reached. problem: why."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(str(problem))
        self.status, self.problem = status, problem


@dataclass(frozen=True)
class Answer(Mapping[str, Any]):
    """The answer to a row: column -> value; a picture, a sound and the like are bytes. Empty where there is a
    problem.
    """

    values_of: Mapping[str, Any]
    """Column -> value."""
    score: float | None = None
    """As of `Output`."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Label -> probability, of an answer that is one label of a closed set."""
    nbest: Sequence[Answer] = ()
    """All answers, the best first, where several were asked for."""
    problem: Problem | None = None
    """Why there is none."""

    def __getitem__(self, column: str) -> Any:
        if self.problem is not None:
            raise KeyError(f"{column!r}: there is no answer: {self.problem}")
        return self.values_of[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_of)

    def __len__(self) -> int:
        return len(self.values_of)


@dataclass(frozen=True)
class Event:
    """Something of an answer is there."""

    kind: str
    """ "text": more of a text; "slot": a value is whole; "done": the answer."""
    column: str | None
    """Of "text" and "slot" the column."""
    value: Any
    """The text, the value, or the Answer."""


class Client:
    """A server of ofasys, for any thread.

    url: its address. key: one that it knows. patience: seconds for a request in all, until its last attempt ends: it is
    asked again where the server is full, ending, or cannot be reached, for asking twice does no harm. transport: what
    carries requests, of httpx2. sleep, clock: how it waits.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        patience: float = 120.0,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self.patience, self.sleep, self.clock = patience, sleep, clock
        self.http = httpx2.Client(base_url=url, headers=headers, transport=transport, timeout=patience)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its connections."""
        self.http.close()

    @overload
    def infer(
        self,
        instruction: str | None = None,
        data: Row = ...,
        *,
        task: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> Answer: ...

    @overload
    def infer(
        self,
        instruction: str | None = None,
        data: Sequence[Row] = ...,
        *,
        task: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> list[Answer]: ...

    def infer(
        self,
        instruction: str | None = None,
        data: Any = None,
        *,
        task: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> Any:
        """Answer an instruction, or a task of the model, for one row or several.

        data: column -> value, or a list of such. A file is its bytes, or a Path, which is read here; or as the server
        takes it, {"url": ...}. options: as of `OFASys.inference`. Of several rows one that has no answer has a
        `problem`. Errors: RefusedError.
        """
        asked = _asked(instruction, task, data, deadline, options)
        found = self._post("/v1/inference", asked)
        answers = answers_of(found)
        return answers if isinstance(data, Sequence) else answers[0]

    def stream(
        self,
        instruction: str | None = None,
        data: Row | None = None,
        *,
        task: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> Iterator[Event]:
        """The answer to one row as it comes. It is asked again only before its first event. Errors: RefusedError."""
        body = _body(_asked(instruction, task, data, deadline, options))
        request = self.http.build_request("POST", "/v1/inference/stream", **body)
        response = self._again(lambda: _good(self.http.send(request, stream=True)))
        try:
            yield from _events(response)
        finally:
            response.close()

    def embed(self, instruction: str | None = None, data: Any = None, *, task: str | None = None) -> dict[str, Any]:
        """The views of a contrast: column -> an embedding; of several rows a list of them. Errors: RefusedError."""
        found: dict[str, Any] = self._post("/v1/embed", _asked(instruction, task, data, None, {}))["embeddings"]
        return found

    def explain(self, instruction: str | None = None, *, task: str | None = None, size: str | None = None) -> Any:
        """How a line will be carried out, as `/v1/explain` tells it. Errors: RefusedError, with its caret."""
        asked = {"instruction": instruction, "task": task, "size": size}
        return self._post("/v1/explain", {name: value for name, value in asked.items() if value is not None})

    def tasks(self) -> dict[str, Any]:
        """Name -> what `/v1/tasks` tells of it. Errors: RefusedError."""
        found = self._sent("GET", "/v1/tasks", {})
        return {task["name"]: task for task in found["tasks"]}

    def ready(self) -> bool:
        """Whether the server takes requests now."""
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def _post(self, path: str, asked: Row) -> Any:
        return self._sent("POST", path, _body(asked))

    def _sent(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        return self._again(lambda: _good(self.http.request(method, path, **body)).json())

    def _again(self, act: Callable[[], Made]) -> Made:
        """What `act` gives, which is done again as long as the server may yet answer. Errors: RefusedError."""
        end, wait = self.clock() + self.patience, FIRST
        while True:
            try:
                return act()
            except RefusedError as error:
                refused = error
            except httpx2.TransportError as error:
                told = f"{self.http.base_url} cannot be reached: {error or type(error).__name__}"
                refused = RefusedError(0, Problem(told, next="start the server, or correct its address"))
            pause = refused.problem.retry_after or wait * random.uniform(0.5, 1.0)
            if refused.status not in (0, *AGAIN) or self.clock() + pause > end:
                raise refused
            self.sleep(pause)
            wait = min(2 * wait, LONGEST)


def answers_of(found: Mapping[str, Any]) -> list[Answer]:
    """The answers in what the server sends."""
    problems = {problem.row: problem for problem in map(Problem.of, found["errors"])}
    every = found["nbest"] or [[]] * len(found["answers"])
    return [
        Answer(
            {} if values is None else {name: _received(value) for name, value in values.items()},
            score,
            probabilities or {},
            [Answer({n: _received(v) for n, v in one["values"].items()}, one["score"]) for one in best],
            problems.get(row, problems.get(None)) if values is None else None,
        )
        for row, (values, score, probabilities, best) in enumerate(
            zip(found["answers"], found["scores"], found["probabilities"], every, strict=True)
        )
    ]


def _asked(
    instruction: str | None, task: str | None, data: Any, deadline: float | None, options: Row
) -> dict[str, Any]:
    asked = {"instruction": instruction, "task": task, "deadline": deadline, "options": dict(options) or None}
    return {"data": {} if data is None else data} | {name: value for name, value in asked.items() if value is not None}


def _body(asked: Row) -> dict[str, Any]:
    """A request as httpx2 takes it: JSON; with files a form that holds that JSON, and each file as a part."""
    files: dict[str, bytes] = {}
    plain = _named(asked, files)
    if not files:
        return {"json": plain}
    parts = {name: (name, data, "application/octet-stream") for name, data in files.items()}
    return {"data": {"request": json.dumps(plain)}, "files": parts}


def _named(value: Any, files: dict[str, bytes]) -> Any:
    """A value whose files are named, and gathered in `files`."""
    if isinstance(value, Path):
        value = value.read_bytes()
    if isinstance(value, (bytes, bytearray)):
        name = f"file{len(files)}"
        files[name] = bytes(value)
        return {"upload": name}
    if isinstance(value, Mapping):
        return {str(name): _named(one, files) for name, one in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_named(one, files) for one in value] if isinstance(value, (list, tuple)) else value


def _received(value: Any) -> Any:
    """A value of an answer; of a file its bytes."""
    if isinstance(value, list):
        return [_received(one) for one in value]
    if isinstance(value, dict) and value.keys() == {"type", "base64"}:
        return base64.b64decode(value["base64"])
    return value


def _good(response: httpx2.Response) -> httpx2.Response:
    """The response, if it is an answer. Errors: RefusedError."""
    if response.status_code == 200:
        return response
    try:
        response.read()
        told = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        told = {"message": f"status {response.status_code}", "value": response.text[:200]}
    finally:
        response.close()
    raise RefusedError(response.status_code, Problem.of(told))


def _events(response: httpx2.Response) -> Iterator[Event]:
    """The events of a stream, which ends with "done" or with a RefusedError."""
    for event in httpx2.EventSource(response, max_event_size=None):
        told = json.loads(event.data)
        if event.event == "error":
            raise RefusedError(200, Problem.of(told["error"]))
        if event.event == "done":
            yield Event(event.event, None, answers_of(told)[0])
            return
        yield Event(event.event, told["column"], _received(told["value"]))
    raise RefusedError(0, Problem("the stream broke off", next="ask again"))
