"""A sweep tries what it is told, goes on where it was cut off, and ends with a table."""

import json
import sys

import pytest

from ofasys.cli.space import Field, read_space
from ofasys.errors import ConfigError
from ofasys.train import steps

FAST = ["trainer.max_steps=2", "trainer.precision=float32", "trainer.live=false"]
OVER = ["--over", "trainer.lr=1e-4..1e-2,log", "--over", "model.config.ffn=32|64", "--seed", "3"]


def table(shell, name="run-sweep"):
    return json.loads((shell.folder / "runs" / name / "sweep.json").read_text())["runs"]


@pytest.mark.slow
def test_a_sweep_that_was_cut_off_ends_as_one_that_was_not(shell, monkeypatch):
    pytest.importorskip("optuna")
    said = shell.ok("sweep", "run.yaml", *FAST, *OVER, "--trials", "3")
    whole = table(shell)
    assert [row["ended"] for row in whole] == ["whole"] * 3
    assert [row["value"] for row in whole] == sorted(row["value"] for row in whole)
    assert len({row["trainer.lr"] for row in whole}) == 3
    assert all(1e-4 <= row["trainer.lr"] <= 1e-2 and row["model.config.ffn"] in ("32", "64") for row in whole)
    best = f"runs/run-sweep/{whole[0]['run']}"
    assert said.splitlines()[-1] == f"the best is in {best}; next: ofasys evaluate {best}"
    run = (shell.folder / best / "run.yaml").read_text()
    assert f"ffn: {whole[0]['model.config.ffn']}" in run

    update, taken = steps.Steps.update, []

    def killed(self, step, stream):
        taken.append(step)
        if len(taken) == 4:  # in the second run, between its steps
            raise KeyboardInterrupt
        update(self, step, stream)

    cut = ["sweep", "run.yaml", *FAST, "trainer.save_every=1", *OVER, "--out", "runs/cut"]
    with monkeypatch.context() as patched:
        patched.setattr(steps.Steps, "update", killed)
        assert shell(*cut, "--trials", "3").exit_code == 130
    done = shell(*cut, "--trials", "3")
    assert "runs/cut/trial-001 holds a run: going on from step 1 of 2" in done.stderr
    assert [{**row, "run": ""} for row in table(shell, "cut")] == [{**row, "run": ""} for row in whole]
    assert shell(*cut, "--trials", "3").stdout == done.stdout, "nothing is left to do"


def test_a_run_that_fails_is_told_and_the_sweep_goes_on(shell):
    pytest.importorskip("optuna")
    done = shell("sweep", "run.yaml", *FAST, "--over", "trainer.lr=1e-3|1e38", "--trials", "4", "--seed", "1")
    assert done.exit_code == 0
    rows = table(shell)
    assert {row["ended"] for row in rows} == {"whole", "failed"}
    assert all("not finite" in row["error"] for row in rows if row["trainer.lr"] == "1e38")
    assert rows[0]["trainer.lr"] == "1e-3"


@pytest.mark.slow
def test_runs_that_are_worse_than_the_others_end_early(shell):
    pytest.importorskip("optuna")
    words = ["trainer.max_steps=4", "trainer.eval_every=1", *FAST[1:], "--prune", "--trials", "8"]
    shell.ok("sweep", "run.yaml", *words, "--over", "trainer.lr=1e-6..1e-2,log")
    rows = table(shell)
    assert "pruned" in {row["ended"] for row in rows}
    pruned = next(row for row in rows if row["ended"] == "pruned")
    last = json.loads((shell.folder / "runs/run-sweep" / pruned["run"] / "checkpoints/last.json").read_text())
    assert int(last["folder"][5:]) < 4


def test_what_is_tried():
    assert read_space(["a.b=1..5", "c=0.5..2", "d=1e-5..1e-2,log", "e=x|y", "f=-1..1.5"]) == (
        Field("a.b", 1, 5),
        Field("c", 0.5, 2),
        Field("d", 1e-5, 1e-2, True),
        Field("e", choices=("x", "y")),
        Field("f", -1, 1.5),
    )
    paths = ("../a.jsonl", "../b.jsonl")
    assert read_space(["tasks.t.train=../a.jsonl|../b.jsonl"]) == (Field("tasks.t.train", choices=paths),)
    assert [str(field) for field in read_space(["d=1e-05..0.01,log", "e=x|y"])] == ["d=1e-05..0.01,log", "e=x|y"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer.lr", "is no field and values"),
        ("trainer.lr=1", "no list of two values or more"),
        ("trainer.lr=1|1", "no list of two values or more"),
        ("trainer.lr=a..b", "no range of numbers"),
        ("trainer.lr=1..inf", "no range of numbers"),
        ("trainer.lr=2..1", "the low end is less than the high one"),
        ("trainer.lr=0..1,log", "and more than 0"),
    ],
)
def test_what_cannot_be_tried(text, said):
    with pytest.raises(ConfigError, match=said):
        read_space([text])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "there is no --over"),
        (["--over", "trainer.lr=1..2", "--over", "trainer.lr=1..2"], "names 'trainer.lr' twice"),
        (["--over", "trainer.lrr=1..2"], "trainer has no field 'lrr'; did you mean lr"),
        (["--over", "trainer.lr=-1..1"], "trainer.lr is -1"),
        (["--over", "model.config.heads=2|5"], "heads"),
        (["--over", "trainer.lr=1..2", "--trials", "0"], "--trials is 0; it is 1 or more"),
        (["--over", "trainer.lr=1..2", "--prune"], "give trainer.eval_every"),
    ],
)
def test_wrong_words(shell, words, said):
    assert said in shell.wrong("sweep", "run.yaml", *words)
    assert not (shell.folder / "runs").exists()


def test_another_sweep_in_the_folder_and_no_optuna(shell, monkeypatch):
    pytest.importorskip("optuna")
    shell.ok("sweep", "run.yaml", *FAST, "--over", "trainer.lr=1e-3|2e-3", "--trials", "1")
    assert "holds another sweep: over ['trainer.lr=1e-3|2e-3'] and not ['trainer.lr=1e-3|3e-3']" in shell.wrong(
        "sweep", "run.yaml", *FAST, "--over", "trainer.lr=1e-3|3e-3", "--trials", "1"
    )
    file = shell.folder / "run.yaml"
    written = file.read_text()
    file.write_text(written.replace("warmup: 1", "warmup: 2"))
    again = ["sweep", "run.yaml", *FAST, "--over", "trainer.lr=1e-3|2e-3", "--trials", "2"]
    assert "run.yaml says something else than when the sweep in runs/run-sweep was begun" in shell.wrong(*again)
    file.write_text(f"# the same\n{written}")
    shell.ok(*again)
    assert len(table(shell)) == 2
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert 'pip install "ofasys[sweep]"' in shell.wrong("sweep", "run.yaml", *FAST, "--over", "trainer.lr=1e-3|2e-3")
