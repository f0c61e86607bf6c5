"""Rows of a Lance data set: those that were written, read by a child of each process that asks."""

import datetime
import os
import shutil
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.feather as feather
import pytest

from ofasys import ConfigError, DataError, LoadingError, Task, Trainer
from ofasys.task.source import fingerprint, lance_dataset, open_source
from tests.train import tiny

pytestmark = pytest.mark.skipif(
    lance_dataset.find_spec("lance") is None, reason="pylance, the library of Lance, is not installed"
)

WRITES = """
import sys, lance, pyarrow.feather as feather
for mode, path in zip(sys.argv[1::2], sys.argv[2::2]):
    how = {"mode": mode, "max_rows_per_file": 7, "data_storage_version": "2.2"}
    lance.write_dataset(feather.read_table(path), f"{path}.lance", **how)
"""
BLOB = pa.field("picture", pa.large_binary(), metadata={"lance-encoding:blob": "true"})
KINDS = pa.table(
    {
        "view": pa.array(["a", None, "c"], pa.string_view()),
        "half": pa.array([0.5, None, 2.0], pa.float16()),
        "dictionary": pa.array(["a", "b", None]).dictionary_encode(),
        "wide": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "fixed": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int16(), 2)),
    }
)
PICTURES = pa.table(
    {"id": range(20), "picture": [None if i == 4 else b"x" * i for i in range(20)]},
    schema=pa.schema([pa.field("id", pa.int64()), BLOB]),
)
ROWS = [
    {
        "id": i,
        "text": None if i % 5 == 0 else f"wörd {i}",
        "label": f"k{i % 3}",
        "data": bytes([i]) * i,
        "box": [float(i), 2.0],
        "more": {"when": datetime.date(2020, 1, 1 + i % 28), "deep": [{"a": i}, None]},
        "gone": None,
    }
    for i in range(40)
]


def write(folder, mode="create", **tables):
    """By a process of its own: in this one, which forks, Lance is never used."""
    words = []
    for name, rows in tables.items():
        feather.write_feather(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), folder / name)
        words += [mode, folder / name]
    subprocess.run([sys.executable, "-c", WRITES, *words], check=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of data sets, only to be read."""
    place = tmp_path_factory.mktemp("lance")
    empty = pa.table({"a": pa.array([], pa.int64())})
    write(place, rows=ROWS, kinds=KINDS, pictures=PICTURES, some=ROWS[:10], empty=empty, labels=tiny.label_rows())
    return place


@pytest.fixture(scope="module")
def source(folder):
    return open_source(folder / "rows.lance")


def test_rows_are_those_that_were_written(source):
    assert "lance" not in sys.modules
    assert len(source) == 40
    assert [source[i] for i in (39, 0, 7, 6)] == [ROWS[i] for i in (39, 0, 7, 6)]
    assert source.describe() == "Lance data set rows.lance, version 1"
    assert source.column("label") == [row["label"] for row in ROWS]
    assert source.column("data") is None
    with pytest.raises(DataError, match=r"has no column 'lable'; did you mean label\?"):
        source.column("lable")
    with pytest.raises(IndexError):
        source[40]


@pytest.mark.parametrize("step", [1, 3])
def test_several_columns_in_one_pass(source, step, monkeypatch):
    monkeypatch.setattr(lance_dataset, "PIECE_ROWS", 9)
    pieces = list(source.in_pieces(["text", "none", "more"], step))
    assert max(len(piece[0]) for piece in pieces) == 9
    assert list(source.in_pieces(["none"], 20)) == [[[None, None]]]
    found = [row for piece in pieces for row in zip(*piece, strict=True)]
    assert found == [(row["text"], None, row["more"]) for row in ROWS[::step]]


def test_a_task_learns_the_same_as_from_a_list(source):
    task, listed = (Task("mood", "[TEXT:text] -> [CATEGORY:label]", given) for given in (source, ROWS))
    assert task.labels == listed.labels
    assert task.lengths().tolist() == listed.lengths().tolist()


def test_it_stays_the_version_that_was_opened(folder, tmp_path):
    source = open_source(folder / "some.lance")
    told = fingerprint(source)
    assert told == fingerprint(open_source(shutil.copytree(folder / "some.lance", tmp_path / "copy.lance")))
    write(folder, "append", some=ROWS[10:])
    source.child = None  # as in another process
    assert (len(source), source[9], source.column("id")) == (10, ROWS[9], list(range(10)))
    later = open_source(folder / "some.lance")
    assert (len(later), later[39]) == (40, ROWS[39])
    assert fingerprint(source) == told != fingerprint(later)


def test_files_that_are_gone_end_the_run(folder, tmp_path):
    source = open_source(shutil.copytree(folder / "rows.lance", tmp_path / "rows.lance"))
    shutil.rmtree(tmp_path / "rows.lance" / "data")
    with pytest.raises(LoadingError, match="its files are gone since it was opened"):
        source[3]


def test_blobs_come_as_bytes_though_lance_gives_where_they_lie(folder):
    source = open_source(folder / "pictures.lance")
    assert [source[i]["picture"] for i in (3, 4, 19)] == [b"xxx", None, b"x" * 19]
    assert list(source[3]) == ["id", "picture"]
    assert source.column("picture") is None


def test_types_that_lance_changes_keep_their_values(folder):
    source = open_source(folder / "kinds.lance")
    assert [source[i] for i in range(3)] == KINDS.to_pylist()


def test_an_empty_one_and_a_broken_one(folder, tmp_path):
    with pytest.raises(DataError, match=r"the data set is empty: Lance data set empty\.lance"):
        open_source(folder / "empty.lance")
    (tmp_path / "torn" / "_versions").mkdir(parents=True)
    (tmp_path / "torn" / "_versions" / "1.manifest").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"torn cannot be read: .*expected a data set that Lance wrote"):
        open_source(tmp_path / "torn")


def test_the_library_is_named_where_it_is_missing(folder, monkeypatch):
    monkeypatch.setattr(lance_dataset, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "ofasys\[lance\]"'):
        open_source(folder / "rows.lance")


def test_where_lance_dies_its_row_is_named_and_the_next_is_read(source):
    assert source[1] == ROWS[1]
    process = source.child.process
    os.kill(process.pid, signal.SIGSEGV)
    with pytest.raises(DataError, match=r"Lance died reading row 2 \(SIGSEGV\)"):
        source[2]
    assert source[3] == ROWS[3]


def test_its_process_ends_with_it(folder):
    source = open_source(folder / "rows.lance")
    process = source.child.process
    del source
    assert process.returncode == 0


def trained(data, workers):
    model = tiny.model()
    Trainer(max_steps=4, workers=workers, live=False, seed=3).fit(model=model, tasks=tiny.label_task(train=data))
    return tiny.weights(model)


@pytest.mark.slow
def test_workers_read_it_and_learn_the_same_as_from_a_list(folder):
    known = trained(tiny.label_rows(), 0)
    assert tiny.same_weights(known, trained(folder / "labels.lance", 0))
    assert tiny.same_weights(known, trained(folder / "labels.lance", 2))
