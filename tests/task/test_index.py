"""What is kept beside a large file is what reading it would say, and is never believed of another."""

import csv
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ofasys import DataError, LoadingError, Task
from ofasys.task.source import index, mapped, open_source, text_file
from ofasys.task.source.watch import Watch

ROWS = [{"text": f"row {'x' * (i % 7)} {i}\nß", "label": f"kind {i % 5}"} for i in range(300)]
LINE = "[TEXT:text] -> [CATEGORY:label]"


def write(path, rows=ROWS):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=64)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) + "\n" * (i % 9 == 0) for i, row in enumerate(rows)))
    else:
        with path.open("w", newline="", encoding="utf8") as file:
            writer = csv.DictWriter(file, ("text", "label"))
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    monkeypatch.setattr(index, "LEAST_BYTES", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def unread(monkeypatch):
    """Called: from now on no file may be read from end to end."""

    def forbid():
        def read(*_, **__):
            raise AssertionError("the file is read once more")

        for kind in (text_file.Jsonl, text_file.Csv):
            monkeypatch.setattr(kind, "_scan", read)
        monkeypatch.setattr("ofasys.task.survey.Survey.pieces", read)

    return forbid


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_a_second_start_reads_no_file_whole(tmp_path, unread, suffix):
    rows = ROWS if suffix != ".tsv" else [{"text": "a\tb".replace("\t", " "), "label": "c"}] * 3
    path = tmp_path / f"rows{suffix}"
    if suffix == ".tsv":
        path.write_text("text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in rows))
    else:
        write(path, rows)
    first = Task("one", LINE, path)
    labels, lengths = first.labels, first.lengths()
    unread()
    again = Task("another", LINE, path)
    assert again.labels == labels == Task("list", LINE, rows, closed_set=labels["label"]).labels
    assert again.lengths().tolist() == lengths.tolist() == [len(row["text"]) for row in rows]
    assert [again.source("train")[i] for i in range(len(rows))] == rows


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_the_places_are_mapped_and_name_the_same_lines(tmp_path, suffix):
    path = write(tmp_path / f"rows{suffix}")
    open_source(path)
    source = open_source(path)
    assert isinstance(source.starts.base, np.ndarray)
    assert not source.starts.flags.writeable
    assert [source._line(i) for i in (0, 1, 10, 299)] == [
        source._line(0) + sum(2 if suffix == ".csv" else 1 + (j % 9 == 0) for j in range(i)) for i in (0, 1, 10, 299)
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_another_file_of_the_same_size_and_time_is_read_anew(tmp_path, suffix):
    path = write(tmp_path / f"rows{suffix}", ROWS[:40])
    before, task = path.stat(), Task("one", LINE, path)
    assert task.labels["label"][0] == "kind 0"
    assert task.lengths() is not None
    write(path, [{**row, "label": row["label"].replace("kind", "sort")} for row in ROWS[:40]])
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Task("one", LINE, path).labels["label"][0] == "sort 0"


def test_a_file_that_has_grown_is_read_anew(tmp_path):
    path = write(tmp_path / "rows.jsonl")
    assert len(open_source(path)) == 300
    with path.open("a") as file:
        file.write('\n{"text": "new"}')
    assert open_source(path)[300] == {"text": "new"}


def test_what_is_damaged_is_made_anew(tmp_path):
    """Any byte of it changed, or any length of it cut: it is not believed."""
    watch = Watch(write(tmp_path / "rows.jsonl", ROWS[:5]))
    found = index.Found({"a": np.arange(5, dtype=np.uint32), "none": np.zeros(0)}, {"facts": ["ü"]})
    kept = index.keep(watch, "this", found)
    assert [kept.arrays[name].tolist() for name in ("a", "none")] == [[0, 1, 2, 3, 4], []]
    assert index.load(watch, "this").facts == {"facts": ["ü"]}
    assert index.load(watch, "that") is None
    path = tmp_path / index.FOLDER / "rows.jsonl.this"
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert index.load(watch, "this") is None, i
        path.write_bytes(whole[:i])
        assert index.load(watch, "this") is None, i
    path.write_bytes(whole)
    assert index.load(watch, "this").arrays["a"].tolist() == [0, 1, 2, 3, 4]


def test_where_nothing_can_be_written_beside_it(tmp_path, unread):
    path = write(tmp_path / "rows.jsonl")
    (tmp_path / index.FOLDER).write_text("in the way")
    assert Task("one", LINE, path).lengths() is not None
    assert {p.name.partition(".jsonl")[2] for p in (tmp_path / "cache/ofasys/index").iterdir()} > {".records-of-jsonl"}
    unread()
    assert Task("one", LINE, path).lengths() is not None


def test_where_nothing_can_be_written_at_all(tmp_path, monkeypatch):
    path = write(tmp_path / "rows.jsonl")
    (tmp_path / index.FOLDER).write_text("in the way")
    (tmp_path / "cache").write_text("in the way too")
    for _ in range(2):
        assert Task("one", LINE, path).lengths().tolist() == [len(row["text"]) for row in ROWS]


def test_what_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "rows.jsonl")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert len(open_source(path)) == 300
    assert [p.name for p in (tmp_path / index.FOLDER).iterdir()] == [".gitignore"]


def test_a_small_file_has_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "LEAST_BYTES", 2**24)
    assert Task("one", LINE, write(tmp_path / "rows.jsonl")).labels
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl"]


def test_what_is_wrong_with_a_file_is_said_each_time(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,b\nc\n")
    for _ in range(2):
        with pytest.raises(DataError, match=r"rows.csv, line 3: 1 cells; expected 2"):
            open_source(path)


def test_a_file_that_changes_before_it_is_looked_up(tmp_path):
    path = write(tmp_path / "rows.jsonl")
    task = Task("one", LINE, path)
    path.write_text('{"text": "other"}\n')
    with pytest.raises(LoadingError, match=r"rows.jsonl has changed since it was opened.*task 'one'"):
        task.lengths()


# --- columns of tables, and their blocks ------------------------------------------------------------------------------

ODD = [
    {"text": t, "label": k}
    for t, k in [("ab", "x"), (None, "y"), ("", None), ("né🦊", "x"), ("x" * 70, " "), ("a\0b", "z")] * 11
]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.binary()])
def test_lengths_and_labels_of_a_table_are_those_of_its_rows(tmp_path, suffix, kind):
    values = [row["text"] for row in ODD]
    if kind == pa.binary():  # texts that are not UTF-8 in a column of texts
        values = [None if value is None else value.encode() + b"\xff" for value in values]
    column = pa.array(values, kind)
    table = pa.table(
        {"text": column.view(pa.string()) if kind == pa.binary() else column, "label": [r["label"] for r in ODD]}
    )
    path = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path, row_group_size=7)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    task = Task("one", LINE, path)
    rows = [task.source("train")[i] for i in range(len(ODD))]
    assert [row["label"] for row in rows] == [row["label"] for row in ODD]
    listed = Task("one", LINE, rows)
    assert task.labels == listed.labels == {"label": ("x", "y", "z")}
    assert task.lengths().tolist() == listed.lengths().tolist()
    assert list(task.texts()) == list(listed.texts())


def test_every_third_row_of_a_table(tmp_path):
    path = write(tmp_path / "rows.parquet")
    for step in (1, 2, 3, 64, 65, 299, 1000):
        pieces = open_source(path).in_pieces(["label", "none", "text"], step)
        found = [[value for piece in column for value in piece] for column in zip(*pieces, strict=True)]
        chosen = ROWS[::step]
        assert found == [[row["label"] for row in chosen], [None] * len(chosen), [row["text"] for row in chosen]]


@pytest.mark.parametrize("full", [False, True])
def test_blocks_that_are_mapped_hold_the_same(tmp_path, monkeypatch, full):
    made = []
    monkeypatch.setattr(mapped, "LEAST_BYTES", 0)

    def file(real=mapped.tempfile.TemporaryFile, **options):
        made.append(options)
        if full:
            raise OSError(28, "No space left on device")
        return real(**options)

    monkeypatch.setattr(mapped.tempfile, "TemporaryFile", file)
    source = open_source(write(tmp_path / "rows.parquet"))
    assert [source[i] for i in range(300)] == ROWS
    assert made


def test_what_is_mapped_already_is_not_written_once_more(tmp_path, monkeypatch):
    """The copy of a stream, and Arrow's own file; one that is compressed is decoded, and then mapped."""
    made = []
    monkeypatch.setattr(mapped, "LEAST_BYTES", 0)
    real = mapped.tempfile.TemporaryFile
    monkeypatch.setattr(mapped.tempfile, "TemporaryFile", lambda **options: made.append(1) or real(**options))
    table = pa.Table.from_pylist(ROWS)

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(ROWS)

    def arrow(name, compression):
        with pa.ipc.new_file(
            tmp_path / name, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
        ) as to:
            to.write_table(table)
        return tmp_path / name

    for data, written in ((Stream(), 0), (arrow("plain.arrow", None), 0), (arrow("small.arrow", "lz4"), 1)):
        source = open_source(data)
        assert [source[i] for i in range(300)] == ROWS
        assert len(made) == written
