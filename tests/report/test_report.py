"""The report of runs of every kind: whole, torn, going on, without rows."""

import importlib.util
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from ofasys import GeneralistModel, Task, Trainer, flow
from ofasys.errors import CheckpointError, ConfigError
from ofasys.metric import Confusion, Metric
from ofasys.modality import BUILT_IN
from ofasys.report import classes, write_report
from ofasys.report.examples import Canvas, sort_rows
from ofasys.report.history import History
from ofasys.report.plot import plot, shares
from ofasys.report.trivial import trivial_answers
from ofasys.train.evaluate import answer_rows

SPEC = importlib.util.spec_from_file_location("tiny_train", Path(__file__).parents[1] / "train" / "tiny.py")
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)

EMPTY = {"br", "img", "meta", "line", "circle", "polyline", "audio"}


class Checked(HTMLParser):
    """Every tag is closed by its own, and no address leads out of the page."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.words = [], []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "iframe", "link")
        for name, value in attrs:
            assert name not in ("src", "href") or value.startswith(("data:", "#")), value[:80]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            assert self.open[-1] == tag, (self.open[-4:], tag)
            self.open.pop()

    def handle_data(self, data):
        self.words.append(data)


def read(path):
    checked = Checked()
    checked.feed(path.read_text(encoding="utf8"))
    assert not checked.open
    return " ".join(" ".join(checked.words).split())


def fit(tasks, out, **changes):
    Trainer(**({"max_steps": 4, "warmup": 1, "out": out, "live": False, "log_every": 2} | changes)).fit(
        model=tiny.model(), tasks=tasks
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two tasks, with what each was trained on; it is not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "first"
    fit([label(), tiny.box_task(valid=tiny.box_rows(4))], out, eval_every=2, max_steps=5)
    return out


def label(**changes):
    rows = [{"text": row["text"], "label": f"<b>{row['label']}</b>"} for row in tiny.label_rows()]
    return tiny.label_task(**({"train": rows, "valid": rows[:6], "metrics": ["accuracy", "f1"]} | changes))


def test_a_run_and_its_tasks(run, tmp_path):
    path = write_report(run, [label(), tiny.box_task(valid=tiny.box_rows(4))], out=tmp_path / "there" / "page.html")
    page = path.read_text(encoding="utf8")
    text = read(path)
    for words in (
        "5 of 5",
        "by loss",
        "Figures On 6 of 6 valid rows.",
        "trivial answer is",
        "probability 0.",
        "(no answer)",
    ):
        assert words in text, words
    assert "<b>red" not in page.replace("&lt;b&gt;red", "")
    assert "&lt;b&gt;red&lt;/b&gt;" in page
    assert page.count("<svg") >= 5
    assert page.count("image/png") >= 4
    assert "these are rows it was trained on" not in text.lower()
    assert not list(run.glob("*.html"))


def test_the_headline_stands_beside_the_trivial_answer(run, tmp_path):
    red = label(train=[label().source("train")[0]] * 12)
    page = write_report(run, [red], names=["label"], out=tmp_path / "p.html").read_text(encoding="utf8")
    figures = json.loads([line for line in (run / "metrics.jsonl").read_text().splitlines() if '"valid"' in line][-2])
    row = re.search(
        r"<tr><td>label</td><td>accuracy</td><td><b>([\d.]+)</b></td><td>([\d.]+)</td><td>6</td><td>valid</td><td>(.*?)</td>",
        page,
    )
    best = History.of(run).checkpoint("best")
    own = next(
        line
        for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        if (line["kind"], line["step"], line["task"]) == ("valid", best, "label")
    )
    assert figures["kind"] == "valid"
    assert float(row[1]) == pytest.approx(own["accuracy"], abs=1e-4)
    assert float(row[2]) == pytest.approx(2 / 6, abs=1e-4)  # of six rows of four colours, in turn
    assert row[3] == "most frequent"


def test_where_the_weights_are_from(run):
    assert re.search(r"brought: nothing; new: [\d,]+ numbers of engine transformer", write_report(run).read_text())


def test_without_rows_it_says_so(run, tmp_path):
    text = read(write_report(run, out=tmp_path / "p.html"))
    assert text.count("the rows of this task are not known here") == 2
    assert "Of the log: valid rows, step" in text
    assert "A row a true label, a column an answer" in text  # out of the log's own line
    assert "accuracy" in text


def test_train_rows_are_said_to_be_such(tmp_path):
    fit([tiny.fill_task()], tmp_path / "run")
    text = read(write_report(tmp_path / "run", [tiny.fill_task()], limit=3))
    assert "On 3 of 10 train rows, evenly spread. These are rows it was trained on" in text
    assert "none: no checkpoint was chosen by validation" in text
    assert "the last checkpoint, step 4" in text


def test_a_run_that_was_killed_or_goes_on(run, tmp_path):
    there = tmp_path / "run"
    shutil.copytree(run, there)
    with (there / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 6, "task": "label", "loss": null, "lr": 0.1}\n{"kind": "tra')
    (there / "quarantine.jsonl").write_text('{"step": 1, "task": "label", "problem": "<i>bad</i>"}\n{"st')
    shutil.rmtree(there / "checkpoints")
    text = read(write_report(there, [label()]))
    assert "2 of the log could not be read" in text
    assert "no row is answered, for there is no checkpoint" in text
    assert "1 training rows were left out as bad: <i>bad</i>" in text
    assert "loss train none" in text
    about = json.loads((there / "run.json").read_text())
    about["trainer"]["max_steps"] = 100
    (there / "run.json").write_text(json.dumps(about))
    assert "6 of 100 (going on, or stopped)" in read(write_report(there))
    (there / "run.json").write_text("{")
    assert "label" in read(write_report(there))
    with pytest.raises(CheckpointError, match="the run has no best checkpoint yet"):
        write_report(there, [label()], which="best")


def test_pictures_that_are_gone_are_said_in_place(tmp_path):
    rows = []
    for i in range(6):
        picture = tmp_path / f"{i}.png"
        Image.fromarray(tiny.box_rows()[i]["img"]).save(picture)
        rows.append({"img": str(picture), "c": "xy"[i % 2]})
    task = lambda: Task(  # noqa: E731
        "gone", "[IMAGE:img] -> [CATEGORY:c]", rows, metrics=["accuracy"], settings={"IMAGE.size": 16, "IMAGE.patch": 8}
    )
    fit([task()], tmp_path / "run", max_steps=2)
    (tmp_path / "3.png").unlink()
    text = read(write_report(tmp_path / "run", [task()]))
    assert "On 5 of 6 train rows" in text
    assert "not read (1 rows)" in text
    assert "3.png" in text
    for row in rows[:3] + rows[4:]:
        Path(row["img"]).unlink()
    assert "no row could be read" in read(write_report(tmp_path / "run", [task()]))


def test_a_metric_that_fails_costs_its_table_alone(tmp_path):
    def broken(predictions, references):
        raise ValueError("a <bug>")

    tasks = [label(metrics=[broken], valid=None), tiny.fill_task()]
    fit(tasks, tmp_path / "run")
    text = read(write_report(tmp_path / "run", tasks))
    assert "a metric failed: ValueError: a <bug>" in text
    assert text.count("train row 0") == 2  # the answers are there all the same


def test_a_split_that_a_task_has_not(run, tmp_path):
    text = read(write_report(run, [label()], split="test", out=tmp_path / "p.html"))
    assert "the task has no test rows" in text
    assert "Of the log: valid rows" in text


def test_pairs_are_near_or_far_and_never_right(tmp_path):
    rows = [{"word": f"word {i}", "figure": f"figure {i}"} for i in range(6)]
    task = Task("pairs", "[TEXT:word|TEXT:figure] ->", rows, metrics=["retrieval"], micro_batch_size=3)
    fit([task], tmp_path / "run", max_steps=2)
    text = read(write_report(tmp_path / "run", [task]))
    assert "the nearest pairs (by their cosine)" in text
    assert "right (" not in text
    assert "recall@1 higher" in text
    assert "median_rank lower" in text


def test_answers_that_are_better_or_worse(tmp_path):
    rows = [{"text": "a", "n": f"{i}"} for i in range(6)]
    distance = lambda p, r: sum(abs(len(a) - int(b)) for a, b in zip(p, r, strict=True))  # noqa: E731
    far = Metric("far", "", ("any",), distance, "far", higher_is_better=False)
    task = Task("n", "[TEXT:text] -> [TEXT:n]", rows, metrics=[far], micro_batch_size=3, generate={"max_length": 3})
    model = tiny.model()
    Trainer(max_steps=1, live=False).fit(model=model, tasks=[task])
    program = flow.bind(model, task.plan, task.labels)
    answered = answer_rows(model, task, "train", program)
    answered.predictions = [{"n": text} for text in ("xxx", "x", "xx", "xx", "x", "x")]
    found = sort_rows(task, program, answered, "train")  # they are 3, 0, 0, 1, 3, 4 off
    assert found.heads == ("the best", "the worst")
    assert (found.good, found.poor) == ([1, 2, 3], [0, 4, 5])
    answered.predictions = [{"n": f"{i}"} for i in range(3)] + [{"n": "no"}] * 3
    found = sort_rows(task, program, answered, "train")
    assert (found.heads, found.good) == (("right", "wrong"), [0, 1, 2])


def test_wrong_words_are_answered(run, tmp_path):
    with pytest.raises(ConfigError, match=r"holds no run .*give the folder a Trainer wrote to"):
        write_report(tmp_path)
    with pytest.raises(ConfigError, match="no task 'labl' in this run; did you mean label"):
        write_report(run, names=["labl"])
    with pytest.raises(ConfigError, match="no split 'tets'; did you mean test"):
        write_report(run, split="tets")
    with pytest.raises(ConfigError, match="limit is 0"):
        write_report(run, limit=0)


def test_a_modality_without_a_picture_shows_its_text(monkeypatch):
    from ofasys.modality import default_registry
    from ofasys.planner import plan
    from ofasys.report.examples import Canvas

    class Odd:
        def __repr__(self):
            return "<Odd & own>"

    made = plan("[TEXT:a] -> [TEXT:b]")
    parts = list(Canvas(made, {"a": Odd(), "b": 1}, None, default_registry()).parts({"b": Odd()}, {"b": Odd()}))
    assert "&lt;Odd &amp; own&gt;" in parts[0]
    assert "answer:" in parts[1]
    wrong = plan("[IMAGE:a] -> [TEXT:b]")
    parts = list(Canvas(wrong, {"a": "nowhere.png"}, None, default_registry()).parts({"b": "x"}, {"b": "y"}))
    assert "cannot be shown: no file" in parts[0]
    assert "class='wrong'>x<" in parts[1]


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1, None), (2, None)],
        [(5, 1.0)],
        [(0, 3.0), (1, None), (2, 4.0)],
        [(1, 2.0), (2, 2.0)],
        [(1, 0.0), (2, 0.0)],
        [(1, -5.0), (2, -5.0)],
        [(1, 1e-30), (2, 1e30)],
        [(i, float(i % 7)) for i in range(5000)],
        [(1, float("inf")), (2, 1.0)],
    ],
)
def test_curves_of_every_kind(points):
    for picture in (plot("<loss>", {"train": points}, mark=1), plot("a", shares({"x": points, "y": [(1, 1.0)]}))):
        checked = Checked()
        checked.feed(picture)
        assert not checked.open
        assert "nan" not in picture
        assert "<loss>" not in picture
        for x, y in re.findall(r"c[xy]='([^']*)' c?y?='?([^']*)", picture):
            assert np.isfinite([float(x), float(y or 0)]).all()
        for places in re.findall(r"points='([^']*)'", picture):
            at = np.array([place.split(",") for place in places.split()], dtype=float)
            assert ((at >= 0) & (at <= 1000)).all()
            assert len(at) <= 402


def test_many_labels_are_bounded():
    references = [f"label <{i % 1000}>" for i in range(3000)]
    predictions = [f"label <{i * 7 % 1000}>" if i % 3 else None for i in range(3000)]
    found = Confusion.of(predictions, references)
    for page in (classes.of_confusion(found), classes.of_line(found.line())):
        assert len(page) < 200_000
        assert "<0>" not in page
        assert "The 30 most frequent of" in page
        assert "are left out" in page
    one = classes.of_confusion(Confusion.of([None], ["a"]))
    assert "1 of 1 a answered as (no answer)" in one


def answers_of(values, n=1):
    """Kind -> n trivial answers of one column."""
    found = trivial_answers([{"x": value} for value in values], ["x"], n, Random(0))
    return {kind: [answer["x"] for answer in answers] for kind, answers in found.items()}


def test_a_trivial_answer_of_pictures_is_their_mean_and_of_sounds_one_of_them():
    black, white = (Image.new("RGB", (2, 2), colour) for colour in ("black", "white"))
    (mean,) = answers_of([black, white])["mean"]
    assert mean.getpixel((0, 0)) == (128, 128, 128)
    assert set(answers_of([np.zeros(3)])) == {"random"}


def test_a_random_answer_is_a_row_and_the_same_for_a_seed():
    seen = [{"box": [float(i)], "label": str(i)} for i in range(9)]
    first, again = (trivial_answers(seen, ["box", "label"], 20, Random(3))["random"] for _ in range(2))
    assert first == again
    assert len({answer["label"] for answer in first}) > 3
    assert all(answer in seen for answer in first)


def test_a_column_without_a_mean_has_its_most_frequent_value_beside_the_mean_of_others():
    seen = [{"size": 1.0, "label": "a"}, {"size": 2.0, "label": "b"}, {"size": 6.0, "label": "b"}]
    found = trivial_answers(seen, ["size", "label"], 1, Random(0))
    assert found["mean"] == [{"size": 3.0, "label": "b"}]
    assert found["most frequent"] == [{"size": 1.0, "label": "b"}]


def test_a_repetition_has_the_commonest_number_of_turns_each_its_own():
    seen = [
        {"box": [[0.0, 2.0], [4.0, 4.0]], "label": ["a", "b"]},
        {"box": [[2.0, 4.0], [6.0, 8.0]], "label": ["a", "c"]},
        {"box": [[4.0, 6.0], [8.0, 12.0]], "label": ["d", "c"]},
        {"box": [[50.0, 50.0]], "label": ["e"]},
    ]
    found = trivial_answers(seen, ["box", "label"], 1, Random(0), ["box", "label"])
    assert found["mean"] == [{"box": [[2.0, 4.0], [6.0, 8.0]], "label": ["a", "c"]}]
    assert found["most frequent"] == [{"box": [[0.0, 2.0], [4.0, 4.0]], "label": ["a", "c"]}]
    none = trivial_answers([{"x": []}, {"x": []}, {"x": ["a"]}], ["x"], 1, Random(0), ["x"])
    assert none["most frequent"] == [{"x": []}]


def test_trivial_answers_of_numbers():
    assert answers_of(["a", "b", "b"], n=2)["most frequent"] == ["b", "b"]
    assert answers_of([1.0, 2.0, 2.0], n=2)["most frequent"] == [2.0, 2.0]
    assert answers_of([1.0, 3.0])["mean"] == [2.0]
    assert "mean" not in answers_of([True, False])
    assert answers_of([[0.0, 1.0], [2.0, 3.0]])["mean"] == [[1.0, 2.0]]
    assert answers_of([[[1, 2]], [[3, 4]], [[1, 2]]])["most frequent"] == [[[1, 2]]]


def test_what_a_row_may_lack_is_drawn_where_it_is_and_equal_where_neither_has_it():
    sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
    from patterns import MAYBE

    registry = BUILT_IN.with_(MAYBE)
    rows = [row if i % 2 else {"img": row["img"], "label": None} for i, row in enumerate(tiny.box_rows(6))]
    line = "[IMAGE:img] where is [TEXT:label]? -> [BOX:box]?"
    task = Task("t", line, rows, metrics=["iou_accuracy"], settings=tiny.SMALL, modalities=registry)
    model = GeneralistModel(config=tiny.CONFIG, modalities=registry, text_pieces=300)
    model.grow([(task.plan, task.labels)], task.texts)
    program = flow.bind(model, task.plan, task.labels)
    answered = answer_rows(model.eval(), task, "train", program)
    box = answered.references[1]["box"]
    answered.predictions = [{"box": one} for one in (None, box, box, None, None, box)]
    assert sort_rows(task, program, answered, "train").good == [0, 1, 4, 5]
    for i, drawn in enumerate((0, 1, 1, 1, 0, 1)):
        canvas = Canvas(program.plan, rows[i], None, registry)
        page = "".join(canvas.parts(answered.predictions[i], answered.references[i]))
        assert (page.count("image/png"), "box" in page) == (drawn, drawn == 1)
        assert not re.search("cannot be shown|nothing|none|None", page)
