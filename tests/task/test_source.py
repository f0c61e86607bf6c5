import json
import math
import multiprocessing
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from ofasys.errors import ConfigError, DataError
from ofasys.task.source import Source, blocks, open_source
from tests.map_style import MapStyle

ROWS = [{"text": f"row {i}", "label": "even" if i % 2 == 0 else None, "n": str(i)} for i in range(25)]


def write(path, rows):
    """The rows in the format the suffix names."""
    table = pa.Table.from_pylist(rows)
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix in (".csv", ".tsv"):
        mark = "," if path.suffix == ".csv" else "\t"
        lines = [mark.join(rows[0])] + [mark.join(value or "" for value in row.values()) for row in rows]
        path.write_text("\r\n".join(lines) + "\r\n")
    elif path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=4)
    elif path.suffix == ".feather":
        feather.write_feather(table, path, chunksize=4)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=4)
    return path


SUFFIXES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_every_kind_give_the_same_rows(tmp_path, suffix):
    path = write(tmp_path / f"rows{suffix}", ROWS)
    source = open_source(path)
    assert isinstance(source, Source)
    assert source.describe() == path.name
    assert source.root == tmp_path
    assert [source[i] for i in range(len(source))] == ROWS
    assert [source[i] for i in (24, 0, 13)] == [ROWS[24], ROWS[0], ROWS[13]]
    assert source.column("text") == [row["text"] for row in ROWS]
    assert source.column("label") == [row["label"] for row in ROWS]
    with pytest.raises(DataError, match=r"has no column 'txt'; did you mean text\? its columns: label, n, text"):
        source.column("txt")
    with pytest.raises(IndexError, match="rows 0 to 24"):
        source[25]
    with pytest.raises(IndexError):
        source[-1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_source_travels_to_another_process_without_its_file(tmp_path, suffix):
    source = open_source(str(write(tmp_path / f"rows{suffix}", ROWS)))
    assert source[np.int64(3)] == ROWS[3]
    copy = pickle.loads(pickle.dumps(source))
    assert copy[3] == ROWS[3]
    assert copy[20] == ROWS[20]
    assert copy.column("n") == source.column("n")


def _rows_read(source, queue):
    queue.put([source[i] for i in range(len(source))])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".jsonl"])
def test_a_forked_process_reads_on_its_own(tmp_path, suffix):
    source = open_source(write(tmp_path / f"rows{suffix}", ROWS))
    source[0]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_rows_read, args=(source, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=30) for _ in workers] == [ROWS, ROWS]
    for worker in workers:
        worker.join()


def test_rows_in_memory():
    for data in (ROWS, tuple(ROWS), MapStyle(ROWS)):
        source = open_source(data)
        assert len(source) == 25
        assert source[7] == ROWS[7]
        assert source.root is None
        assert "of 25 rows" in source.describe()
    assert open_source(ROWS).column("n") == [str(i) for i in range(25)]
    assert open_source(MapStyle(ROWS)).column("n") is None
    assert open_source(pa.Table.from_pylist(ROWS))[7] == ROWS[7]
    assert open_source(open_source(ROWS))[7] == ROWS[7]
    row = open_source(ROWS)[0]
    row["text"] = "changed"
    assert ROWS[0]["text"] == "row 0"


def test_columns_need_not_be_in_every_row():
    source = open_source([{"a": 1}, {"b": 2}])
    assert source.column("b") == [None, 2]


def test_a_missing_value_is_none(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = [{"a": math.nan, "b": 1.0}, {"a": np.float32("nan"), "b": None}, {"a": pandas.NA, "b": pandas.NaT}]
    source = open_source(rows)
    assert [source[i]["a"] for i in range(3)] == [None, None, None] == source.column("a")
    assert [source[i]["b"] for i in range(3)] == [1.0, None, None]
    frame = open_source(pandas.DataFrame({"a": ["x", None], "b": [1.0, math.nan]}))
    assert [frame[0], frame[1]] == [{"a": "x", "b": 1.0}, {"a": None, "b": None}]
    pq.write_table(pa.table({"b": [1.0, math.nan]}), tmp_path / "x.parquet")
    assert open_source(tmp_path / "x.parquet").column("b") == [1.0, None]
    (tmp_path / "x.jsonl").write_text('{"b": NaN}\n{"b": null}\n')
    assert open_source(tmp_path / "x.jsonl").column("b") == [None, None]


# --- Hugging Face and torch ------------------------------------------------------------------------------------------


def test_a_hub_dataset_gives_images_undecoded(tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    paths = [str(tmp_path / "a.png")] * 2
    data = datasets.Dataset.from_dict({"img": paths, "cap": ["x", None]}).cast_column("img", datasets.Image())
    source = open_source(data)
    assert source[1] == {"img": paths[0], "cap": None}
    assert source.column("cap") == ["x", None]
    assert source.column("img") is None
    assert source.describe() == "datasets.Dataset of 2 rows"
    assert pickle.loads(pickle.dumps(source))[0]["cap"] == "x"
    with pytest.raises(DataError, match="has no column 'caption'"):
        source.column("caption")
    data.to_parquet(tmp_path / "d.parquet")  # a struct {bytes, path}
    stored = open_source(tmp_path / "d.parquet")
    assert stored.column("img") is None
    assert stored[0]["img"] in (paths[0], (tmp_path / "a.png").read_bytes())
    held = datasets.Dataset.from_dict({"img": [{"bytes": b"abc", "path": None}]})
    assert open_source(held)[0] == {"img": b"abc"}


def test_a_hub_dataset_keeps_selection_and_transform():
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(ROWS)
    picked = open_source(data.select([5, 3]))
    assert picked.column("n") == ["5", "3"]
    assert picked[0] == ROWS[5]
    assert open_source(data.with_format("numpy"))[0] == ROWS[0]
    own = open_source(data.with_transform(lambda rows: {"loud": [text.upper() for text in rows["text"]]}))
    assert own[2] == {"loud": "ROW 2"}
    assert own.column("loud") is None


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int64", "float16", "float32", "float64", "bool"])
@pytest.mark.parametrize("format", [None, "numpy", "torch", "arrow", "pandas"])
def test_an_array_feature_keeps_shape_and_kind(kind, format):
    datasets = pytest.importorskip("datasets")
    pixels = (
        np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3) % 2 if kind == "bool" else np.arange(120).reshape(2, 4, 5, 3)
    ).astype(kind)
    features = datasets.Features({"img": datasets.Array3D((4, 5, 3), kind), "y": datasets.Value("string")})
    data = datasets.Dataset.from_dict({"img": [pixels[0], None], "y": ["a", "b"]}, features=features)
    source = open_source(data.with_format(format))
    row = source[0]
    assert row["img"].dtype == kind
    np.testing.assert_array_equal(row["img"], pixels[0])
    assert source[1] == {"img": None, "y": "b"}
    flat = datasets.Dataset.from_dict(
        {"m": pixels[:, :, 0]}, features=datasets.Features({"m": datasets.Array2D((None, 3), kind)})
    )
    np.testing.assert_array_equal(open_source(flat)[1]["m"], pixels[1, :, 0])


def test_a_torch_dataset():
    data = pytest.importorskip("torch.utils.data")

    class Squares(data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            if i == 2:
                raise OSError("truncated")
            return {"x": i, "y": i * i}

    source = open_source(Squares())
    assert source[1] == {"x": 1, "y": 1}
    with pytest.raises(DataError, match=r"Squares of 3 rows raised OSError: truncated \(sample 2\)"):
        source[2]
    with pytest.raises(DataError, match=r"a row of MapStyle of 1 rows is a tuple.*expected a dict {column: value}"):
        open_source(MapStyle([(1, 2)]))[0]


def test_rows_that_come_one_after_the_other_are_refused_with_a_next_step():
    datasets = pytest.importorskip("datasets")

    def generate():
        yield from ROWS

    for given in (generate(), iter(ROWS)):
        with pytest.raises(ConfigError, match=r"one after the other.* give list\(data\)"):
            open_source(given)
    whole = datasets.Dataset.from_list(ROWS)
    streams = whole.to_iterable_dataset()
    for splits in (
        datasets.DatasetDict({"train": whole, "test": whole}),
        datasets.IterableDatasetDict({"train": streams, "test": streams}),
    ):
        with pytest.raises(ConfigError, match="choose one of its splits: train, test"):
            open_source(splits)


# --- what is not data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "message"), [(7, "from a int"), ({"a": [1]}, "is one dict"), (None, "a NoneType")])
def test_what_is_no_data_is_refused(data, message):
    with pytest.raises(ConfigError, match=message):
        open_source(data)


def test_a_row_that_is_no_dict_is_named():
    with pytest.raises(DataError, match=r"a row of list of 2 rows is a str: 'b' \(sample 1\); expected a dict"):
        open_source([{"a": 1}, "b"])


def test_empty_data_says_so(tmp_path):
    (tmp_path / "e.jsonl").write_text("\n")
    (tmp_path / "e.csv").write_text("a,b\n")
    (tmp_path / "e.json").write_text("[]")
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "e.parquet")
    (tmp_path / "none.csv").write_text("")
    for data in (
        [],
        MapStyle([]),
        *(tmp_path / name for name in ("e.jsonl", "e.csv", "none.csv", "e.json", "e.parquet")),
    ):
        with pytest.raises(DataError, match=r"the data set is empty: .*expected at least one row"):
            open_source(data)


def test_paths_that_lead_nowhere(tmp_path):
    write(tmp_path / "train.csv", ROWS)
    with pytest.raises(DataError, match=r"no file '.*tran.csv'; did you mean train.csv\?"):
        open_source(tmp_path / "tran.csv")
    with pytest.raises(DataError, match=r"no file '/no/such/folder/a.csv'"):
        open_source("/no/such/folder/a.csv")
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(DataError, match=r"files .xlsx are not read here; expected .*one of .jsonl .json .csv"):
        open_source(tmp_path / "a.xlsx")
    (tmp_path / "a.jsnl").touch()
    with pytest.raises(DataError, match=r"files .jsnl are not read here; did you mean .jsonl\?; expected"):
        open_source(tmp_path / "a.jsnl")
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(
        DataError, match=r"files .gz are not read here; expected the file unpacked, since rows are drawn"
    ):
        open_source(tmp_path / "a.tar.gz")
    (tmp_path / "a").touch()
    with pytest.raises(DataError, match="files without a suffix"):
        open_source(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '\n{"a": }\n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", "[1]\n[2]\n", r"a.jsonl, line 1: a list: \[1\]; expected one JSON object a line"),
        ("a.jsonl", b'{"a": "\xff"}\n', "a.jsonl, line 1: not UTF-8"),
        ("a.json", '{"a": 1}\n{"a": 2}', "a.json is not JSON.*one object a line is a .jsonl file"),
        ("a.json", '{"a": 1}', "a.json holds a dict"),
        ("a.json", "[1]", "a row of a.json is a int"),
        ("a.csv", "a,b\n1,2\n1\n", "a.csv, line 3: 1 cells; expected 2, as in the header"),
        ("a.csv", 'a,b\n"x\ny",2\n1,2,3\n', "a.csv, line 4: 3 cells"),
        ("a.csv", "a,b,a\n1,2,3\n", "a.csv, line 1: two columns are named 'a'"),
        ("a.csv", 'a,b\n1,"2\n3,4\n', "a.csv, line 2: unexpected end of data"),
        ("a.csv", b"a\n\xff\n", "a.csv, line 2: not UTF-8"),
        ("a.tsv", "a\tb\n1,2\n", "a.tsv, line 2: 1 cells"),
        ("a.parquet", "hello", "a.parquet cannot be read"),
        ("a.arrow", "hello", "a.arrow cannot be read"),
    ],
)
def test_a_malformed_file_says_where(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / name)


def test_two_columns_of_one_name_in_a_table(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="two columns are named 'a'"):
        open_source(tmp_path / "a.parquet")


def test_csv_cells_are_texts_with_quotes_breaks_and_marks(tmp_path):
    text = '\ufeffname,n\r\n"a ""b"", c",007\r\n"two\nlines",\r\n\r\n é ,x\r\n'
    (tmp_path / "a.csv").write_bytes(text.encode())
    source = open_source(tmp_path / "a.csv")
    expected = [{"name": 'a "b", c', "n": "007"}, {"name": "two\nlines", "n": None}, {"name": " é ", "n": "x"}]
    assert [source[i] for i in (2, 1, 0)] == expected[::-1]
    assert source.column("n") == ["007", None, "x"]
    (tmp_path / "big.csv").write_text("image\n" + "A" * 300_000 + "\n")
    assert len(open_source(tmp_path / "big.csv")[0]["image"]) == 300_000


def test_a_large_table_stays_within_its_budget(tmp_path, monkeypatch):
    rows = [{"i": i, "image": bytes(1000)} for i in range(100)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
    monkeypatch.setattr(blocks, "CACHE_BYTES", 25_000)
    source = open_source(path)
    assert [source[i]["i"] for i in (95, 3, 50, 51, 4, 99)] == [95, 3, 50, 51, 4, 99]
    assert len(source._kept) == 2
    assert source.column("i") == list(range(100))
    assert source.column("image") is None
    monkeypatch.setattr(blocks, "CACHE_BYTES", 1)
    assert source[42]["i"] == 42
    assert len(source._kept) == 1


def test_a_folder_of_images(tmp_path):
    for name in ("b/2.PNG", "a/1.jpg", "a/notes.txt", "top.webp", "a/.hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = open_source(str(tmp_path))
    assert [source[i]["path"] for i in range(len(source))] == ["a/1.jpg", "b/2.PNG", "top.webp"]
    assert source[0] == {"image": str(tmp_path / "a/1.jpg"), "path": "a/1.jpg", "label": "a"}
    assert source.column("label") == ["a", "b", None]
    assert source.root == tmp_path
    assert source.describe() == f"folder {tmp_path.name} of 3 images (left out: 1 .txt, 1 hidden)"
    flat = open_source(tmp_path / "a")
    assert flat[0] == {"image": str(tmp_path / "a/1.jpg"), "path": "1.jpg"}
    with pytest.raises(DataError, match=r"has no column 'label'; .*its columns: image, path"):
        flat.column("label")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none holds no image; expected files .png"):
        open_source(tmp_path / "none")
