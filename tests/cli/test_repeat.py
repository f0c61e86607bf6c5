"""A run's folder repeats the run, and `runs diff` says where two runs part."""

import json
import shutil
import subprocess

import pytest

from ofasys.cli.diff import parted
from ofasys.train.provenance import git_state, versions


@pytest.fixture
def first(trained, shell):
    """A shell whose folder holds the run, and nothing else of the shell it was trained in."""
    shutil.copytree(trained.folder / "runs", shell.folder / "runs")
    shutil.move(shell.folder / "runs/run", shell.folder / "runs/first")
    return shell


def test_a_run_is_repeated_to_the_bit(first):
    said = first.ok("train", "runs/first")
    assert said.splitlines()[-1] == "its weights are those of runs/first, bit for bit"
    done = first("runs", "diff", "runs/first", "runs/first-again")
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [
            "settings: the same",
            "made by: the same",
            "rows: the same",
            "log: the same",
            "weights: the same, bit for bit",
        ],
    )


def test_a_repeat_with_a_change_says_so_and_the_first_line_that_parts_is_shown(first):
    done = first("train", "runs/first", "trainer.lr=2e-3", "trainer.out=runs/second")
    assert done.exit_code == 0
    assert "its weights are not those of runs/first: ofasys runs diff runs/first runs/second" in done.stderr
    found = json.loads(first("runs", "diff", "runs/first", "runs/second", "--json").stdout)
    assert found["settings"] == {"trainer.lr": [0.001, 0.002]}
    assert (found["made by"], found["rows"], found["weights"]) == ({}, {}, "differ")
    assert (found["log"]["step"], found["log"]["kind"], found["log"]["task"]) == (3, "train", "caption")
    assert found["log"]["figures"].keys() >= {"loss", "lr"}
    done = first("runs", "diff", "runs/first", "runs/second")
    assert done.exit_code == 1
    assert "trainer.lr  0.001" in done.stdout
    assert "log parts at step 3, train of task caption" in done.stdout


def test_other_rows_and_other_versions_are_named(first):
    first.ok("train", "runs/first")
    again = first.folder / "runs/first-again/run.json"
    record = json.loads(again.read_text())
    assert record["versions"] == versions()
    assert record["versions"]["torch"].startswith("2.")
    record["versions"]["torch"] = "2.0"
    record["rows"]["entailment"]["train"] = "other"
    again.write_text(json.dumps(record))
    found = parted(first.folder / "runs/first", first.folder / "runs/first-again")
    assert found["made by"] == {"versions.torch": [versions()["torch"], "2.0"]}
    assert found["rows"].keys() == {"rows.entailment.train"}
    assert first("runs", "diff", "runs/first", "runs/first-again").exit_code == 1


def test_a_log_that_is_longer_parts_where_the_other_ends(first):
    shutil.copytree(first.folder / "runs/first", first.folder / "runs/longer")
    with (first.folder / "runs/longer/metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 9, "task": "caption", "loss": 1.0}\n')
    log = parted(first.folder / "runs/first", first.folder / "runs/longer")["log"]
    assert (log["step"], log["figures"]["loss"]) == (9, ["-", 1.0])


def test_wrong(first):
    assert "runs/fist holds no run: no run.json that can be read; did you mean first?" in first.wrong(
        "runs", "diff", "runs/fist", "runs/first"
    )
    assert "is a folder without run.yaml" in first.wrong("train", "data")


def test_the_state_of_a_checkout(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e@x", *words], check=True)

    assert git_state(tmp_path) is None
    git("init", "-q")
    (tmp_path / "a.txt").write_text("one")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = git_state(tmp_path)
    assert clean.keys() == {"commit"}
    (tmp_path / "a.txt").write_text("two")
    changed = git_state(tmp_path)
    assert (changed["commit"], changed["changed"]) == (clean["commit"], ["a.txt"])
    (tmp_path / "a.txt").write_text("three")
    assert git_state(tmp_path)["diff"] != changed["diff"]
