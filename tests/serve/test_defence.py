"""What strangers may not do. docs/serve.md names each of these tests."""

import base64
import hmac
import json
import os
import sqlite3
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from starlette.testclient import TestClient

from ofasys.errors import ConfigError, DataError, DeadlineError
from ofasys.modality import BUILT_IN, Part
from ofasys.serve import gate
from ofasys.serve.app import create_app
from ofasys.serve.decoder_process import packed, unpacked
from ofasys.serve.decoders import Decoders
from ofasys.serve.fetch import Fetcher, is_public
from ofasys.serve.limits import Limits
from ofasys.serve.media import Files
from ofasys.serve.refusal import Refusal
from ofasys.serve.server import bound_socket, is_local, serve
from ofasys.types import SlotFeatures


def coded(data):
    return {"base64": base64.b64encode(data).decode()}


def refused(found, status, *words):
    """The error of a response, which has this status and says these words."""
    got, told = found
    assert got == status, told
    error = told["error"]
    assert all(word in json.dumps(error) for word in words), error
    assert error["place"]
    assert error["next"]
    return error


# Files of this machine


@pytest.mark.parametrize(
    ("task", "column", "name"),
    [
        ("caption", "img", "a.png"),
        ("listen", "sound", "a.wav"),
        ("watch", "clip", "a.gif"),
        ("many", "pictures", "a.png"),
    ],
)
def test_no_value_names_a_file(ask, files, tmp_path, task, column, name):
    data = {"a.png": files["img"], "a.wav": files["sound"], "a.gif": files["clip"]}[name]
    (tmp_path / name).write_bytes(data)
    place = str(tmp_path / name)
    for form in (place, f"file://{place}", {"path": place}, {"bytes": None, "path": place}, [place]):
        value = [form] if task == "many" and not isinstance(form, list) else form
        assert "path" not in refused(ask(task=task, data={column: value}), 422)["next"]
    assert ask(task=task, data={column: [coded(data)] if task == "many" else coded(data)})[0] == 200


def test_a_table_is_text_and_no_file(ask, tmp_path):
    (tmp_path / "secret.csv").write_text("name,code\nAnn,1234\n")
    status, found = ask(task="table", data={"table": str(tmp_path / "secret.csv")})
    header = ask(task="table", data={"table": "another header\n"})[1]
    assert status == 422 or found["answers"] != ask(task="table", data={"table": "name,code\nAnn,1234\n"})[1]["answers"]
    assert header["answers"]
    with sqlite3.connect(tmp_path / "secret.db") as made:
        made.execute("CREATE TABLE secret (code TEXT)")
    made.close()
    line = "[STRUCT:table,preprocess=database] what is it about? -> [TEXT:about]"
    refused(ask(instruction=line, data={"table": str(tmp_path / "secret.db")}), 422)


def test_a_motion_is_no_file(tmp_path):
    read = BUILT_IN.spec("MOTION").outside.resolve()
    for value in (str(tmp_path / "a.bvh"), {"path": "a.bvh"}, {"bytes": "a.bvh"}):
        with pytest.raises(DataError):
            read(value)
    assert read("HIERARCHY\nROOT x") == "HIERARCHY\nROOT x"
    assert read({"positions": [[[0, 0, 0]]]}) == {"positions": [[[0, 0, 0]]]}


def test_a_modality_from_elsewhere_takes_no_text_unless_it_says_so():
    from ofasys.modality.shared.outside import without_text

    assert Part("ofasys.modality.shared.outside:without_text") == next(
        entry.default for entry in type(BUILT_IN.spec("IMAGE")).__dataclass_fields__.values() if entry.name == "outside"
    ) or BUILT_IN.spec("IMAGE").outside.load.endswith("without_text")
    assert without_text({"frames": [[1, 2], b"x"], "rate": 5}) == {"frames": [[1, 2], b"x"], "rate": 5}
    for value in ("a", ["a"], {"a": [1, {"b": "c"}]}):
        with pytest.raises(DataError, match="name of a file"):
            without_text(value)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("[TEXT:t] draw it -> [IMAGE:img,preprocess=codes,tokenizer=/etc]", "tokenizer"),
        ("[TEXT:t] say it -> [AUDIO:sound,vocoder=/etc]", "vocoder"),
        ('[IMAGE:img,adaptor="hf:/etc"] what is it? -> [TEXT:cap]', "adaptor"),
        ('[AUDIO:s,adaptor="hf:someone/something"] what is it? -> [TEXT:cap]', "adaptor"),
    ],
)
def test_no_attribute_names_a_place_of_the_machine(ask, line, name):
    error = refused(ask(instruction=line, data={"t": "a"}), 422, name, "no request may")
    assert "^" in error["caret"]
    assert line[error["start"] : error["end"]].startswith("[")


def test_every_attribute_that_names_a_place_says_so():
    """Texts without a list of choices are columns, names of parts, languages, or places: here they are all told."""
    known = {"preprocess", "adaptor", "criterion", "generator", "of", "ctc_target", "ctc_as", "classify_target"}
    known |= {"reward", "language", "skeleton", "format", "regex", "json_schema", "grammar"}
    free = {
        (option.name, option.place)
        for spec in BUILT_IN.modalities
        for option in BUILT_IN.word(spec).options.values()
        if option.type is str and not option.choices
    }
    assert {name for name, place in free if not place} <= known
    assert {name for name, place in free if place} == {"tokenizer", "vocoder"}


@pytest.mark.parametrize("name", ["root", "first", "settings", "draw", "batch_size", "deadline", "task", "data"])
def test_no_option_reaches_behind_the_search(ask, name):
    refused(ask(task="entail", data={"sent1": "a", "sent2": "b"}, options={name: "/"}), 422, name)


def test_a_negative_prompt_is_a_value_as_any(ask, files, tmp_path):
    (tmp_path / "a.png").write_bytes(files["img"])
    options = {"negative_prompt": str(tmp_path / "a.png")}
    refused(ask(task="caption", data={"img": coded(files["img"])}, options=options), 422, "name of a file")


def test_uploads_are_not_written_nor_their_names_used(http, files, tmp_path, monkeypatch):
    """No file is opened for writing while a large upload is read and answered."""
    opened = []
    watching = [True]

    def watch(event, arguments):
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if watching[0] and event == "open" and isinstance(arguments[2], int) and arguments[2] & writes:
            opened.append(arguments[0])

    sys.addaudithook(watch)
    monkeypatch.chdir(tmp_path)
    data = files["img"] + b"\0" * 2_000_000
    name = "../../../../tmp/owned.png"
    response = http.post("/v1/inference", data={"task": "caption"}, files={"img": (name, data)})
    watching[0] = False
    assert response.status_code == 200, response.text
    assert opened == []
    assert list(tmp_path.iterdir()) == []
    assert "owned" not in response.text


# Addresses


class Site(BaseHTTPRequestHandler):
    """A picture, a redirect, something large; what was asked is kept."""

    asked: ClassVar = []

    def do_GET(self):
        self.asked.append((self.path, self.headers["host"]))
        if self.path == "/away":
            self.send_response(302)
            self.send_header("location", "/picture")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.picture if self.path == "/picture" else b"0" * 5_000_000)

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def site(files):
    server = HTTPServer(("127.0.0.1", 0), Site)
    server.picture = files["img"]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_no_address_is_fetched_without_leave(ask, site):
    refused(ask(task="caption", data={"img": {"url": f"http://127.0.0.1:{site}/picture"}}), 422, "not fetched")
    refused(ask(task="caption", data={"img": f"http://127.0.0.1:{site}/picture"}), 422)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b:1::1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "255.255.255.255",
    ],
)  # fmt: skip
def test_no_private_address_is_fetched_whatever_its_name(address):
    asked = Fetcher(["pictures.example"], Limits(), resolve=lambda host, port: [address])
    with pytest.raises(Refusal, match="no public address"):
        asked.fetch("https://pictures.example/a.png", "data.img")
    mixed = Fetcher(["pictures.example"], Limits(), resolve=lambda host, port: ["93.184.216.34", address])
    with pytest.raises(Refusal, match="no public address"):
        mixed.fetch("https://pictures.example/a.png", "data.img")
    assert is_public("93.184.216.34")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://pictures.example/a", "gopher://pictures.example", "//pictures.example/a", "",
        "http://user:word@pictures.example/a", "http://pictures.example@127.0.0.1/a", "http://[::1", "http://",
        "http://pictures.example:99999/a", "http://pictures.example\n.evil/a", "http://2130706433/a", "http://0x7f.1/",
        "http://pictures.example.evil/a", "http://PICTURES.example:22/a",
    ],
)  # fmt: skip
def test_addresses_that_are_none(url):
    looked = []
    asked = Fetcher(["pictures.example"], Limits(), resolve=lambda host, port: looked.append(host) or [])
    with pytest.raises(Refusal):
        asked.fetch(url, "data.img")
    assert looked == []


def test_a_name_is_looked_up_once_and_what_was_found_is_asked(site, files):
    """Between the check and the connection a name cannot come to mean another place."""
    looked = []

    def resolve(host, port):
        looked.append(host)
        return ["127.0.0.1"]

    allowed = [f"pictures.example:{site}"]
    asked = Fetcher(allowed, Limits(body=1_000_000), resolve, public=lambda address: True)
    assert asked.fetch(f"http://pictures.example:{site}/picture", "data.img") == files["img"]
    assert looked == ["pictures.example"]
    assert Site.asked[-1] == ("/picture", f"pictures.example:{site}")
    with pytest.raises(Refusal, match="status 302"):
        asked.fetch(f"http://pictures.example:{site}/away", "data.img")
    assert Site.asked[-1][0] == "/away"
    with pytest.raises(Refusal, match="more than 1,000,000 bytes"):
        asked.fetch(f"http://pictures.example:{site}/large", "data.img")
    with pytest.raises(Refusal, match="not fetched"):
        asked.fetch("http://elsewhere.example/picture", "data.img")


# What reads files


@pytest.fixture(scope="module")
def decoders():
    sys.path.insert(0, str(Path(__file__).parent))
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), before])
    made = Decoders(Limits(decoders=1, decode_seconds=1.0, decode_memory=1 << 30), BUILT_IN.__class__())
    os.environ["PYTHONPATH"] = before
    yield made
    made.close()
    sys.path.remove(str(Path(__file__).parent))


def read(decoders, value, place=None, wait=60.0):
    import kills

    reader = kills.Kills()
    reader.place = place
    return decoders.features("X:x", reader, Part("ofasys.modality.shared.outside:as_it_is"), value, 100, wait)


def test_what_reads_a_file_may_die_and_takes_no_other_along(decoders, tmp_path):
    for value, said in ((b"die", "died of it"), (b"loop", "more than 1 s"), (b"eat", "more memory")):
        with pytest.raises(DataError, match=said):
            read(decoders, value)
        assert list(read(decoders, b"good").tensors["tokens"]) == [0, 1, 2]
    assert decoders.deaths == 2
    with pytest.raises(DataError):
        read(decoders, b"write", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists() or (tmp_path / "x").read_bytes() == b""


def test_the_process_that_others_are_forked_from_may_die_too(decoders, monkeypatch):
    monkeypatch.setenv("OFASYS_API_KEYS", "a" * 16)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    decoders.nursery.process.kill()
    decoders.nursery.process.wait()
    with pytest.raises(DataError, match="died of it"):
        read(decoders, b"die")
    assert read(decoders, b"good").length == 3
    assert read(decoders, b"secrets").length == 1, "none of the server's keys is in its environment"


def test_a_request_does_not_wait_for_ever_for_others_files(decoders):
    held = decoders.idle.get(timeout=10)
    with pytest.raises(DeadlineError, match="others are read"):
        read(decoders, b"good", wait=0.0)
    decoders.idle.put(held)


def test_nothing_that_it_hands_over_is_run():
    features = SlotFeatures({"a": np.ones((2, 3), np.float32)}, 2, np.zeros((2, 2), np.int64), 1, {"width": 3})
    back = unpacked(packed(features))
    np.testing.assert_array_equal(back.tensors["a"], features.tensors["a"])
    assert (back.length, back.orders, dict(back.info)) == (2, 1, {"width": 3})
    for bad in (b"", b"x" * 20, packed(features)[:-5], packed(features).replace(b"<f4", b"|O8")):
        with pytest.raises((ValueError, KeyError)):
            unpacked(bad)


# Limits


@pytest.mark.parametrize(
    ("request_", "status", "word"),
    [
        ({"task": "entail", "data": {"sent1": "a" * 5_000_000, "sent2": "b"}}, 413, "4,000,000 bytes"),
        ({"task": "entail", "data": [{}] * 65}, 422, "65 rows"),
        ({"task": "entail", "data": []}, 422, "0 rows"),
        ({"instruction": "a" * 10_001 + " -> [TEXT:t]"}, 413, "characters"),
        ({"task": "table", "data": {"table": [[1] * 100] * 60}}, 413, "too many values"),
        ({"task": "entail", "data": {}, "options": {"max_length": 65}}, 422, "max_length"),
        ({"task": "entail", "data": {}, "options": {"beam_size": 17}}, 422, "beam_size"),
        ({"task": "entail", "data": {}, "options": {"sampling": True, "n_best": 1000}}, 422, "n_best"),
        ({"task": "entail", "data": {}, "options": {"closed_set": ["a"] * 10_001}}, 413, "too many"),
        ({"task": "entail", "data": {}, "options": {"closed_set": "yes"}}, 422, "list"),
        ({"task": "entail", "data": {}, "options": {"beam_size": [2]}}, 422, "beam_size"),
        ({"instruction": "[TEXT:t] -> [TEXT:u,max_length=100000]", "data": {"t": "a"}}, 422, "max_length"),
        ({"instruction": "[AUDIO:s,seconds=3600] -> [TEXT:u]", "data": {}}, 422, "seconds"),
    ],
)  # fmt: skip
def test_limits(ask, request_, status, word):
    refused(ask(**request_), status, word)


def test_bytes_are_counted_though_nobody_says_how_many(http):
    def parts():
        for _ in range(60):
            yield b" " * 100_000

    response = http.post("/v1/inference", content=parts(), headers={"content-type": "application/json"})
    assert response.status_code == 413


def test_pixels_and_seconds_are_limited(ask):
    from media import png, wav

    huge = png(np.zeros((1100, 1000, 3), np.uint8))
    refused(ask(task="caption", data={"img": coded(huge)}), 422, "1000 x 1100 pixels", "at most 1,000,000")
    line = "[AUDIO:sound,seconds=2] what is said? -> [TEXT:said]"
    refused(ask(instruction=line, data={"sound": coded(wav(3.0, 8000))}), 422, "2")


def test_positions_of_files_are_limited(ask, service, files, monkeypatch):
    monkeypatch.setattr(service, "limits", replace(service.limits, positions=7))
    picture = coded(files["img"])
    assert ask(task="many", data={"pictures": [picture]})[0] == 200
    refused(ask(task="many", data={"pictures": [picture] * 2}), 422, "too many positions", "7 positions")
    refused(ask(task="many", data={"pictures": [[[0]], [[0]]]}), 422, "too many positions", "7 positions")
    line = "[IMAGE:img,size=128] what is it? -> [TEXT:cap]"
    refused(ask(instruction=line, data={"img": [[0]]}), 422, "takes 64 positions", "at most 7")


def test_a_line_that_asks_for_too_much_is_refused_before_files_are_read(http, service, files, monkeypatch):
    monkeypatch.setattr(service, "limits", replace(service.limits, positions=7))
    read = []
    monkeypatch.setattr(service.decoders, "features", lambda *given: read.append(given))
    lines = {"inference": "[IMAGE:img,size=128] what is it? -> [TEXT:cap]", "embed": "[IMAGE:img,size=128|TEXT:cap] ->"}
    for path, line in lines.items():
        found = http.post(f"/v1/{path}", json={"instruction": line, "data": {"img": coded(files["img"])}})
        refused((found.status_code, found.json()), 422, "takes 64 positions", "at most 7")
    assert not read


def test_a_database_is_read_only_and_in_time(ask, tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as made:
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x < 0"
        made.execute("CREATE TABLE a (b TEXT)")
        made.execute(f"CREATE VIEW v AS {endless}")
    made.close()
    status, found = ask(task="table", data={"table": coded((tmp_path / "a.db").read_bytes())})
    assert status == 200, found
    refused(ask(task="table", data={"table": coded(b"SQLite format 3\0" + b"\xff" * 3000)}), 422)


@pytest.mark.parametrize("name", ["rows", "seconds", "body"])
def test_limits_are_numbers(name):
    for wrong in (0, -1, True, "8"):
        with pytest.raises(ConfigError, match=name):
            Limits(**{name: wrong})


# Who may ask


@contextmanager
def app(service, **more):
    with TestClient(create_app(service, **more), base_url="http://127.0.0.1:8000") as client:
        yield client


def test_keys_are_asked_for_and_all_compared_in_constant_time(service, monkeypatch):
    seen, compare = [], hmac.compare_digest

    def compared(one, other):
        seen.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(gate.hmac, "compare_digest", compared)
    keys = ["a" * 16, "b" * 32]
    with app(service, keys=keys) as client:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Basic {keys[0]}"},
            {"x-api-key": "a"},
        ):
            response = client.get("/v1/tasks", headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert not any(key in response.text for key in keys)
        seen.clear()
        for headers in ({"authorization": f"Bearer {keys[0]}"}, {"x-api-key": keys[1]}):
            assert client.get("/v1/tasks", headers=headers).status_code == 200
        assert seen == [(32, 32)] * 4  # each key, whichever was right and however long it is
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_keys_come_from_a_file_or_the_environment(tmp_path, monkeypatch):
    from ofasys.cli.serve import read_keys

    (tmp_path / "keys").write_text("a" * 16 + "\n\n" + "b" * 16 + "\n")
    monkeypatch.setenv("OFASYS_API_KEYS", "c" * 16)
    assert read_keys(tmp_path / "keys") == ["a" * 16, "b" * 16, "c" * 16]
    monkeypatch.setenv("OFASYS_API_KEYS", "short")
    with pytest.raises(ConfigError, match="16 or more"):
        read_keys(None)
    (tmp_path / "none").write_text("\n")
    monkeypatch.delenv("OFASYS_API_KEYS")
    with pytest.raises(ConfigError, match="holds no key"):
        read_keys(tmp_path / "none")


def test_pages_of_other_sites_do_not_ask(service):
    """A page that a browser on this machine shows may neither send a form nor point a name of its own here."""
    request = {"task": "entail", "data": {"sent1": "a", "sent2": "b"}}
    with app(service, hosts=["127.0.0.1", "localhost", "::1"]) as client:
        own = {"origin": "http://127.0.0.1:8000"}
        assert client.post("/v1/inference", json=request, headers=own).status_code == 200
        for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9000"}):
            assert client.post("/v1/inference", json=request, headers=headers).status_code == 403
        assert client.get("/v1/tasks", headers={"host": "evil.example:8000"}).status_code == 403
        assert client.get("/v1/tasks", headers={"host": "[::1]:8000"}).status_code == 200


def test_only_this_machine_is_served_unless_told():
    import inspect

    assert inspect.signature(serve).parameters["host"].default == "127.0.0.1"
    assert is_local("127.0.0.1")
    assert is_local("::1")
    assert not is_local("0.0.0.0")
    listening = bound_socket("127.0.0.1", 0)
    assert listening.getsockname()[0] == "127.0.0.1"
    with pytest.raises(ConfigError, match="give another --port"):
        bound_socket("127.0.0.1", listening.getsockname()[1])
    listening.close()


def test_a_number_of_a_request_cannot_forge_a_line_of_the_log(http):
    assert http.get("/healthz", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    for wrong in ('a"b', "a" * 65, "a b"):
        assert http.get("/healthz", headers={"x-request-id": wrong}).headers["x-request-id"] != wrong


def test_the_log_is_json_and_holds_nothing_that_was_asked(http, caplog):
    from ofasys.serve.logs import Lines

    with caplog.at_level("INFO", logger="ofasys.serve"):
        http.post("/v1/inference", json={"task": "entail", "data": {"sent1": "my secret", "sent2": "b"}})
    (record,) = [record for record in caplog.records if record.name == "ofasys.serve"]
    line = Lines().format(record)
    told = json.loads(line)
    assert (told["route"], told["status"], told["method"]) == ("/v1/inference", 200, "POST")
    assert told["request_id"]
    assert "secret" not in line


def test_a_fault_of_the_server_says_nothing_of_itself(service, monkeypatch, caplog):
    monkeypatch.setattr(service, "tasks", lambda: 1 / 0)
    with app(service) as client:
        response = client.get("/v1/tasks")
    assert response.status_code == 500
    assert "division" not in response.text
    assert response.json()["request_id"]
    (failed,) = [record for record in caplog.records if record.getMessage() == "failed"]
    assert "ZeroDivisionError" in failed.fields["error"]


def test_files_of_other_requests_are_not_there(files):
    with pytest.raises(Refusal, match="no file was sent as 'b'"):
        Files({"a": files["img"]}, Fetcher([], Limits())).value({"upload": "b"}, "data.img", False)


def test_a_slow_request_is_not_waited_for(service, monkeypatch):
    import anyio

    sent = []

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/inference", "raw_path": b"/v1/inference", "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"host", b"x")], "client": None, "state": {},
        "http_version": "1.1", "scheme": "http", "server": None, "root_path": "",
    }  # fmt: skip
    monkeypatch.setattr(service, "limits", Limits(slow_body=0.01))
    anyio.run(create_app(service), scope, receive, send)
    assert sent[0]["status"] == 408
