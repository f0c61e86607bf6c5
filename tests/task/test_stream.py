"""Streams (IterableDataset): copied to a file once, then read by number like any table."""

import datetime
import gc
import logging
import os
import pickle
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from ofasys import ConfigError, DataError, Task
from ofasys.task.source import open_source, stream

pytestmark = pytest.mark.slow

data = pytest.importorskip("torch.utils.data")

ROWS = [{"text": f"row {i}", "label": "even" if i % 2 == 0 else None, "n": i} for i in range(25)]


class Rows(data.IterableDataset):
    """A stream of the rows; of an exception, it is raised there."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        for row in self.rows:
            if isinstance(row, Exception):
                raise row
            yield row


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where streams are copied to."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(stream.tempfile, "tempdir", str(place))
    return place


@pytest.mark.parametrize("rows_a_block", [1000, 4, 1])
def test_a_stream_is_read_by_number(rows_a_block, monkeypatch, caplog):
    monkeypatch.setattr(stream, "BLOCK_ROWS", rows_a_block)
    with caplog.at_level(logging.WARNING, "ofasys"):
        source = open_source(Rows(ROWS))
    assert len(source) == 25
    assert [source[i] for i in (24, 0, np.int64(13))] == [ROWS[24], ROWS[0], ROWS[13]]
    assert [source[i] for i in range(25)] == ROWS
    assert source.column("n") == list(range(25))
    assert source.column("label") == [row["label"] for row in ROWS]
    assert (source.describe(), source.root) == ("Rows of 25 rows", None)
    assert not hasattr(source, "path")  # a run file must not name what is gone tomorrow
    assert pickle.loads(pickle.dumps(source))[7] == ROWS[7]
    (said,) = caplog.messages
    assert said.startswith("reading Rows (at most 1,000,000 rows) into ")
    assert "write it to a .parquet file and give the path" in said
    with pytest.raises(DataError, match=r"has no column 'txt'; did you mean text\? its columns: label, n, text"):
        source.column("txt")


def test_a_stream_of_datasets_gives_images_undecoded(tmp_path):
    datasets = pytest.importorskip("datasets")
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    whole = datasets.Dataset.from_dict({"img": [str(tmp_path / "a.png")] * 2, "cap": ["x", None]})
    whole = whole.cast_column("img", datasets.Image())
    for given in (whole.to_iterable_dataset(), whole.to_iterable_dataset().with_format("torch")):
        source = open_source(given)
        assert source[1] == {"img": str(tmp_path / "a.png"), "cap": None}
        assert source.column("cap") == ["x", None]
        assert source.describe() == "datasets.IterableDataset of 2 rows"
    mapped = whole.to_iterable_dataset().select_columns(["cap"]).map(lambda row: {"loud": str(row["cap"]).upper()})
    assert open_source(mapped)[0] == {"cap": "x", "loud": "X"}


def test_rows_may_differ_in_columns_and_a_column_in_kind():
    rows = [{"a": 1}, {"b": "x"}, {"a": "one", "c": b"bytes"}, {"a": [1, 2]}, {"a": None}, {"a": 2.5}]
    source = open_source(Rows(rows))
    found = [{name: v for name, v in source[i].items() if v is not None} for i in range(6)]
    assert found == [{name: v for name, v in row.items() if v is not None} for row in rows]
    assert source.column("a") == [1, None, "one", [1, 2], None, 2.5]
    assert source.column("c") is None


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 2, 3)),
        np.arange(3, dtype=np.int16),
        Path("a.png"),
        [([0, 0, 1, 1], "cat")],
        (1, "two"),
        2**70,
        [1, 2.5, "x", None, True],
        {"a": 1, "b": [{"c": 1}, {"d": 2}]},
        "half \ud83d",
        True,
        2,
        pytest.param(10**5000, id="long"),
        {1: "one", "\0": [b"x", bytearray(b"y")]},
        [
            datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC),
            datetime.date(1, 1, 1),
            datetime.time(1),
            Decimal("1.50"),
        ],
        [datetime.timedelta(-1, 5), UUID(int=7), 1j],
        np.datetime64(1, "ns"),
        torch.arange(6).reshape(2, 3),
        torch.zeros(0, 2),
    ],
)
def test_what_a_list_may_hold_a_stream_may_hold(value):
    rows = [*({"img": 1.5, "n": i} for i in range(7)), {"img": value, "n": 7}, {"n": 8}, {"img": None, "n": 9}]
    source = open_source(Rows(rows))
    found = source[7]["img"]
    assert type(found) is type(value)
    assert np.array_equal(found, value) if hasattr(value, "shape") else found == value
    assert getattr(found, "dtype", None) == getattr(value, "dtype", None)
    assert [source[i] for i in (0, 6, 8, 9)] == [rows[i] for i in (0, 6, 8, 9)]
    assert (type(source[0]["img"]), source.column("n")) == (float, list(range(10)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "a object that"),
        (Image.new("RGB", (2, 2)), "a Image that"),
        ([{"picture": Image.new("RGB", (2, 2))}], "a list that"),
        (np.zeros(2, dtype="i4,f4"), "a ndarray that"),
        (lambda: 1, "a function that"),
    ],
)
def test_a_value_that_has_no_written_form_is_named(value, message, folder):
    rows = [*({"img": b"x", "n": i} for i in range(7)), {"img": value, "n": 7}, {"img": b"y", "n": 8}]
    message = rf"a row of Rows holds {message} cannot be written to a file .*; expected texts, numbers"
    with pytest.raises(DataError, match=message) as caught:
        open_source(Rows(rows))
    assert (caught.value.column, caught.value.sample) == ("img", 7)
    gc.collect()
    del caught


def test_a_stream_keeps_no_more_than_it_was_given():
    """What one row lacks is not filled in, a list that the stream uses again is not the one of the row before."""
    again = []

    def rows():
        for i in range(3):
            again.append(i)
            yield {"again": again, f"own{i}": None}

    source = open_source(Rows(rows()))
    assert [source[i] for i in range(3)] == [{"again": list(range(i + 1)), f"own{i}": None} for i in range(3)]
    with pytest.raises(DataError, match=r"a column of Rows is named 1, a int .*sample 0\); expected a text"):
        open_source(Rows([{1: "x"}]))


def test_a_row_that_is_no_dict_is_named():
    for row in (("a", 1), {}):
        with pytest.raises(DataError, match=r"a row of Rows is a .*\(sample 1\); expected a dict {column: value}"):
            open_source(Rows([{"a": 1}, row]))


def test_what_the_stream_raises_is_said():
    with pytest.raises(DataError, match=r"Rows raised OSError after 3 rows: the line went dead") as caught:
        open_source(Rows([*ROWS[:3], OSError("the line went dead")]))
    assert isinstance(caught.value.__cause__, OSError)


def test_an_empty_stream_says_so():
    with pytest.raises(DataError, match="the data set is empty: Rows of 0 rows; expected at least one row"):
        open_source(Rows([]))


def test_a_stream_is_bounded(monkeypatch):
    def endless():
        i = 0
        while True:
            yield {"n": i}
            i += 1

    monkeypatch.setattr(stream, "MOST_ROWS", 30)
    with pytest.raises(ConfigError, match=r"Rows gives more than 30 rows, or has no end; .*max_rows=N.*\.parquet"):
        open_source(Rows(endless()))
    assert len(open_source(Rows(ROWS))) == 25
    assert len(open_source(Rows({"n": i} for i in range(30)))) == 30
    assert open_source(Rows(endless()), max_rows=40).column("n") == list(range(40))
    assert len(open_source(Rows(ROWS), max_rows=40)) == 25
    task = Task("t", "[TEXT:text] -> [TEXT:label]").add_dataset(Rows(ROWS), "valid", max_rows=5)
    assert repr(task).endswith("valid: 5)")
    with pytest.raises(ConfigError, match="max_rows is 0; it is at least 1"):
        open_source(Rows(ROWS), max_rows=0)
    with pytest.raises(ConfigError, match="max_rows=3 is for a stream; of a list give the rows that are meant"):
        open_source(ROWS, max_rows=3)


def test_a_stream_is_taken_no_further_than_asked():
    taken = []

    def counted():
        for row in ROWS:
            taken.append(row)
            yield row

    open_source(Rows(counted()), max_rows=4)
    assert len(taken) == 4


def test_blocks_are_written_when_they_are_heavy(monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_BYTES", 2500)
    rows = [{"i": i, "image": {"bytes": bytes(1000), "path": None}, "texts": ["x" * 10]} for i in range(10)]
    source = open_source(Rows(rows))
    assert np.diff(source.starts).max() <= 3
    assert [source[i]["i"] for i in (9, 0, 5)] == [9, 0, 5]
    assert source[3]["image"] == bytes(1000)
    assert source.column("image") is None


@pytest.mark.slow
def test_the_copy_goes_when_nobody_reads_it(folder):
    source = open_source(Rows(ROWS))
    (copy,) = folder.iterdir()
    assert source.file.parent == copy
    child = os.fork()
    if child == 0:  # a worker that ends takes nothing with it
        del source
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert copy.exists()
    other = pickle.loads(pickle.dumps(source))
    del other
    gc.collect()
    assert copy.exists()
    del source
    gc.collect()
    assert list(folder.iterdir()) == []


def test_a_failed_copy_leaves_nothing(folder):
    with pytest.raises(DataError):
        open_source(Rows([{"a": 1}, 3]))
    gc.collect()
    assert list(folder.iterdir()) == []


def test_a_full_disk_says_what_would_help(monkeypatch, folder):
    def full(file, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stream, "_append", full)
    with pytest.raises(
        DataError, match=r"Rows cannot be copied to a file: No space left on device, .*TMPDIR.*max_rows"
    ):
        open_source(Rows(ROWS))
    monkeypatch.setattr(stream.tempfile, "tempdir", str(folder / "absent"))
    with pytest.raises(DataError, match=r"Rows cannot be copied to a file: No such file or directory, after 0 rows"):
        open_source(Rows(ROWS))


def test_a_copy_is_a_table_of_arrow(folder):
    source = open_source(Rows(ROWS))
    with pa.OSFile(str(source.file)) as file:
        assert pa.ipc.open_stream(file).read_all().to_pylist() == ROWS
