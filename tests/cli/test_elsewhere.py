"""Run files whose rows are elsewhere: URLs and queries are read, checked and written back as they stand."""

import sqlite3

import pytest
import yaml

from ofasys.cli.runfile import read_run, resolved
from ofasys.errors import ConfigError

pytest.importorskip("sqlalchemy")
fsspec = pytest.importorskip("fsspec")

RUN = """
tasks:
  twice:
    instruction: "say [TEXT:word] twice -> [TEXT:twice]"
    train:
      sql: SELECT word, twice FROM words ORDER BY word
      url: sqlite:///%s
    valid: memory://words/valid.csv
model: tiny
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect(tmp_path / "words.db") as database:
        database.execute("CREATE TABLE words (word TEXT, twice TEXT)")
        database.executemany("INSERT INTO words VALUES (?, ?)", [("a", "a a"), ("b", "b b")])
    fsspec.filesystem("memory").pipe("/words/valid.csv", b"word,twice\nc,c c\n")
    path = tmp_path / "run.yaml"
    path.write_text(RUN % (tmp_path / "words.db"))
    return path


def test_rows_that_are_elsewhere(run):
    (task,) = read_run(run).tasks()
    assert task.source("train")[1] == {"word": "b", "twice": "b b"}
    assert task.source("valid")[0] == {"word": "c", "twice": "c c"}


def test_they_are_written_back_as_they_stand(run, tmp_path):
    file = read_run(run)
    written = yaml.safe_load(resolved(file, file.tasks(), file.model(), file.trainer(), tmp_path))["tasks"]["twice"]
    given = yaml.safe_load(run.read_text())["tasks"]["twice"]
    assert [written[split] for split in ("train", "valid")] == [given[split] for split in ("train", "valid")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("url: sqlite", "uri: sqlite", r"run.yaml.*train of task 'twice' is .*; expected a path or a URL.* sql: QUERY"),
        ("ORDER BY word", "", r"run.yaml.*the query has no ORDER BY"),
        ("memory://", "nosuch://", r"run.yaml.*nosuch://words/valid.csv is no URL that fsspec knows"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(run, old, new, message):
    run.write_text(run.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        read_run(run).tasks()
