"""How the server ends: it takes no more, finishes what is in hand, streams too, and closes nothing under them."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
import uvicorn

from ofasys.client import Client
from ofasys.errors import FullError
from ofasys.hub import Event, Pending
from ofasys.serve.app import create_app
from ofasys.serve.server import Server, bound_socket

ASKED = {"task": "entail", "data": {"sent1": "a cat", "sent2": "dog"}}


class Held:
    """A session whose answers are given by the test."""

    waiting = running = done = tokens = 0

    def __init__(self):
        self.handed = []
        self.came = threading.Semaphore(0)
        self.full = False

    def submit(self, *arguments, **options):
        if self.full:
            raise FullError("1 request waits, as many as may")
        self.handed.append(Pending(lambda: None))
        self.came.release()
        return self.handed[-1]


class Running:
    """A server in a thread."""

    def __init__(self, service, drain):
        self.socket = bound_socket("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        app = create_app(service)
        self.server = Server(uvicorn.Config(app, log_config=None), app.state.desk, drain)
        self.begun = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.begun.wait(30)

    def run(self):
        async def main():
            self.loop = asyncio.get_running_loop()
            self.begun.set()
            await self.server.serve(sockets=[self.socket])

        asyncio.run(main())

    def end(self):
        self.loop.call_soon_threadsafe(self.server.end)


@pytest.fixture
def held(service, monkeypatch):
    made = Held()
    monkeypatch.setattr(service, "session", made)
    return made


def begun(client, held):
    """A stream whose first event is there, in a context."""
    stream = client.stream("POST", "/v1/inference/stream", json=ASKED)
    response = stream.__enter__()
    assert held.came.acquire(timeout=30)
    held.handed[-1].tell(Event("text", "label", "ye"))
    lines = response.iter_lines()
    assert next(lines) == "event: text"
    return stream, lines


def test_open_streams_are_finished_and_no_more_is_taken(service, held, answerer):
    running = Running(service, drain=30.0)
    with httpx2.Client(base_url=running.url, timeout=30) as client, ThreadPoolExecutor(1) as threads:
        stream, lines = begun(client, held)
        waits = threads.submit(httpx2.post, f"{running.url}/v1/inference", json=ASKED, timeout=30)
        assert held.came.acquire(timeout=30)
        assert client.get("/readyz").status_code == 200
        running.end()
        while client.get("/readyz").status_code != 503:
            pass
        refused = client.post("/v1/inference", json=ASKED)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/healthz").status_code == 200
        output = answerer.inference(answerer.tasks["entail"].instructions[0], ASKED["data"])
        for pending in held.handed:
            pending.answer(output)
        rest = [line for line in lines if line]
        stream.__exit__(None, None, None)
        assert rest[-2] == "event: done"
        assert json.loads(rest[-1].removeprefix("data: "))["answers"] == [dict(output)]
        assert waits.result(30).json()["answers"] == [dict(output)]
    running.thread.join(30)
    assert not running.thread.is_alive()


def test_what_takes_longer_than_the_drain_is_told_so(service, held):
    running = Running(service, drain=0.05)
    with httpx2.Client(base_url=running.url, timeout=30) as client:
        stream, lines = begun(client, held)
        running.end()
        rest = [line for line in lines if line]
        stream.__exit__(None, None, None)
    assert rest[-2] == "event: error"
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["message"] == "the server is ending"
    running.thread.join(30)
    assert not running.thread.is_alive()
    assert held.handed[-1].over


def test_who_leaves_is_answered_no_more(service, held):
    running = Running(service, drain=1.0)
    with httpx2.Client(base_url=running.url, timeout=30) as client:
        stream, _ = begun(client, held)
        stream.__exit__(None, None, None)
    assert given_up(held.handed[-1])
    body = json.dumps(ASKED).encode()
    head = f"POST /v1/inference HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    with socket.create_connection(running.socket.getsockname()) as line:
        line.sendall(head.encode() + b"\r\n\r\n" + body)
        assert held.came.acquire(timeout=30)
    assert given_up(held.handed[-1])
    running.end()
    running.thread.join(30)


def given_up(pending):
    """Whether a request is cancelled, which is waited for."""
    over = threading.Event()
    pending.future.add_done_callback(lambda future: over.set())
    return over.wait(30) and pending.future.cancelled()


def test_a_full_queue_says_when_to_ask_again(http, held):
    held.full = True
    for request in (ASKED, {"task": "entail", "data": [ASKED["data"]] * 3}):
        response = http.post("/v1/inference", json=request)
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        assert response.json()["error"]["retry_after"] == 1


def test_too_many_requests_at_once_are_told_so(http, service, held, monkeypatch):
    monkeypatch.setattr(http.app.state.desk, "requests", service.limits.requests)
    assert http.post("/v1/inference", json=ASKED).status_code == 429
    assert http.get("/v1/tasks").status_code == 200


def test_a_deadline_is_kept(http, service):
    response = http.post("/v1/inference", json=ASKED | {"deadline": 1e-6})
    assert response.status_code == 504
    assert response.json()["error"]["place"] == "deadline"
    response = http.post("/v1/inference/stream", json=ASKED | {"deadline": 1e-6})
    assert response.status_code == 504


def serving(folder, port):
    """A process that serves, and its port."""
    words = ["serve", str(folder), "--port", str(port), "--limit", "decoders=1"]
    start = "import sys; from ofasys.cli.main import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", start, *words], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        told = json.loads(line)
        if told["event"] == "serving":
            return process, told["port"]
    raise AssertionError("the server did not begin")


@pytest.mark.slow
def test_a_server_that_is_ended_and_begun_again_loses_no_request(answerer, files, tmp_path):
    """A hundred requests; what is in hand when it is told to end is answered, what comes then is asked again."""
    answerer.save_pretrained(tmp_path / "model")
    line, words = "[TEXT:t] -> [TEXT:u]", ["a red cat", "see", "the green hill", "what is big"]
    asked = [(line, {"t": f"{words[n % 4]} {n}"}, {"max_length": 5 + n % 20}) for n in range(90)]
    caption = answerer.tasks["caption"].instructions[0]
    asked += [(caption, {"img": files["img"]}, {"max_length": 6})] * 10
    offline = [dict(answerer.inference(text, data, **options)) for text, data, options in asked]
    first, port = serving(tmp_path / "model", 0)
    done = threading.Semaphore(0)

    def answered(one):
        text, data, options = one
        try:
            return dict(client.infer(text, data, **options))
        finally:
            done.release()

    with Client(f"http://127.0.0.1:{port}") as client, ThreadPoolExecutor(8) as threads:
        found = [threads.submit(answered, one) for one in asked]
        for _ in range(30):
            assert done.acquire(timeout=120)
        first.send_signal(signal.SIGTERM)
        rest = first.stderr.read()
        assert first.wait(60) == 0, rest
        second, _ = serving(tmp_path / "model", port)
        assert [one.result(120) for one in found] == offline
        second.send_signal(signal.SIGTERM)
        told = [json.loads(line) for line in second.stderr.read().splitlines()]
        assert second.wait(60) == 0
    assert told[-1]["event"] == "ended"
    assert {one["status"] for one in told if one["event"] == "request"} == {200}
