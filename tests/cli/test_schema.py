"""`ofasys schema` says of run files what `ofasys train --check` says."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ofasys.cli.document import Place, parsed
from ofasys.cli.jsonschema import run_schema
from ofasys.cli.schema import fields

DOCS = Path(__file__).parents[2] / "docs"


def told(text):
    root = json.loads(json.dumps(run_schema()))
    document = parsed(text, Place("run.yaml", Path.cwd()))
    Draft202012Validator.check_schema(root)
    return [error.message for error in Draft202012Validator(root).iter_errors(document.values)]


def page_files(page):
    fences = re.findall(r"^```yaml\n(# \S+\.yaml\n.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return [pytest.param(text, id=f"{page}:{text.split()[1]}") for text in fences]


@pytest.mark.parametrize("text", page_files("run-files.md"))
def test_run_files_of_the_docs(text):
    assert bool(told(text)) == text.startswith("# wrong.yaml")


LINE = "tasks: {a: {instruction: '-> [TEXT:t]'}}\n"


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        LINE + "model: tiny\n",
        LINE + "model: {from: runs/first, which: last}\n",
        LINE + "model: {config: {width: 32, norm: post}}\n",
        LINE + "trainer: {betas: [0.9, 0.98], out: null, eval_samples: null}\n",
        "tasks: {a: {metrics: accuracy, closed_set: [1, b], generate: {beam_size: 2, steps: 3}}, b: null}\n",
        "tasks: [{name: a, instruction: ['-> [TEXT:t]'], metrics: [bleu, cider]}]\ninclude: other.yaml\n",
    ],
)
def test_what_is_right(text):
    assert told(text) == []


@pytest.mark.parametrize(
    "text",
    [
        LINE + "modle: tiny\n",
        LINE + "model: tny\n",
        LINE + "model: {from: 3}\n",
        LINE + "model: {config: {widht: 32}}\n",
        LINE + "trainer: {max_steps: 0}\n",
        LINE + "trainer: {max_steps: '10'}\n",
        LINE + "trainer: {decay: cos}\n",
        LINE + "trainer: {lr: 0}\n",
        "tasks: {a: {metrics: acuracy}}\n",
        "tasks: {a: {batch_size: 2}}\n",
        "tasks: {a: {shuffle: no}}\n",
        "tasks: {a: {generate: {num_beams: 2}}}\n",
    ],
)
def test_what_is_wrong(text):
    assert told(text)


def test_every_field_is_there_and_most_are_described():
    root = run_schema()
    for section in ("task", "model", "trainer"):
        found = root["$defs"][section]["properties"]
        more = ["from", "which"] if section == "model" else []
        assert list(found) == fields(section) + more
        assert sum("description" in kind for kind in found.values()) > 0.7 * len(found)


def test_the_command_prints_it_or_writes_it(shell, tmp_path):
    assert json.loads(shell.ok("schema")) == json.loads(json.dumps(run_schema()))
    done = shell("schema", "--out", str(tmp_path / "a" / "run.schema.json"))
    assert done.exit_code == 0
    assert "# yaml-language-server: $schema=" in done.stderr
    assert json.loads((tmp_path / "a" / "run.schema.json").read_text())["title"] == "A run file of ofasys"
    assert "is a folder" in shell.wrong("schema", "--out", str(tmp_path))
    before = (shell.folder / "run.yaml").read_text()
    assert "--out run.yaml is there and is no schema" in shell.wrong("schema", "--out", "run.yaml")
    assert (shell.folder / "run.yaml").read_text() == before
