"""Whatever is asked, nothing fails and nothing hangs: requests made of the API's own description, broken files, broken
lines, by the thousand.
"""

import base64
import json
import random
import threading
import warnings

import pytest

KINDS = {
    "caption": ("img", "img"),
    "listen": ("sound", "sound"),
    "watch": ("clip", "clip"),
    "table": ("table", "table"),
}


def broken(data, draw):
    """A file with bytes changed, cut, doubled or put in."""
    made = bytearray(data)
    way = draw.randrange(5)
    if way == 0:
        for _ in range(draw.randrange(1, 12)):
            made[draw.randrange(len(made))] = draw.randrange(256)
    elif way == 1:
        del made[draw.randrange(len(made)) :]
    elif way == 2:
        place = draw.randrange(len(made))
        made[place:place] = draw.randbytes(draw.randrange(1, 40))
    elif way == 3:
        place = draw.randrange(min(60, len(made) - 4))  # the head, where sizes stand
        made[place : place + 4] = draw.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
    else:
        made = made[: draw.randrange(64)] + bytearray(draw.randbytes(draw.randrange(200)))
    return bytes(made)


@pytest.mark.parametrize("name", KINDS)
def test_broken_files(http, files, name):
    draw = random.Random(f"files of {name}")
    column, kind = KINDS[name]
    seen = set()
    for _ in range(6):
        rows = [{column: {"base64": base64.b64encode(broken(files[kind], draw)).decode()}} for _ in range(12)]
        request = {"task": name, "data": rows, "options": {"max_length": 2}}
        response = http.post("/v1/inference", json=request)
        assert response.status_code == 200, response.text
        found = response.json()
        assert len(found["answers"]) == len(rows)
        assert all(error["place"] and error["next"] for error in found["errors"])
        seen |= {answer is None for answer in found["answers"]}
    assert True in seen


PIECES = (
    "[TEXT:a]", "[IMAGE:img]", "[TEXT", "]", "[", "->", "(", ")*", "|", ",", "=", ":", "max_length=3", "closed_set",
    "size=", "\\", "\\[", "BOX", "[BOX:b]", "[AUDIO:s]", "[IMAGE|TEXT]", '"', "é", "中", "\u2028", "\0", "😀",
    "[STRUCT:t,preprocess=database]", "[VIDEO:v,frames=1000]", "[PHONE:p]", "[MOTION:m]", "[NUMBER:n,lo=1,hi=0]", " ",
    "no_loss", "generator=rank", "1e999", "-1", "[TEXT:b,mask_ratio=2]", "[CATEGORY:c]",
    '[TEXT:r,regex="(a|b)*"]', '[TEXT:j,json_schema="{}"]', '[TEXT:g,grammar="start: x"]', "([BOX:x] [TEXT:y])*",
)  # fmt: skip


def test_broken_lines(http):
    draw = random.Random("lines")
    seen = set()
    for number in range(600):
        line = "".join(draw.choice(PIECES) + draw.choice(("", " ")) for _ in range(draw.randrange(12)))
        line = line if number % 2 else f"[TEXT:a] {line} -> {draw.choice(PIECES)}"
        path = draw.choice(("/v1/explain", "/v1/inference", "/v1/embed"))
        request = {"instruction": line} | ({} if path == "/v1/explain" else {"data": {"a": "x", "b": [1, 2, 3, 4]}})
        response = http.post(path, json=request)
        assert response.status_code < 500, (line, response.text)
        seen.add(response.status_code)
    assert {200, 422} <= seen


VALUES = (
    None, True, 0, -1, 1e300, 10**30, "", "a", [], {}, [[]], [None], {"base64": "a"}, {"upload": "x"}, {"url": "x"},
    {"base64": 3}, "data:image/png;base64,xx", [1, 2, 3, 4], [[0.5] * 4] * 2, {"array": [0.1], "sampling_rate": 8000},
    {"frames": [[[[0, 0, 0]]]], "rate": 0}, {"a": [1], "b": ["x"]}, "\u0000", "\uffff", {"positions": []},
)  # fmt: skip


def test_broken_values(http):
    """Every kind of value in every column, and in every option."""
    draw = random.Random("values")
    tasks = http.get("/v1/tasks").json()["tasks"]
    slots = {t["name"]: http.post("/v1/explain", json={"task": t["name"]}).json()["slots"] for t in tasks}
    for name, own in slots.items():
        for _ in range(25):
            row = {slot["column"]: draw.choice(VALUES) for slot in own if slot["given"] and draw.random() < 0.95}
            named = draw.choice(("max_length", "beam_size", "seed", "closed_set", "n_best", "negative_prompt", "steps"))
            options = {} if draw.random() < 0.7 else {named: draw.choice(VALUES)}
            path = "/v1/inference/stream" if draw.random() < 0.2 else "/v1/inference"
            response = http.post(path, json={"task": name, "data": row, "options": options})
            assert response.status_code < 500, (name, row, options, response.text)


def test_broken_bodies(http):
    draw = random.Random("bodies")
    good = json.dumps({"task": "entail", "data": {"sent1": "a", "sent2": "b"}}).encode()
    deep = b'{"data": ' + b"[" * 100_000
    kinds = ("application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", "", "a/b; é")
    part = b'--x\r\ncontent-disposition: form-data; name="request"\r\n\r\n' + good + b"\r\n--x--\r\n"
    for data in (
        b"",
        b"null",
        b"[]",
        b"3",
        b'"a"',
        b'{"a":NaN}',
        b'{"task":"\\ud800"}',
        b"\xff\xfe",
        deep,
        part,
        good * 2,
    ):
        for kind in kinds:
            response = http.post("/v1/inference", content=data, headers={"content-type": kind.encode()})
            assert response.status_code < 500, (data[:50], kind, response.text)
    for number in range(400):
        kind = "multipart/form-data; boundary=x" if number % 2 else "application/json"
        data = broken(part if number % 2 else good, draw)
        response = http.post("/v1/inference", content=data, headers={"content-type": kind})
        assert response.status_code < 500, (data, response.text)
        if response.status_code != 200:
            assert response.json()["error"]["next"]


def test_nothing_is_left_behind(http, service):
    """After all of that no row waits, no process reads, no thread follows a stream."""
    draw = random.Random("left")
    for _ in range(30):
        request = {"task": "entail", "data": {"sent1": draw.choice(VALUES), "sent2": "a"}}
        http.post(draw.choice(("/v1/inference", "/v1/inference/stream")), json=request)
    desk = http.app.state.desk
    assert (service.session.waiting, service.session.running, desk.requests, desk.open) == (0, 0, 0, set())
    assert service.decoders.idle.qsize() == service.limits.decoders
    for thread in threading.enumerate():
        if thread.name == "ofasys stream":
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.slow
def test_requests_made_of_the_description(http):
    """schemathesis reads /openapi.json, and asks what it allows and what it does not."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = schemathesis.openapi.from_asgi("/openapi.json", http.app)
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        modes = schemathesis.GenerationMode if operation.body else [schemathesis.GenerationMode.POSITIVE]
        for mode in modes:

            @settings(
                max_examples=8 if operation.body else 1,
                phases=[Phase.generate],
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case):
                nonlocal asked
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    response = case.call(base_url="http://testserver")
                assert response.status_code < 500 or (response.status_code, case.path) == (503, "/readyz")
                # that a text is a line, and of this model, no schema says
                case.validate_response(response, excluded_checks=[positive_data_acceptance])
                asked += 1

            check()
    assert asked > 50
