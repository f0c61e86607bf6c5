"""The client asks again where that may help, and as long as its patience lasts."""

import json

import httpx2
import pytest

from ofasys.client import Client, RefusedError

GOOD = {"answers": [{"a": "b"}], "scores": [1.0], "probabilities": [None], "nbest": None, "errors": []}


def refusing(status, **more):
    told = {"message": "no", "place": "here", "value": "x", "next": "so", **more}
    return httpx2.Response(status, json={"error": told, "request_id": "1"})


class Scripted:
    """A server whose responses, or errors, are given; and a clock that runs while the client sleeps."""

    def __init__(self, *responses):
        self.responses, self.asked, self.slept = list(responses), [], []

    def __call__(self, request):
        self.asked.append(request)
        found = self.responses.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def client(self, **more):
        transport = httpx2.MockTransport(self)
        return Client("http://x", transport=transport, sleep=self.slept.append, clock=lambda: sum(self.slept), **more)


def test_it_asks_again_as_the_server_says():
    server = Scripted(
        refusing(429, retry_after=3),
        httpx2.ConnectError("gone"),
        refusing(503, retry_after=2),
        httpx2.Response(200, json=GOOD),
    )
    assert dict(server.client().infer("line", {"t": "a"})) == {"a": "b"}
    assert (server.slept[0], server.slept[2]) == (3, 2)
    assert 0 < server.slept[1] <= 0.2
    assert len({request.content for request in server.asked}) == 1


def test_it_asks_again_with_its_files():
    server = Scripted(httpx2.ReadError("broke off"), httpx2.Response(200, json=GOOD))
    server.client().infer(task="caption", data={"img": b"a file"})
    assert all(b"a file" in request.read() for request in server.asked)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 500, 504])
def test_what_asking_again_cannot_mend_is_raised_at_once(status):
    server = Scripted(refusing(status, caret="^"))
    with pytest.raises(RefusedError) as caught:
        server.client().explain("line")
    assert (caught.value.status, caught.value.problem.place, server.slept) == (status, "here", [])
    assert str(caught.value) == "no\n^\nso"


def test_patience_ends():
    server = Scripted(*[refusing(429, retry_after=4)] * 9)
    with pytest.raises(RefusedError) as caught:
        server.client(patience=10).tasks()
    assert caught.value.status == 429
    assert server.slept == [4, 4]
    gone = Scripted(*[httpx2.ConnectError("refused")] * 99)
    with pytest.raises(RefusedError, match="cannot be reached") as caught:
        gone.client(patience=5).tasks()
    assert caught.value.status == 0
    assert sum(gone.slept) <= 5


def test_a_response_that_is_not_ours():
    with pytest.raises(RefusedError, match="status 502"):
        Scripted(httpx2.Response(502, text="<html>")).client().tasks()


def streamed(*events):
    text = "".join(f"event: {kind}\ndata: {json.dumps(told, ensure_ascii=False)}\n\n" for kind, told in events)
    return httpx2.Response(200, content=text.encode(), headers={"content-type": "text/event-stream"})


def test_a_stream_is_read_whatever_is_in_its_texts():
    """Line ends of other scripts end no line of an event."""
    written = "a\u2028b\u0085c\v"
    server = Scripted(refusing(503), streamed(("text", {"column": "t", "value": written}), ("done", GOOD)))
    first, last = server.client().stream("line")
    assert (first.kind, first.column, first.value) == ("text", "t", written)
    assert dict(last.value) == {"a": "b"}


def test_a_stream_that_fails():
    told = {"error": {"message": "late", "place": "deadline", "value": "", "next": "more"}}
    with pytest.raises(RefusedError, match="late"):
        list(Scripted(streamed(("error", told))).client().stream("line"))
    with pytest.raises(RefusedError, match="broke off"):
        list(Scripted(streamed(("text", {"column": "t", "value": "a"}))).client().stream("line"))


def test_its_key():
    server = Scripted(httpx2.Response(200, json={"tasks": []}))
    assert server.client(key="k" * 16).tasks() == {}
    assert server.asked[0].headers["authorization"] == "Bearer " + "k" * 16
