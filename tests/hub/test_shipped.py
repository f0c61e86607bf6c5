"""The model that comes with the package: it answers at once, and says what it is of."""

import json
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ofasys import OFASys, Task
from ofasys.cli.main import app
from ofasys.errors import CheckpointError, ConfigError
from ofasys.hub.shipped import SHIPPED, shipped
from ofasys.train import Trainer

FOLDER = SHIPPED / "gallery"
TASKS = yaml.safe_load((FOLDER / "run.yaml").read_text(encoding="utf8"))["tasks"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    return OFASys.from_pretrained("gallery")


def task_of(name: str) -> Task:
    fields = dict(TASKS[name])
    return Task(name, **{**fields, "test": FOLDER / fields["test"]})


def test_a_folder_of_that_name_is_what_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped("gallery") == FOLDER
    with pytest.raises(CheckpointError, match="did you mean gallery"):
        OFASys.from_pretrained("galery")
    assert shipped(tmp_path / "gallery") is None
    Path("gallery").mkdir()
    assert shipped("gallery") is None
    with pytest.raises(CheckpointError, match="gallery"):
        OFASys.from_pretrained("gallery")


def test_it_has_no_revisions():
    with pytest.raises(ConfigError, match="revision"):
        OFASys.from_pretrained("gallery", revision="main")


def test_it_is_small_and_of_no_one_machine():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20 * 2**20
    for path in files:
        if path.suffix in (".json", ".jsonl", ".yaml", ".md"):
            text = path.read_text(encoding="utf8")
            assert str(Path.home()) not in text
            assert os.sep + "tmp" + os.sep not in text


def test_it_is_of_fifteen_tasks_and_more_of_all_nine_modalities(model):
    assert len(model.cards) >= 15
    assert {"TEXT", "IMAGE", "AUDIO", "VIDEO", "MOTION", "BOX", "PHONE", "STRUCT", "CATEGORY"} <= model.model.used
    assert list(TASKS) == [card.name for card in model.cards]


def test_its_card_says_of_each_task_where_its_rows_are_from_and_how_it_does(model):
    card = (FOLDER / "README.md").read_text(encoding="utf8")
    assert card == model.card(name="gallery", licence="apache-2.0")
    for one in model.cards:
        assert one.origin
        assert one.licence
        assert "SA" not in one.licence
        assert "GPL" not in one.licence
        assert model.facts.tasks[one.name].split == "test"
        assert model.facts.tasks[one.name].scores
    assert "python -m benchmarks.generalist" in card


@pytest.mark.parametrize("name", list(TASKS))
def test_it_answers_rows_it_has_not_learned_from(model, name):
    task = task_of(name)
    figures = Trainer(live=False).evaluate(model=model.model, tasks=[task], split="test")[name]
    assert figures["samples"] == len(task.source("test")) == 12


def test_the_demo_shows_it_without_training(tmp_path):
    done = CliRunner().invoke(app, ["demo", "--pretrained", "--out", str(tmp_path / "shown")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "shown" / "report.html").read_text(encoding="utf8")
    for name in TASKS:
        assert f"id='{name}'" in page
    assert "could not be answered" not in page


@pytest.mark.parametrize("given", [["--minutes", "1"], ["--all"], ["--page", "draw"]])
def test_what_is_trained_nothing_has_no_time(given):
    done = CliRunner().invoke(app, ["demo", "--pretrained", *given])
    assert done.exit_code == 2
    assert "--pretrained trains nothing" in done.stderr


def test_commands_take_its_name():
    told = CliRunner().invoke(app, ["tasks", "gallery", "--json"])
    assert list(json.loads(told.stdout)) == list(TASKS)
    answered = CliRunner().invoke(app, ["infer", "gallery", "pronunciation", "word=station", "--json"])
    assert answered.exit_code == 0, answered.output


@pytest.mark.parametrize("asked", [["train", "gallery"], ["train", "gallery", "--check"], ["doctor", "gallery"]])
def test_where_a_run_file_is_wanted_its_name_is_told_apart(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "gallery is a model that comes with ofasys, and no run file" in done.stderr
    for step in ("ofasys demo --pretrained", "ofasys card gallery", "{from: gallery}", "gallery:NAME"):
        assert step in done.stderr
    Path("gallery").write_text("tasks: {}")
    assert "comes with ofasys" not in CliRunner().invoke(app, asked).stderr


def test_its_report_is_written_elsewhere(tmp_path):
    done = CliRunner().invoke(app, ["report", "gallery"])
    assert done.exit_code == 2
    assert "`ofasys demo --pretrained` writes one to runs/pretrained, or give --out gallery.html" in done.stderr
    out = tmp_path / "shown.html"
    done = CliRunner().invoke(app, ["report", "gallery", "--task", "pronunciation", "--limit", "2", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "id='pronunciation'" in out.read_text(encoding="utf8")


def test_a_run_goes_on_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"text": "sunny", "mood": "good"}\n{"text": "wet", "mood": "bad"}\n')
    Path("run.yaml").write_text(
        "model: {from: gallery}\n"
        "trainer: {max_steps: 1, out: went-on, live: false}\n"
        "tasks: {day: {instruction: '[TEXT:text] -> [TEXT:mood,closed_set]', train: rows.jsonl, micro_batch_size: 2}}\n"
    )
    done = CliRunner().invoke(app, ["train", "run.yaml"])
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(Path("went-on/run.yaml").read_text())["model"] == {"from": "gallery"}
    assert "pronunciation" in OFASys.from_pretrained("went-on").tasks
