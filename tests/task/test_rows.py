"""What a row may hold, whose fault a bad one is, and where its paths start."""

import datetime
import io
import json
import sqlite3
import tarfile

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ofasys import ConfigError, DataError, Task
from ofasys.modality.audio.read_audio import read_audio
from ofasys.task.loader import Assembler, read
from ofasys.task.source import open_source
from ofasys.task.source.columns import values
from ofasys.task.ticket import Ticket
from ofasys.train.evaluate import evaluate_task, predict_task
from ofasys.types import NamedBytes
from tests.train import tiny

SAY = "say [TEXT:text] -> [TEXT:cap]"
KIND = "[TEXT:q] -> [CATEGORY:y]"
MANY = "[TEXT:q] -> ([TEXT:label,closed_set])*"


def grown(task):
    model = tiny.model()
    model.grow([(task.plan, task.labels)], task.texts)
    return model, model.bind(task.plan, task.labels)


def random():
    return np.random.Generator(np.random.PCG64(0))


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ([True, False], ("False", "True")),
        (np.array([True, False]), ("False", "True")),
        (torch.tensor([True, False]), ("False", "True")),
        ([1, 0, None], ("0", "1")),
        ([1.0, 0.0, float("nan")], ("0", "1")),
        (np.array([1, 0], dtype=np.uint8), ("0", "1")),
        (torch.tensor([1, 0]), ("0", "1")),
        (np.array(["b", "a"]), ("a", "b")),
        (["b", "half \ud83d", " ", 1.5, "a"], ("a", "b")),
        pytest.param([10**5000, "a", "b"], ("a", "b"), id="long"),
    ],
)
def test_labels_of_every_kind(given, labels):
    rows = [{"q": "a", "y": value} for value in given]
    task = Task("t", KIND, rows)
    assert task.labels == {"y": labels}
    _, program = grown(task)
    read_well = 0
    for i in range(len(rows)):
        try:
            read_well += read(task, program, "train", i, random())[1].run.tokens.size > 0
        except DataError as error:
            assert (error.column, error.sample) == ("y", f"train row {i}")  # noqa: PT017
    assert read_well == len(labels)


def test_bools_are_the_same_label_in_a_list_a_frame_and_a_file(tmp_path):
    rows = [{"q": "a", "y": True}, {"q": "b", "y": False}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for data in (rows, pandas.DataFrame(rows), tmp_path / "rows.parquet", tmp_path / "rows.jsonl"):
        task = Task("t", KIND, data, closed_set=[True, np.bool_(False)])
        assert task.labels == {"y": ("True", "False")}
        _, program = grown(task)
        assert read(task, program, "train", 0, random())[1].run.tokens.size


@pytest.mark.parametrize("given", [["x", ""], [[1]], [1.5], [b"x"], ["half \ud83d"], [None]])
def test_a_closed_set_of_what_is_no_label_is_refused(given):
    with pytest.raises(ConfigError, match="task 't': the closed set of 'y'"):
        Task("t", KIND, closed_set=given)
    assert Task("t", KIND, closed_set=np.array(["x", "z"])).closed_set == {"y": ("x", "z")}


def test_a_fraction_is_no_label_and_a_whole_number_is(tmp_path):
    task = Task("t", KIND, [{"q": "a", "y": 1.5}, {"q": "a", "y": 2.0}], closed_set=[2])
    _, program = grown(task)
    assert read(task, program, "train", 1, random())[1].run.tokens.size
    with pytest.raises(DataError, match=r"got float '1.5'.*expected a label: a str or an integer, True or False"):
        read(task, program, "train", 0, random())


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [list, tuple, np.array, lambda v: np.array(v, dtype=object), pandas.Series, pa.array, lambda v: pandas.array(v)],
)
def test_a_list_is_any_sequence(wrap):
    rows = [{"q": "ab", "a": None, "all": wrap(["big", "large"]), "label": wrap(["x", "y"])}]
    assert Task("t", MANY, rows).labels == {"label": ("x", "y")}
    task = Task("t", "[TEXT:q] -> [TEXT:a]", rows, rows, references={"a": "all"})
    assert {"big", "large"} <= set(task.texts())
    assert task.lengths().tolist() == [7]
    _, program = grown(task)
    assert task.learned(task.source("train")[0], random())["a"] in ("big", "large")
    assert task.right_answers(program, task.source("valid")[0]) == {"a": ["big", "large"]}
    assert predict_task(grown(task)[0], task, "valid", program)[1] == [{"a": ["big", "large"]}]


@pytest.mark.parametrize("values", [np.array([1, 0, 1]), torch.tensor([1, 0, 1]), [np.int8(1), 0, True]])
def test_a_repetition_of_numbers_of_any_kind(values):
    task = Task("t", MANY, [{"q": "a", "label": values}], closed_set=[0, 1, True])
    _, program = grown(task)
    assert read(task, program, "train", 0, random())[1].run.tokens.size


def test_a_repetition_is_no_text_and_no_dict():
    task = Task("t", MANY, [{"q": "a", "label": {"x": 1}}, {"q": "a", "label": "x"}], closed_set=["x"])
    _, program = grown(task)
    for i in range(2):
        with pytest.raises(DataError, match="is not a list") as caught:
            read(task, program, "train", i, random())
        assert (caught.value.column, caught.value.sample) == ("label", f"train row {i}")


# --- classes ----------------------------------------------------------------------------------------------------------


def test_classes_come_with_their_names(tmp_path):
    datasets = pytest.importorskip("datasets")
    kind = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features(
        {"q": datasets.Value("string"), "y": kind, "many": datasets.Sequence(kind), "in": {"y": [kind]}}
    )
    columns = {
        "q": ["a", "b", "c", "d"],
        "y": [1, 0, None, -1],
        "many": [[0, 1], [], None, [-1]],
        "in": [{"y": [1]}] * 4,
    }
    held = datasets.Dataset.from_dict(columns, features=features)
    held.to_parquet(tmp_path / "rows.parquet")
    held.save_to_disk(tmp_path / "saved")
    (saved,) = (tmp_path / "saved").glob("*.arrow")
    table = held.with_format("arrow")[:]
    for data in (held, held.with_format("numpy"), held.to_iterable_dataset(), tmp_path / "rows.parquet", saved, table):
        source = open_source(data)
        assert [source[i]["y"] for i in range(4)] == source.column("y") == ["pos", "neg", None, None]
        assert source.column("many") == [["neg", "pos"], [], None, [None]]
        assert source[0] == {"q": "a", "y": "pos", "many": ["neg", "pos"], "in": {"y": ["pos"]}}
        task = Task("t", KIND, data, closed_set=["neg", "pos"])
        assert read(task, grown(task)[1], "train", 0, random())[1].run.tokens.size
        assert Task("t", KIND, data).labels == {"y": ("neg", "pos")}
        with pytest.raises(ConfigError, match=r"closed set of 'y' is 0, 1, but the data names its classes: neg, pos"):
            Task("t", KIND, data, closed_set=["0", "1"])


def test_mixed_values_of_a_hub_data_set_are_read_from_json(tmp_path):
    datasets = pytest.importorskip("datasets", minversion="4.7")
    features = datasets.Features({"j": datasets.Json(), "many": datasets.List(datasets.Json())})
    rows = [{"j": {"a": 1}, "many": [{"b": [1]}, 2]}, {"j": None, "many": []}]
    held = datasets.Dataset.from_list(rows, features=features)
    held.to_parquet(tmp_path / "rows.parquet")
    for data in (held, held.to_iterable_dataset(), tmp_path / "rows.parquet"):
        source = open_source(data)
        assert [source[i] for i in range(2)] == rows


# --- bad rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [SAY, SAY.replace("cap]", "cap,closed_set]")])
def test_half_a_surrogate_pair_is_its_rows_fault(line):
    rows = [{"text": "a word", "cap": "fine"}, {"text": "a \ud83d", "cap": "fine"}, {"text": "b", "cap": "\udc00 x"}]
    task = Task("t", line, rows, rows, micro_batch_size=3, shuffle=False)
    assert not any("\ud83d" in text or "\udc00" in text for text in task.texts())
    model, program = grown(task)
    delivery = Assembler([task], {"t": [program]}, 0)[Ticket(0, "t", 0)]
    assert [bad.error.sample for bad in delivery.bad] == ["train row 1", "train row 2"]
    assert "half a surrogate pair, '\\ud83d', at character 2, is not Unicode text" in str(delivery.bad[0].error)
    with pytest.raises(DataError, match="valid row 1"):
        predict_task(model, task, "valid", program)


class Raises(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        if i == 1:
            raise RuntimeError("the disk is on fire")
        return {"text": "a word", "cap": "one two"[:3], "all": ["one"]}


@pytest.mark.parametrize("line", [SAY, SAY.replace("cap]", "cap,closed_set]")])
def test_what_a_reader_raises_is_its_rows_fault(line):
    task = Task("t", line, Raises(), Raises(), micro_batch_size=3, references={"cap": "all"})
    model, program = grown(task)
    (bad,) = Assembler([task], {"t": [program]}, 0)[Ticket(0, "t", 0)].bad
    assert "Raises of 3 rows raised RuntimeError: the disk is on fire (task 't', sample 1)" in str(bad.error)
    with pytest.raises(DataError, match="the disk is on fire"):
        predict_task(model, task, "valid", program)


def test_a_bad_reference_of_a_valid_row_names_it():
    rows = [{"q": "a", "y": "x", "all": ["x"]}, {"q": "a", "y": "x", "all": [["x"]]}]
    task = Task("t", KIND, rows, rows, references={"y": "all"}, closed_set=["x", "z"])
    model, program = grown(task)
    with pytest.raises(DataError, match=r"got list .*task 't', sample 'valid row 1'"):
        predict_task(model, task, "valid", program)


def test_a_metric_that_cannot_read_a_row_names_it():
    def picky(predictions, references):
        raise DataError("no", sample=1)

    rows = [{"text": "a", "cap": "b"}] * 6
    task = Task("t", SAY, rows, rows, metrics=[picky], generate={"max_length": 2})
    model, program = grown(task)
    with pytest.raises(DataError, match=r"no \(task 't', sample 'valid row 3'\)"):
        evaluate_task(model, task, "valid", program=program, limit=2)


# --- paths and names --------------------------------------------------------------------------------------------------


def test_paths_start_at_the_folder_of_the_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.csv").write_text("name,born\nAnn,1900\n")
    rows = [{"q": "who", "t": "tables/a.csv", "all": ["tables/a.csv"]}]
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]) + "\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for path in (tmp_path / "rows.jsonl", tmp_path / "rows.parquet"):
        task = Task("t", "[TEXT:q] -> [STRUCT:t]", path, path, references={"t": "all"}, generate={"max_length": 4})
        assert any("Ann" in text for text in task.texts())
        model, program = grown(task)
        assert predict_task(model, task, "valid", program)[1] == [{"t": [[{"name": "Ann", "born": 1900}]]}]


def test_a_database_in_references_starts_at_the_folder_of_the_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.executescript("create table t(a int)")
    connection.close()
    for true in ([["select a from t", "a.db"]], [{"sql": "select a from t", "database": "a.db"}]):
        row = {"db": "a.db", "q": "all?", "sql": "select a from t", "true": true}
        (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
        task = Task(
            "s",
            "[STRUCT:db,preprocess=database] [TEXT:q] -> [TEXT:sql]",
            tmp_path / "rows.jsonl",
            tmp_path / "rows.jsonl",
            metrics=["execution_accuracy"],
            references={"sql": "true"},
            generate={"max_length": 4},
        )
        model, program = grown(task)
        assert evaluate_task(model, task, "valid", program=program)["executable"] in (0.0, 1.0)


def test_bytes_keep_the_name_of_their_file():
    given = {"bytes": b"abc", "path": "a.g722"}
    for data in ([{"w": given}], pandas.DataFrame([{"w": given}]), pa.Table.from_pylist([{"w": given}])):
        found = open_source(data)[0]["w"]
        assert (found, type(found), found.path) == (b"abc", NamedBytes, "a.g722")
    assert type(open_source([{"w": {"bytes": b"abc", "path": None}}])[0]["w"]) is bytes
    assert open_source([{"w": {"bytes": None, "path": "a.png"}}])[0]["w"] == "a.png"


def test_sound_that_only_its_name_tells_is_read_from_rows_and_tars(tmp_path):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    container = av.open(file, "w", format="g722")
    stream = container.add_stream("g722", rate=16000)
    stream.layout = "mono"
    tone = (9000 * np.sin(np.arange(16000) / 6)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
    frame.sample_rate = 16000
    for packet in (*stream.encode(frame), *stream.encode(None)):
        container.mux(packet)
    container.close()
    with tarfile.open(tmp_path / "rows.tar", "w") as tar:
        for name, data in (("a.g722", file.getvalue()), ("a.y", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    rows = [{"g722": {"bytes": file.getvalue(), "path": "a.g722"}}]
    for data in (rows, pa.Table.from_pylist(rows), tmp_path / "rows.tar"):
        sound = read_audio(open_source(data)[0]["g722"], 16000)
        assert np.corrcoef(sound.samples[24:16000], tone[: len(sound.samples[24:16000])])[0, 1] > 0.9


def test_two_fields_of_one_name_in_a_tar_are_its_rows_fault(tmp_path):
    with tarfile.open(tmp_path / "rows.tar", "w") as tar:
        for name, data in (("a.json", b'{"q": 1, "q": 2}'), ("b.json", b'{"q": 1}')):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    source = open_source(tmp_path / "rows.tar")
    assert source[1]["q"] == 1
    with pytest.raises(DataError, match=r"'a.json' cannot be read: two fields are named 'q'"):
        source[0]


# --- the order of a file ----------------------------------------------------------------------------------------------


def test_the_order_of_the_rows_is_kept_where_it_is_asked_for():
    rows = [{"text": "x" * (1 + i * 7 % 5), "cap": "one"} for i in range(12)]
    task = Task("t", SAY, rows, micro_batch_size=4, shuffle=False)
    assert (task.buckets, task.lengths()) == (False, None)
    made = Assembler([task], {"t": [grown(task)[1]]}, 0)
    assert [row for k in range(3) for _, row in made[Ticket(0, "t", k)].rows] == list(range(12))
    assert Task("t", SAY, rows).buckets
    assert not Task("t", SAY, rows, buckets=False).buckets
    with pytest.raises(ConfigError, match="shuffle=False and buckets=True"):
        Task("t", SAY, rows, shuffle=False, buckets=True)


# --- frames -----------------------------------------------------------------------------------------------------------


def test_a_frame_of_polars_gives_what_it_holds():
    polars = pytest.importorskip("polars")
    made = object()
    frame = polars.DataFrame(
        {
            "q": ["é", None],
            "kind": polars.Series(["a", "b"], dtype=polars.Categorical),
            "pixels": polars.Series([[[1, 2]], [[3, 4]]], dtype=polars.Array(polars.UInt8, (1, 2))),
            "many": [[1, None], []],
            "large": polars.Series([2**100, None], dtype=polars.Int128),
            "own": polars.Series([made, None], dtype=polars.Object),
            "large_many": polars.Series([[2**100], None], dtype=polars.List(polars.Int128)),
        }
    )
    source = open_source(frame)
    assert source[0] == {"q": "é", "kind": "a", "pixels": [[1, 2]], "many": [1, None], "large": 2**100, "own": made} | {
        "large_many": [2**100]
    }
    assert source[1] == {"q": None, "kind": "b", "pixels": [[3, 4]], "many": [], "large": None, "own": None} | {
        "large_many": None
    }
    assert np.asarray(source[1]["pixels"]).dtype == np.uint8
    assert source.column("kind") == ["a", "b"]
    assert source.column("large_many") == [[2**100], None]


@pytest.mark.parametrize("kind", [pa.list_(pa.list_(pa.int8())), pa.large_list(pa.list_view(pa.float16()))], ids=str)
@pytest.mark.parametrize(
    "rows",
    [
        [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
        [[[1], []], [], [[2], [3, 4]]],
        [[[], []], [[], []]],
        [[[1, 2]], None, [[3, None]], [None]],
        [],
    ],
    ids=str,
)
def test_lists_of_lists_of_numbers_are_what_they_were(kind, rows):
    array = pa.array([[[9]], *rows], kind)[1:]
    assert values(array) == rows


def test_a_frame_of_pandas_gives_what_it_holds():
    frame = pandas.DataFrame(
        {
            "nullable": pandas.array([1, None], dtype="Int64"),
            "arrow": pandas.Series([[1, 2], None], dtype=pandas.ArrowDtype(pa.list_(pa.int16()))),
            "kind": pandas.Categorical(["a", None]),
            "when": pandas.to_datetime(["2020-01-02", None]),
            "nested": [pandas.NA, [1, pandas.NA, np.int8(3)]],
            "list": [np.array(["x", "y"], dtype=object), np.array([1, 2], dtype=np.int16)],
            "true": [np.True_, None],
        }
    ).set_axis([7, 7])  # an index is no column, and says nothing of the order
    source = open_source(frame)
    day = datetime.datetime(2020, 1, 2)
    assert source[0] == {
        "nullable": 1, "arrow": [1, 2], "kind": "a", "when": day, "nested": None, "list": ["x", "y"], "true": True,
    }  # fmt: skip
    assert source[1] == {
        "nullable": None, "arrow": None, "kind": None, "when": None, "nested": [1, None, 3], "list": [1, 2],
        "true": None,
    }  # fmt: skip
    assert [type(source[0][name]) for name in ("nullable", "when", "true")] == [int, datetime.datetime, bool]
    assert [np.asarray(source[i][name]).dtype for i, name in ((0, "arrow"), (1, "list"))] == [np.int16, np.int16]
    assert source.column("when") == [day, None]
