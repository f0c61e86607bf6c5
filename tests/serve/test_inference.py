"""Answers over HTTP are the answers without it, however a file comes and however many rows there are."""

import base64
import json

import numpy as np
import pytest

from ofasys.client import Client


def coded(data):
    return {"base64": base64.b64encode(data).decode()}


ROWS = {
    "caption": {"img": "img"},
    "detect": {"img": "img"},
    "ground": {"img": "jpg", "phrase": ("a red cat",)},
    "region": {"img": "img", "box": ([1, 2, 20, 25.5],)},
    "listen": {"sound": "sound"},
    "watch": {"clip": "clip"},
    "entail": {"sent1": ("a cat",), "sent2": ("a blue dog",)},
    "table": {"table": ([{"name": "Ann", "age": 3}, {"name": "Bob", "age": 4}],)},
}


def row(name, files, way):
    """A row as it is sent: files by name; and values, which are in a tuple."""
    return {c: value[0] if isinstance(value, tuple) else way(files[value]) for c, value in ROWS[name].items()}


@pytest.mark.parametrize("name", ROWS)
def test_answers_are_those_without_http(ask, answerer, files, name):
    status, found = ask(task=name, data=row(name, files, coded))
    assert status == 200, found
    offline = answerer.inference(answerer.tasks[name].instructions[0], row(name, files, bytes))
    assert found["answers"] == [json.loads(json.dumps(offline.to_dict()["values"]))]
    assert found["scores"][0] == pytest.approx(offline.score)
    assert found["errors"] == []


def test_a_task_there_is_not_is_told_with_those_there_are(ask):
    status, found = ask(task="captoin", data={})
    told = found["error"]
    assert (status, told["place"], told["value"]) == (404, "task", "captoin")
    assert told["message"] == "no task 'captoin' in this run"
    assert told["next"].startswith("did you mean caption? there are caption, ")


@pytest.mark.parametrize("name", ["caption", "listen", "watch"])
def test_a_file_may_come_in_several_ways(http, files, name):
    column = next(iter(ROWS[name]))
    data = files[ROWS[name][column]]
    text = base64.b64encode(data).decode()
    url = f"data:application/octet-stream;base64,{text}"
    forms = [{"base64": text}, {"base64": url}, {"base64": text.replace("+", "-").replace("/", "_").rstrip("=")}, url]
    answers = [
        http.post("/v1/inference", json={"task": name, "data": {column: form}}).json()["answers"] for form in forms
    ]
    sent = {"request": json.dumps({"task": name, "data": {column: {"upload": "mine"}}})}
    answers.append(http.post("/v1/inference", data=sent, files={"mine": ("../../x", data)}).json()["answers"])
    answers.append(http.post("/v1/inference", data={"task": name}, files={column: ("x", data)}).json()["answers"])
    assert answers[0][0]
    assert all(one == answers[0] for one in answers)


def test_a_table_may_be_a_file(ask, files, tmp_path):
    import sqlite3

    plain = ask(task="table", data={"table": files["table"].decode()})[1]["answers"]
    assert ask(task="table", data={"table": coded(files["table"])})[1]["answers"] == plain
    with sqlite3.connect(tmp_path / "a.db") as made:
        made.execute("CREATE TABLE cars (id INTEGER PRIMARY KEY, name TEXT)")
        made.execute("INSERT INTO cars VALUES (1, 'Kia')")
    made.close()
    status, found = ask(task="table", data={"table": coded((tmp_path / "a.db").read_bytes())})
    assert status == 200, found
    assert found["answers"][0]["about"] != plain[0]["about"]


def test_one_bad_row_spoils_no_other(ask, files):
    good = {"img": coded(files["img"])}
    status, found = ask(task="caption", data=[good, {"img": coded(files["img"][:60])}, {"img": "cat.png"}, {}, good])
    assert status == 200
    assert [answer is None for answer in found["answers"]] == [False, True, True, True, False]
    assert found["answers"][0] == found["answers"][4] == ask(task="caption", data=good)[1]["answers"][0]
    assert [error["row"] for error in found["errors"]] == [1, 2, 3]
    assert all(error["place"] and error["value"] and error["next"] for error in found["errors"])


def test_a_column_of_another_name_is_named(ask, files):
    status, found = ask(task="caption", data={"image": coded(files["img"]), **{f"c{i}": i for i in range(40)}})
    assert status == 422
    assert "expected a column 'img'; the row has image, c0, c1" in found["error"]["message"]
    assert found["error"]["message"].endswith("c18, and 21 more")


def test_files_in_a_repetition(ask, answerer, files):
    status, found = ask(task="many", data={"pictures": [coded(files["img"]), coded(files["jpg"])]})
    assert status == 200, found
    offline = answerer.inference(answerer.tasks["many"].instructions[0], {"pictures": [files["img"], files["jpg"]]})
    assert found["answers"] == [dict(offline)]


def test_labels_and_their_probabilities(ask, answerer):
    data = {"sent1": "a cat", "sent2": "dog"}
    line = "can text1 [TEXT:sent1] imply text2 [TEXT:sent2]? -> [TEXT:label,closed_set,generator=rank]"
    status, found = ask(instruction=line, data=data)
    assert status == 200, found
    assert sum(found["probabilities"][0].values()) == pytest.approx(1)
    asked = ask(task="entail", data=data, options={"closed_set": ["red", "blue"]})[1]
    assert asked["answers"][0]["label"] in ("red", "blue")


def test_several_answers(ask, answerer, files):
    _, found = ask(task="caption", data={"img": coded(files["img"])}, options={"n_best": 3})
    offline = answerer.inference(answerer.tasks["caption"].instructions[0], {"img": files["img"]}, n_best=3)
    assert [one["values"] for one in found["nbest"][0]] == [dict(one) for one in offline.nbest]


def test_draws_are_a_function_of_the_row_s_number(ask, answerer):
    data = [{"sent1": "a cat", "sent2": "dog"}] * 4
    line = "[TEXT:sent1] and [TEXT:sent2] -> [TEXT:cap]"
    options = {"sampling": True, "seed": 3, "max_length": 8}
    found = ask(instruction=line, data=data, options=options)[1]
    assert found["answers"] == [dict(out) for out in answerer.inference(line, data, **options)]


def test_a_sound_is_a_file(ask, answerer):
    status, found = ask(task="speak", data={"t": "a red cat"}, options={"seed": 1})
    assert status == 200, found
    sound = found["answers"][0]["sound"]
    assert sound["type"] in ("audio/wav", "audio/x-wav")
    assert base64.b64decode(sound["base64"])[:4] == b"RIFF"


def test_a_picture_is_a_file(tiny):
    from PIL import Image

    from ofasys.modality import BUILT_IN
    from ofasys.serve.values import sent

    found = sent([Image.fromarray(tiny.picture())], BUILT_IN.spec("IMAGE"))
    assert found[0]["type"] == "image/png"
    assert base64.b64decode(found[0]["base64"])[:4] == b"\x89PNG"


def test_a_clip_is_a_moving_picture():
    from ofasys.modality import BUILT_IN
    from ofasys.modality.video.moving import Video
    from ofasys.modality.video.read import opened
    from ofasys.serve.values import sent

    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    found = sent(Video(frames, 5.0), BUILT_IN.spec("VIDEO"))
    assert found["type"] == "image/png"
    with opened(base64.b64decode(found["base64"]), timed=True) as clip:
        assert clip.duration == pytest.approx(0.6)
        assert np.array_equal(np.stack([np.asarray(frame) for frame in clip.pick(range(3))]), frames)


def events(text):
    parts = [part.split("\n") for part in text.strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in parts]


@pytest.mark.parametrize("name", ["caption", "detect", "entail"])
def test_a_stream_ends_with_the_answer(http, ask, files, name):
    request = {"task": name, "data": row(name, files, coded)}
    response = http.post("/v1/inference/stream", json=request)
    assert response.headers["content-type"].startswith("text/event-stream")
    found = events(response.text)
    assert found[-1][0] == "done"
    assert found[-1][1]["answers"] == ask(**request)[1]["answers"]
    whole = {told["column"]: told["value"] for kind, told in found if kind == "slot"}
    assert whole == found[-1][1]["answers"][0]
    for column in {told["column"] for kind, told in found if kind == "text"}:
        pieces = [told["value"] for kind, told in found if kind == "text" and told["column"] == column]
        assert "".join(pieces) == whole[column]


def test_a_stream_refuses_before_it_begins(http):
    response = http.post("/v1/inference/stream", json={"task": "caption", "data": {"img": coded(b"no picture")}})
    assert response.status_code == 422
    assert response.json()["error"]["place"] == "slot IMAGE:img, column img"


def test_embeddings(http, answerer, files):
    request = {"task": "match", "data": [{"img": coded(files["img"])}, {"img": coded(files["jpg"])}]}
    found = http.post("/v1/embed", json=request).json()["embeddings"]
    offline = answerer.embed(answerer.tasks["match"].instructions[0], [{"img": files["img"]}, {"img": files["jpg"]}])
    np.testing.assert_allclose(found["img"], offline["img"], atol=1e-5)
    one = http.post("/v1/embed", json={"task": "match", "data": {"cap": "a red cat"}}).json()["embeddings"]
    assert np.linalg.norm(one["cap"]) == pytest.approx(1, abs=1e-5)
    assert http.post("/v1/embed", json={"task": "caption", "data": {}}).status_code == 422


def test_a_plan_is_that_of_the_command_line(http, answerer):
    from ofasys.planner import explain

    line = "[IMAGE:img] what is it? -> [TEXT:cap]"
    found = http.post("/v1/explain", json={"instruction": line, "size": "tiny"}).json()
    assert found["text"] == explain(answerer.programs.planned(answerer_line(answerer, line))[0], "tiny")
    assert [(slot["column"], slot["given"]) for slot in found["slots"]] == [("img", True), ("cap", False)]
    assert found["answerable"]
    wrong = http.post("/v1/explain", json={"instruction": "[IMGAE:img] what is it? -> [TEXT:cap]"})
    assert wrong.status_code == 422
    assert wrong.json()["error"]["caret"] == "  [IMGAE:img] what is it? -> [TEXT:cap]\n   ^^^^^"
    cannot = http.post("/v1/explain", json={"instruction": "[TEXT:t] -> [PHONE:p]"}).json()
    assert not cannot["answerable"]
    assert "never shown" in cannot["why_not"]["message"] or "PHONE" in cannot["why_not"]["message"]


def answerer_line(answerer, text):
    from ofasys.language import Instruction

    return Instruction(text)


def test_tasks_and_words(http):
    found = http.get("/v1/tasks").json()
    tasks = {task["name"]: task for task in found["tasks"]}
    assert tasks["entail"]["labels"] == {"label": ["yes", "no", "not sure"]}
    assert tasks["entail"]["examples"] == [{"sent1": "a cat", "sent2": "dog"}]
    words = {word["tag"]: word for word in found["modalities"]}
    assert words["VIDEO"]["source"]
    assert words["VIDEO"]["target"]
    assert "vocoder" not in {attribute["name"] for attribute in words["AUDIO"]["attributes"]}


def test_the_client(http, answerer, files, tmp_path):
    import httpx2

    def carried(request):
        response = http.request(request.method, request.url.path, content=request.read(), headers=request.headers)
        return httpx2.Response(response.status_code, headers=response.headers, content=response.content)

    (tmp_path / "a.png").write_bytes(files["img"])
    with Client("http://testserver", transport=httpx2.MockTransport(carried)) as client:
        assert client.ready()
        one = client.infer(LINE, {"img": tmp_path / "a.png"}, max_length=6)
        assert dict(one) == dict(answerer.inference(LINE, {"img": files["img"]}, max_length=6))
        good, bad = client.infer(task="caption", data=[{"img": files["img"]}, {"img": b"nothing"}])
        assert dict(good) == dict(one)
        assert bad.problem.row == 1
        assert [event.kind for event in client.stream(task="caption", data={"img": files["img"]})][-1] == "done"
        assert client.infer(task="speak", data={"t": "a cat"})["sound"][:4] == b"RIFF"
        assert len(client.embed(task="match", data={"cap": "a cat"})["cap"]) == 32
        assert client.explain(LINE)["answerable"]
        assert "entail" in client.tasks()


LINE = "[IMAGE:img] what does the image describe? -> [TEXT:cap]"
