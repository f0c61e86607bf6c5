"""What the page of the server stands on. tests/browser looks at it in a browser."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import all_kinds
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from ofasys.cli.serve import rows_to_try
from ofasys.errors import PluginError
from ofasys.hub.examples import LARGEST, examples, write_examples
from ofasys.modality import BUILT_IN, Context
from ofasys.modality.modality import WIDGETS
from ofasys.modality.motion.read_motion import read_motion
from ofasys.serve.app import create_app
from ofasys.serve.playground import routes
from ofasys.task.task import Task

CAPTION = "[IMAGE:img] what does the image describe? -> [TEXT:cap]"


def text(name):
    return (routes.FOLDER / name).read_text(encoding="utf8")


def test_the_page_is_served_and_may_load_nothing_from_elsewhere(http):
    for path, (name, kind) in routes.FILES.items():
        response = http.get(path)
        assert response.status_code == 200
        assert response.text == text(name)
        assert response.headers["content-type"].startswith(kind)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
    assert http.get("/playground/routes.py").status_code == 404
    assert "/" not in http.get("/openapi.json").json()["paths"]


def test_every_file_the_page_names_is_served():
    named = {"/" + path for path in re.findall(r'(?:src|href)="(playground/[^"]+)"', text("page.html"))}
    imported = {f"/playground/{path}" for path in re.findall(r'from "\./([^"]+)"', text("page.js"))}
    assert named | imported == set(routes.FILES) - {"/"}
    assert {name for name, _ in routes.FILES.values()} == {
        p.name for p in routes.FOLDER.iterdir() if p.suffix in (".html", ".css", ".js")
    }


def test_the_files_name_no_other_place():
    for name, _ in routes.FILES.values():
        assert not re.search(r"https?:|//[a-z]+\.|@import", text(name).replace("http://www.w3.org/2000/svg", "")), name


def test_no_key_is_asked_for_the_page_and_one_for_what_it_asks(service):
    with TestClient(create_app(service, keys=["a key of sixteen letters"])) as client:
        assert client.get("/").status_code == 200
        assert client.get("/playground/page.js").status_code == 200
        assert client.get("/v1/tasks").status_code == 401
        assert client.post("/v1/explain", json={"instruction": CAPTION}).status_code == 401


def test_the_page_has_every_widget_that_a_modality_may_name():
    listed = re.search(r"WIDGETS = \{(.*?)\}", text("widgets.js"), re.S)[1]
    assert set(re.findall(r"(\w+):", listed)) == set(WIDGETS)


@pytest.mark.parametrize(
    ("line", "widgets"),
    [
        ("[IMAGE:a] [BOX:b] -> [TEXT:c]", ["image", "box", "text"]),
        ("[STRUCT:a] -> [STRUCT:b,preprocess=triples]", ["table", "triples"]),
        ("[STRUCT:a,preprocess=grid] -> [TEXT:b]", ["grid", "text"]),
        ("[STRUCT:a,preprocess=database] -> [TEXT:b]", ["file", "text"]),
        ("[AUDIO:a] [VIDEO:b] [MOTION:c] -> [NUMBER:d]", ["audio", "video", "motion", "number"]),
        ("[AUDIO:a,preprocess=bands] -> [PHONE:b]", ["file", "text"]),
        ("[TEXT:a] -> [TEXT:b,closed_set] [CATEGORY:c]", ["text", "label", "label"]),
    ],
)
def test_a_plan_says_what_asks_for_each_value(http, line, widgets):
    slots = http.post("/v1/explain", json={"instruction": line}).json()["slots"]
    assert [slot["widget"] for slot in slots] == widgets


def test_a_box_tells_how_its_numbers_are_written(http):
    line = "[IMAGE:a] [BOX:b,format=xywh,normalised] -> [TEXT:c]"
    box = http.post("/v1/explain", json={"instruction": line}).json()["slots"][1]
    assert (box["options"]["format"], box["options"]["normalised"], box["refers_to"]) == ("xywh", True, "a")


def test_a_widget_that_is_none_is_told():
    wrong = replace(BUILT_IN.spec("TEXT"), widget="tabel")
    with pytest.raises(PluginError, match=r"TEXT has widget='tabel'; expected one of .* \(did you mean table\?\)"):
        wrong.widget_of({})


def test_rows_of_a_run_are_offered_as_json_holds_them(tmp_path):
    all_kinds.write_run_file(tmp_path, steps=1, count=4)
    found = rows_to_try(tmp_path, 2)
    assert json.loads(json.dumps(found)) == found
    assert {name: len(rows) for name, rows in found.items()} == dict.fromkeys(all_kinds.LINES, 2)
    assert set(found["region"][0]) == {"img", "box"}  # what is asked with, and no answer
    assert found["region"][0]["img"]["type"] == "image/png"
    assert found["query"][0]["table"][0] == ["city", "country", "people"]
    assert found["price"] == [{"metres": 10.0}, {"metres": 20.0}]


def test_what_a_page_cannot_send_is_left_out(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)  # a file of more than LARGEST
    Image.fromarray(pixels).save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > LARGEST
    small = Image.fromarray(pixels[:8, :8])
    rows = [{"img": value, "cap": "a"} for value in (str(tmp_path / "large.png"), "nowhere.png", small, [1, 2])]
    (row,) = examples([Task(name="caption", instruction=CAPTION, train=rows)])["caption"]
    assert row["img"]["type"] == "image/png"
    assert examples([Task(name="caption", instruction=CAPTION)]) == {}


@pytest.mark.parametrize(
    ("kind", "expected"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp")]
)
def test_files_without_a_name_are_told_by_how_they_begin(kind, expected):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, kind)
    (row,) = examples([Task("caption", CAPTION, train=[{"img": file.getvalue(), "cap": "a"}])])["caption"]
    assert row["img"]["type"] == expected


def test_a_recording_without_a_name_is_told_by_how_it_begins():
    rows = [{"wav": begin + b"a" * 40, "said": "a"} for begin in (b"RIFF....WAVEfmt ", b"OggS", b"fLaC", b"nothing")]
    found = examples([Task("hear", "[AUDIO:wav] -> [TEXT:said]", train=rows)])["hear"]
    assert [row["wav"]["type"].startswith("audio/") for row in found] == [True, True, True, False]


SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype(np.float32)
CLIP = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).reshape(3, 8, 8, 3)
PLACES = np.cumsum(np.ones((4, 2, 3)), 0)


@pytest.mark.parametrize(
    ("line", "value", "kind"),
    [
        ("[AUDIO:a,rate=8000] -> [TEXT:b]", (SOUND, 8000), "audio/"),
        ("[AUDIO:a,rate=8000] -> [TEXT:b]", {"array": SOUND, "sampling_rate": 8000}, "audio/"),
        ("[AUDIO:a,rate=8000] -> [TEXT:b]", {"path": None, "array": SOUND, "sampling_rate": 8000}, "audio/"),
        ("[IMAGE:a,size=16] -> [TEXT:b]", CLIP[0], "image/png"),
        ("[VIDEO:a,size=16,frames=2] -> [TEXT:b]", CLIP, "image/png"),
        ("[VIDEO:a,size=16,frames=2] -> [TEXT:b]", {"frames": list(CLIP), "rate": 4}, "image/png"),
    ],
)
def test_what_rows_hold_in_memory_is_sent_as_a_file(line, value, kind):
    task = Task("known", line, train=[{"a": value, "b": "x"}])
    (row,) = examples([task])["known"]
    assert row["a"]["type"].startswith(kind)
    again = base64.b64decode(row["a"]["base64"])
    slot = task.plan.slots[0]
    part = BUILT_IN.spec(slot.modality).preprocess[slot.preprocess.name].resolve()(slot.values, None)
    assert features(part, again) == pytest.approx(features(part, value), abs=1e-2)


def test_a_motion_in_memory_is_sent_as_bvh():
    task = Task("known", "[MOTION:a] -> [TEXT:b]", train=[{"a": {"positions": PLACES, "fps": 20}, "b": "x"}])
    (row,) = examples([task])["known"]
    sent = read_motion(base64.b64decode(row["a"]["base64"]))
    assert sent.fps == pytest.approx(20)
    assert sent.positions == pytest.approx(PLACES, abs=1e-3)


def features(part, value):
    found = part.preprocess(value, Context())
    return np.concatenate([np.asarray(one, dtype=np.float64).ravel() for one in found.tensors.values()])


def test_a_task_without_a_row_to_try_says_why(caplog):
    rows = [{"wav": SOUND, "said": "a"}, {"wav": "nowhere.wav", "said": "b"}]
    assert examples([Task("hear", "[AUDIO:wav,rate=8000] -> [TEXT:said]", train=rows)]) == {"hear": []}
    assert "task 'hear' has no rows to try on the page" in caplog.text
    assert "expected (array, rate)" in caplog.text


def test_rows_that_are_in_no_file_are_left_with_the_run(tmp_path):
    rows = [{"img": Image.new("RGB", (8, 8), colour), "cap": "a"} for colour in ("red", "blue", "green")]
    tasks = [Task(name="caption", instruction=CAPTION, train=rows)]
    write_examples(tmp_path, tasks)
    assert rows_to_try(tmp_path, 2) == {"caption": examples(tasks)["caption"][:2]}


@pytest.mark.parametrize("written", ["[1]", "{", '{"a": 1, "b": [2, {"c": 3}]}', "\xff", "[" * 100_000])
def test_examples_that_are_none_are_left_out(tmp_path, written):
    (tmp_path / "examples.json").write_text(written, encoding="latin1")
    assert rows_to_try(tmp_path, 2) in ({}, {"b": [{"c": 3}]})


def test_what_is_no_run_and_data_that_are_gone_offer_nothing(tmp_path, capsys):
    assert rows_to_try(tmp_path, 4) == {}
    all_kinds.write_run_file(tmp_path, steps=1, count=2, only=("price", "query"))
    Path(tmp_path, "data", "query.jsonl").unlink()
    assert set(rows_to_try(tmp_path, 4)) == {"price"}
    assert "task 'query' has no examples on the page" in capsys.readouterr().err
