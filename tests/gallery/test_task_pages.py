"""The pages of the gallery's tasks: they say what the records say, and the site shows rows and answers beside them.

pytest tests/gallery --update-golden writes docs/gallery anew.
"""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ofasys.errors import ConfigError
from ofasys.gallery.tasks import TASKS, Data, Figure, GalleryTask, composed, shown, sudoku
from ofasys.gallery.tasks.page import ANSWERS, EXAMPLES, by_modality, index, page, plan_of
from ofasys.gallery.tasks.run import gallery_task
from ofasys.gallery.tasks.shown import newest_run, shown_answers, shown_rows
from ofasys.gallery.tasks.split import SPLITS
from ofasys.modality import default_registry
from ofasys.train import Trainer

PAGES = Path(__file__).parents[2] / "docs" / "gallery"
BY_NAME = {task.name: task for task in TASKS}
LABELLED = next(task for task in TASKS if "closed_set" in task.settings)  # right and wrong answers from the first step


def looks(task):
    """What its rows look like: tasks that are alike in this are shown alike."""
    return tuple(
        (slot.modality, slot.side, slot.preprocess.name, slot.group, slot.refers_to) for slot in plan_of(task).slots
    )


KINDS = {looks(task): task for task in sorted(TASKS, key=lambda task: bool(task.packages))}  # stand-ins make few rows


@pytest.fixture
def fetched(packages, tmp_path, monkeypatch):
    """Made-up packages stand for what was fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(GalleryTask, "data", lambda self, folder: Data(folder, packages))
    monkeypatch.setattr(shown, "is_fetched", lambda package: True)
    monkeypatch.setattr(sudoku, "BOARDS", dict.fromkeys(SPLITS, shown.ROWS))  # a board or a scene takes a moment
    monkeypatch.setattr(composed, "COUNTS", {"train": 40, "valid": 10, "test": 20})


def test_the_pages_say_what_the_records_say(update_golden):
    made = {f"{task.name}.md": page(task) for task in TASKS} | {"README.md": index(TASKS)}
    there = {path.name: path for path in PAGES.glob("*.md")}
    if update_golden:
        for path in there.values():
            path.unlink()
        for name, text in made.items():
            (PAGES / name).write_text(text, encoding="utf8")
        there = {name: PAGES / name for name in made}
    found = {name: path.read_text(encoding="utf8") for name, path in there.items()}
    differing = sorted(name for name in made.keys() | found.keys() if made.get(name) != found.get(name))
    assert not differing, "docs/gallery differs; if that is meant: pytest tests/gallery --update-golden"


@pytest.mark.parametrize("task", TASKS, ids=list(BY_NAME))
def test_a_page_has_all_of_its_record(task):
    text = page(task)
    assert all(f"    {line}\n" in text for line in task.instructions)
    for package in task.records:
        assert all(told in text for told in (package.version, package.licence, package.attribution.strip()))
    figures = [figure for figure in (task.trivial, task.classical, task.expected) if figure is not None]
    for figure in figures:
        assert f" | {figure.value:.3g} | {figure.how} | " in text
    assert text.count("not measured") == 3 - len(figures)
    assert text.count(EXAMPLES) == text.count(ANSWERS) == 1
    assert f"digest `{task.digest}`" in text


def test_what_a_record_may_leave_out():
    task = replace(
        LABELLED,
        packages=(),
        expected=Figure(0.25, "chance", "2026-01-02"),
        instructions=("[TEXT:a|IMAGE:b] ->",),
        settings={"generate": {"max_length": 3}, "closed_set": tuple("abcdefghijklmnopqrstuvwxyz")},
        needs={},
    )
    text = page(task)
    assert "ofasys data fetch" not in text.partition("## Scores")[0]
    assert "ofasys infer" not in text
    assert "nothing is fetched" in text
    assert "| 0.25 | chance | 2026-01-02 |" in text
    assert "`closed_set`: 26 values" in text
    assert "`generate`: `max_length=3`" in text
    assert "| needs |" not in text
    assert r"`[TEXT:a\|IMAGE:b] ->`" in index([task])


@pytest.mark.parametrize("task", [task for task in TASKS if task.expected], ids=lambda task: task.name)
def test_the_command_beside_a_figure_makes_the_run_that_it_tells_of(task):
    told = re.match(r"(\d+) steps, seed 0", task.expected.how)
    command = re.search(rf"`ofasys train gallery:{task.name}(?: trainer\.max_steps=(\d+))?`, (.+) \|", page(task))
    assert int(told[1]) == int(command[1] or task.steps)
    assert command[2] == f"`ofasys evaluate runs/gallery-{task.name} --which last`"


def test_values_are_counted_whatever_stands_in_them():
    values = {"closed_set": tuple(f"first {i}, then another of many" for i in range(4))}
    assert "`closed_set`: 4 values" in page(replace(LABELLED, settings=values))


def test_days_are_days():
    for figure in (figure for task in TASKS for figure in (task.trivial, task.classical, task.expected) if figure):
        assert figure.date is None or date.fromisoformat(figure.date)


def test_each_task_is_listed_once_with_the_modality_it_is_about():
    listed = by_modality(TASKS)
    assert sorted(task.name for some in listed.values() for task in some) == sorted(BY_NAME)
    for tag, some in listed.items():
        assert all(tag in {slot.modality for slot in plan_of(task).slots} for task in some)
    plain = next(iter(listed))
    assert all({slot.modality for slot in plan_of(task).slots} == {plain} for task in listed[plain])


# Beside the pages


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize("task", KINDS.values(), ids=lambda task: task.name)
def test_rows_are_shown_as_their_modalities_show_them(task):
    found = shown_rows(task)
    assert "cannot be shown" not in found
    assert 1 <= found.count("<div class='card") <= shown.ROWS
    slots, registry = plan_of(task).slots, default_registry()
    drawn_on = {slot.refers_to for slot in slots}
    for slot in slots:
        if slot.index not in drawn_on:
            assert f"{slot.column}</span><br>" in found
        if registry.spec(slot.modality).show is not None:
            assert any(f"<{tag}" in found for tag in ("img", "audio", "table", "pre"))
    assert all(package.licence in found for package in task.records)


def test_what_is_not_fetched_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for task in TASKS:
        found = shown_rows(task) if task.packages else "was not fetched"
        assert "was not fetched" in found
        assert str(tmp_path) not in found
        assert "no run had learned it" in shown_answers(task, tmp_path / "runs")


@pytest.mark.usefixtures("fetched")
def test_a_library_that_is_missing_is_said(monkeypatch):
    def data(self, folder):
        raise ConfigError("its rows are made with nothing: pip install nothing")

    monkeypatch.setattr(GalleryTask, "data", data)
    assert shown_rows(LABELLED) == (
        "<p class='muted'>Not shown: its rows are made with nothing: pip install nothing.</p>"
    )


@pytest.mark.usefixtures("fetched")
def test_answers_of_a_run_are_shown_right_and_wrong(tmp_path, tiny):
    runs, task = tmp_path / "runs", LABELLED
    trainer = Trainer(max_steps=2, warmup=1, live=False, out=runs / f"gallery-{task.name}", eval_every=2)
    trainer.fit(model=tiny.model(), tasks=[gallery_task(task.name, micro_batch_size=2)])
    found = shown_answers(task, runs)
    assert "2 steps; seed 0" in found
    assert ">accuracy<" in found
    assert found.count("<div class='card") >= len(gallery_task(task.name).source("test"))
    assert "by accuracy" in found
    assert str(tmp_path) not in found
    (runs / f"gallery-{task.name}" / "checkpoints" / "last.json").write_text(json.dumps({"folder": "gone"}))
    assert newest_run(task.name, runs) is None


def test_a_run_of_the_task_alone_goes_before_one_of_several(tmp_path, monkeypatch):
    def run(name, *tasks):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"tasks": [{"name": task} for task in tasks]}))

    monkeypatch.setattr(shown.History, "checkpoint", lambda self, name: 1)
    run("gallery-all", "a", "b")
    run("other", "a")
    assert newest_run("a", tmp_path).folder.name == "gallery-all"
    run("gallery-a", "a")
    assert newest_run("a", tmp_path).folder.name == "gallery-a"
    assert newest_run("b", tmp_path).folder.name == "gallery-all"
    assert newest_run("c", tmp_path) is None
