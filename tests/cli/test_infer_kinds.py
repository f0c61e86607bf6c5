"""`ofasys infer` of values that are no text: as JSON, in files, and the same whatever the batch size."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ofasys import ConfigError, OFASys, Task, plan
from ofasys.cli.infer import Columns
from ofasys.language import Instruction
from ofasys.modality import BUILT_IN, lexicon
from tests.hub import kinds
from tests.train import tiny

pytestmark = pytest.mark.slow

COUNTS = ["one", "one", "one"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model, and three equal rows."""
    folder = tmp_path_factory.mktemp("kinds")
    kinds.model().save_pretrained(folder / "model")
    (folder / "rows.jsonl").write_text("".join(json.dumps({"t": text, "u": text}) + "\n" for text in COUNTS))
    return folder


@pytest.fixture
def infer(shell, saved):
    return lambda name, *words: shell.ok("infer", str(saved / "model"), kinds.LINES[name], *words)


@pytest.mark.parametrize(
    ("name", "more", "column"), [("say", (), "wav"), ("match", ("u=one",), "t"), ("move", ("--search", "steps=2"), "m")]
)
def test_values_as_json(infer, saved, tmp_path, name, more, column):
    assert column in json.loads(infer(name, "t=one", *more, "--json"))
    rows = tmp_path / "y.jsonl"
    infer(name, f"@{saved / 'rows.jsonl'}", *more, "--out", str(rows))
    assert [column in json.loads(line) for line in rows.read_text().splitlines()] == [True] * 3


def test_what_it_is_computed_in(infer, saved, shell):
    found = [infer("write", "t=one", "--max-length", "6", "--precision", name) for name in ("float32", "auto")]
    assert found[0] == found[1]
    infer("write", "t=one", "--max-length", "6", "--precision", "bfloat16")
    told = shell.wrong("infer", str(saved / "model"), kinds.LINES["write"], "t=one", "--precision", "float31")
    assert "precision is 'float31'" in told


@pytest.mark.parametrize("name", ["write", "move"])
def test_answers_are_the_same_whatever_the_batch_size(infer, saved, name):
    options = {"write": ("--search", "sampling=true", "--max-length", "6"), "move": ("--search", "steps=2")}[name]
    found = [
        infer(name, f"@{saved / 'rows.jsonl'}", *options, "--json", "--batch-size", size).splitlines()
        for size in ("1", "2", "8")
    ]
    column = {"write": "u", "move": "m"}[name]
    if name == "move":
        motions = np.array([[json.loads(line)[column]["values"] for line in lines] for lines in found])
        np.testing.assert_allclose(motions[1:, ..., :3], motions[:1, ..., :3].repeat(2, 0), atol=1e-2)  # places
        assert np.abs(motions[0, 0] - motions[0, 1]).max() > 1  # and rotations
    else:
        assert found[0] == found[1] == found[2]
        assert len(set(found[0])) > 1


def test_a_bad_row_is_named_by_its_number_in_the_file(shell, saved, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"t": "one"}\n{"t": "one"}\n{"t": null}\n')
    for size in ("1", "2", "8"):
        done = shell(
            "infer", str(saved / "model"), kinds.LINES["write"], f"@{tmp_path / 'bad.jsonl'}", "--batch-size", size
        )
        assert done.exit_code == 2
        assert "row 2 of" in done.stderr


def test_a_negative_prompt(infer, shell, saved):
    guided = ("t=one", "--search", "steps=2", "--search", "guidance_weight=2", "--json")
    one, two, three = (infer("move", *guided, "--negative-prompt", p) for p in ("two", "three", '{"t": "two"}'))
    assert one == three != two
    plain = (str(saved / "model"), kinds.LINES["move"], "t=one", "--negative-prompt")
    assert "guidance_weight is 1" in shell.wrong("infer", *plain, "two")
    assert "is not JSON" in shell.wrong("infer", *plain, "{two")


def test_a_sound_in_a_file(infer, tmp_path):
    infer("say", "t=one", "--out", str(tmp_path / "a.wav"))
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"


def test_a_path_starts_at_the_rows_in_a_file_and_where_we_are_in_a_word(shell, tmp_path, monkeypatch):
    line = "[STRUCT:t] [TEXT:q] -> [TEXT:a]"
    task = Task("t", line, train=[{"t": [{"x": 1}], "q": "what", "a": "one"}])
    model = tiny.model()
    model.grow([(task.plan, task.labels)], task.texts)
    OFASys(model).save_pretrained(tmp_path / "model")
    (tmp_path / "data" / "there.csv").write_text("x\n1\n")
    (tmp_path / "here.csv").write_text("x\n1\n")
    (tmp_path / "data" / "rows.jsonl").write_text('{"t": "there.csv", "q": "what"}\n' * 2)
    (tmp_path / "data" / "asked.jsonl").write_text('{"q": "what"}\n')
    monkeypatch.chdir(tmp_path)
    for words in (["@data/rows.jsonl"], ["@data/asked.jsonl", "t=here.csv"], ["t=here.csv", "q=what"]):
        done = shell("infer", "model", line, *words, "--max-length", "3")
        assert done.exit_code == 0, done.stderr
    assert "there.csv'" in shell.wrong("infer", "model", line, "@data/asked.jsonl", "t=there.csv")


@pytest.mark.parametrize("words", [["wat=b"], ["b"]])
def test_what_a_row_may_lack_is_told_as_it_is_written(words):
    sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
    from patterns import CHOICE, MAYBE

    registry = BUILT_IN.with_(CHOICE, MAYBE)
    line = Instruction("{[TEXT:a]|[NUMBER:n]} [TEXT:q] [TEXT:b]? -> [TEXT:c]", lexicon(registry))
    columns = Columns(line, plan(line, modalities=registry))
    assert columns.row(["q=what", "n=3"]) == {"q": "what", "n": "3"}
    said = r"needs q=\.\.\. columns of \{\[TEXT:a\]\|\[NUMBER:n\]\} columns of \[TEXT:b\]\?"
    with pytest.raises(ConfigError, match=said):
        columns.row(words)
