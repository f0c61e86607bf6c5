"""`ofasys report`, as a person types it."""

import shutil

import pytest

from ofasys import ConfigError
from ofasys.cli.report import report

pytestmark = pytest.mark.slow


def test_the_report_of_a_run(shell):
    assert shell("train", "run.yaml").exit_code == 0
    done = shell("report", "runs/run", "--limit", "2")
    assert done.exit_code == 0, done.output
    assert done.stdout == "the report is runs/run/report.html\n"
    page = (shell.folder / "runs/run/report.html").read_text(encoding="utf8")
    assert "2 of 3 test rows, evenly spread" in page
    assert "<svg" in page
    assert "data:image/png" in page
    only = shell("report", "runs/run", "--task", "entailment", "--split", "train", "--out", "there/page.html")
    assert only.exit_code == 0, only.output
    page = (shell.folder / "there/page.html").read_text(encoding="utf8")
    assert "<h2 id='entailment'>" in page
    assert "<h2 id='caption'>" not in page
    assert "(no answer)" in page
    # Data that is gone is said, and the rest of the page is there.
    (shell.folder / "data/nli.csv").rename(shell.folder / "data/elsewhere.csv")
    gone = shell("report", "runs/run")
    assert gone.exit_code == 0, gone.output
    assert "task 'entailment': its rows are not in the report" in gone.stderr
    assert "nli.csv" in (shell.folder / "runs/run/report.html").read_text(encoding="utf8")
    again = shell("report", "runs/run", "tasks.entailment.train=data/elsewhere.csv")
    assert "not in the report" not in again.stderr
    # A run made in Python has no run.yaml.
    (shell.folder / "runs/run/run.yaml").unlink()
    bare = shell("report", "runs/run")
    assert bare.exit_code == 0
    assert "has no run.yaml, so its rows are not known; --file RUNFILE gives them" in bare.stderr
    page = (shell.folder / "runs/run/report.html").read_text(encoding="utf8")
    assert "the rows of this task are not known here" in page
    shutil.move(shell.folder / "data/elsewhere.csv", shell.folder / "data/nli.csv")
    given = shell("report", "runs/run", "--file", "run.yaml", "--task", "ground")
    assert given.stderr == ""


def test_wrong_words_are_answered(shell):
    nowhere = shell("report", "runs/nothing")
    assert nowhere.exit_code == 2
    assert "holds no run" in nowhere.stderr
    assert shell("train", "run.yaml", "trainer.max_steps=1").exit_code == 0
    for words, said in (
        (("--split", "tets"), "did you mean test"),
        (("--limit", "0"), "it is 1 or more"),
        (("--task", "captoin"), "did you mean caption"),
        (("--which", "worst"), "no 'worst' checkpoint"),
        (("--out", "data"), "is a folder"),
        (("--file", "nothing.yaml"), "nothing.yaml"),
    ):
        found = shell("report", "runs/run", *words)
        assert found.exit_code == 2, words
        assert said in found.stderr, (words, found.stderr)


def test_a_report_is_not_written_over_another_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("tasks: {}\n")
    with pytest.raises(ConfigError, match="is there and is no report"):
        report(tmp_path, out=path)
    assert path.read_text() == "tasks: {}\n"
