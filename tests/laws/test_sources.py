"""The same rows give the same values, whatever they come in."""

import csv
import datetime
import json
import logging
import tarfile
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.task.source import open_source
from ofasys.task.source.columns import values
from tests.map_style import MapStyle

pandas = pytest.importorskip("pandas")
torch_data = pytest.importorskip("torch.utils.data")

FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

texts = st.text(max_size=8)  # of any script; never half a surrogate pair, which no file can hold
letters = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)  # numpy drops a NUL at the end
whole = st.integers(-(2**63), 2**63 - 1)
reals = st.floats(allow_nan=False)
kinds = {
    "text": texts,
    "whole": whole,
    "real": reals,
    "truth": st.booleans(),
    "bytes": st.binary(max_size=4),
    "texts": st.lists(texts, max_size=3),
    "wholes": st.lists(whole, max_size=3),
    "reals": st.lists(reals, max_size=3),
    "truths": st.lists(st.booleans(), max_size=3),
    "grid": st.lists(st.lists(st.integers(0, 255), min_size=2, max_size=2), max_size=2),
    "dict": st.fixed_dictionaries({"a": whole, "b": st.lists(texts, max_size=2)}),
    "dicts": st.lists(st.fixed_dictionaries({"x": reals, "y": st.none() | texts}), max_size=2),
}
missing = {name: st.none() | kind for name, kind in kinds.items()}
tables = st.lists(st.fixed_dictionaries(missing), min_size=1, max_size=4)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | reals | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
anything = st.recursive(
    json_value | st.binary(max_size=3) | st.datetimes() | st.decimals(allow_nan=False) | st.text("a\ud83d", max_size=2),
    lambda inner: st.tuples(inner, inner) | st.lists(inner, max_size=2),
    max_leaves=4,
)


class Streamed(torch_data.IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class Exported:
    """A frame of another library, which gives itself as a stream of Arrow."""

    def __init__(self, table):
        self.table = table

    def __len__(self):
        return len(self.table)

    def __arrow_c_stream__(self, schema=None):
        return self.table.__arrow_c_stream__(schema)


@pytest.fixture(autouse=True)
def quiet(caplog):
    logging.getLogger("ofasys").setLevel(logging.ERROR)
    yield
    logging.getLogger("ofasys").setLevel(logging.NOTSET)


def same(found, given):
    """Equal, and of one kind throughout: True is not 1, and 1 is not 1.0."""
    if isinstance(given, dict):
        assert isinstance(found, dict)
        assert found.keys() == given.keys()
        for name, value in given.items():
            same(found[name], value)
    elif isinstance(given, list | tuple):
        assert isinstance(found, list if isinstance(given, list) else tuple)
        assert len(found) == len(given)
        for one, other in zip(found, given, strict=True):
            same(one, other)
    else:
        assert type(found) is type(given)
        assert found == given


def check(data, rows):
    source = open_source(data)
    assert len(source) == len(rows)
    for i, row in enumerate(rows):
        same(source[i], row)
    for name in {name for row in rows for name in row}:
        if (column := source.column(name)) is not None:
            same(column, [row.get(name) for row in rows])


SCHEMA = pa.schema(
    {
        "text": pa.string(),
        "whole": pa.int64(),
        "real": pa.float64(),
        "truth": pa.bool_(),
        "bytes": pa.binary(),
        "texts": pa.list_(pa.string()),
        "wholes": pa.list_(pa.int64()),
        "reals": pa.list_(pa.float64()),
        "truths": pa.list_(pa.bool_()),
        "grid": pa.list_(pa.list_(pa.uint8())),
        "dict": pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())}),
        "dicts": pa.list_(pa.struct({"x": pa.float64(), "y": pa.string()})),
    }
)


def write_arrow(path, table, kind):
    with pa.OSFile(str(path), "wb") as file, kind(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


@pytest.mark.slow
@FEW
@given(tables)
def test_tables_of_every_kind_give_the_same_rows(rows):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        pq.write_table(table, place / "rows.parquet", row_group_size=2)
        feather.write_feather(table, str(place / "rows.feather"))
        sources = [
            rows,
            tuple(rows),
            MapStyle(rows),
            Streamed(rows),
            table,
            Exported(table),
            place / "rows.parquet",
            place / "rows.feather",
            write_arrow(place / "file.arrow", table, pa.ipc.new_file),
            write_arrow(place / "stream.arrow", table, pa.ipc.new_stream),
            table.to_pandas(types_mapper=pandas.ArrowDtype),
            pandas.DataFrame({name: pandas.Series([row[name] for row in rows], dtype=object) for name in kinds}),
        ]
        for data in sources:
            check(data, rows)


@pytest.mark.slow
@FEW
@given(tables)
def test_data_sets_of_the_hub_give_the_same_rows(rows):
    datasets = pytest.importorskip("datasets")
    held = datasets.Dataset(pa.Table.from_pylist(rows, schema=SCHEMA))
    check(held, rows)
    check(held.to_iterable_dataset(), rows)


@pytest.mark.slow
@FEW
@given(
    st.lists(
        st.dictionaries(st.text(min_size=1, max_size=5), json_value, min_size=1, max_size=4), min_size=1, max_size=4
    )
)
def test_rows_of_json_need_not_be_alike(rows):
    """Columns that differ, kinds that mix, whole numbers of any size: nothing is filled in, widened or merged."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "rows.json").write_text(json.dumps(rows), encoding="utf8")
        (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
        for data in (rows, MapStyle(rows), Streamed(rows), place / "rows.json", place / "rows.jsonl"):
            check(data, rows)


@FEW
@given(
    st.lists(st.dictionaries(st.text(min_size=1, max_size=3), anything, min_size=1, max_size=3), min_size=1, max_size=4)
)
def test_rows_of_python_pass_a_stream_unchanged(rows):
    for data in (rows, MapStyle(rows), Streamed(rows)):
        check(data, rows)


@pytest.mark.slow
@FEW
@given(st.lists(st.fixed_dictionaries({"a": st.text(min_size=1), "b": st.text(min_size=1)}), min_size=1, max_size=4))
def test_texts_are_the_same_in_a_csv_and_a_tar(rows):
    with TemporaryDirectory() as folder:
        place = Path(folder)
        with (place / "rows.csv").open("w", newline="", encoding="utf8") as file:
            writer = csv.DictWriter(file, ["a", "b"])
            writer.writeheader()
            writer.writerows(rows)
        with tarfile.open(place / "rows.tar", "w") as tar:
            for i, row in enumerate(rows):
                data = json.dumps(row).encode()
                member = tarfile.TarInfo(f"{i}.json")
                member.size = len(data)
                tar.addfile(member, BytesIO(data))
        tarred = open_source(place / "rows.tar")
        assert [{name: tarred[i][name] for name in "ab"} for i in range(len(rows))] == rows
        if not any("\0" in text or "\r" in text for row in rows for text in row.values()):
            check(place / "rows.csv", rows)


@FEW
@given(st.lists(st.none() | st.booleans() | st.integers(-128, 127) | reals | letters, min_size=1, max_size=4))
def test_numbers_of_numpy_are_what_they_hold(plain):
    def numpyed(value):
        kinds = {bool: np.bool_, int: np.int8, float: np.float64, str: np.str_}
        return value if value is None else kinds[type(value)](value)

    rows = [{"v": value, "all": plain, "d": {"x": (value, 1)}} for value in plain]
    given = [
        {
            "v": numpyed(value),
            "all": np.array([numpyed(v) for v in plain], dtype=object),
            "d": {"x": (numpyed(value), 1)},
        }
        for value in plain
    ]
    for data in (
        given,
        MapStyle(given),
        Streamed(given),
        pandas.DataFrame({name: pandas.Series([row[name] for row in given], dtype=object) for name in rows[0]}),
    ):
        check(data, rows)


# --- types of Arrow ---------------------------------------------------------------------------------------------------

NOON = datetime.datetime(2020, 1, 2, 12, 0, 0, 1)
TYPES = [
    (pa.array(["a", None], pa.large_string()), ["a", None]),
    (pa.array(["a", None], pa.string_view()), ["a", None]),
    (pa.array([b"a", None], pa.large_binary()), [b"a", None]),
    (pa.array([b"a", None], pa.binary_view()), [b"a", None]),
    (pa.array([b"ab", None], pa.binary(2)), [b"ab", None]),
    (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    (pa.RunEndEncodedArray.from_arrays([2, 3], ["x", None]), ["x", "x", None]),
    (pa.array([1.5, None], pa.float16()), [1.5, None]),
    (pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None]),
    (pa.array([True, None]), [True, None]),
    (pa.nulls(2), [None, None]),
    (pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)), [Decimal("1.50"), None]),
    (pa.array([NOON, None], pa.timestamp("us")), [NOON, None]),
    (pa.array([NOON, None], pa.timestamp("ns")), [NOON, None]),
    (pa.array([NOON.date(), None], pa.date32()), [NOON.date(), None]),
    (pa.array([NOON.time(), None], pa.time64("ns")), [NOON.time(), None]),
    (pa.array([datetime.timedelta(1), None], pa.duration("ns")), [datetime.timedelta(1), None]),
    (pa.array([[1, 2], None, []], pa.large_list(pa.int16())), [[1, 2], None, []]),
    (pa.array([[1, 2], None], pa.list_(pa.int16(), 2)), [[1, 2], None]),
    (pa.array([[1, 2], None, []], pa.list_view(pa.int16())), [[1, 2], None, []]),
    (pa.array([[1, None]], pa.large_list_view(pa.int16())), [[1, None]]),
    (pa.array([[[1, 2], [3]], None, [None]], pa.list_(pa.list_(pa.int8()))), [[[1, 2], [3]], None, [None]]),
    (pa.array([["a", None]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), [["a", None]]),
    (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())), [{"a": 1}, None]),
    (pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8())), [[("a", 1), ("a", 2)]]),
    (pa.array([{"a": [NOON]}, None], pa.struct({"a": pa.list_(pa.timestamp("ns"))})), [{"a": [NOON]}, None]),
    (pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]), [1, "b"]),
    (pa.ExtensionArray.from_storage(pa.opaque(pa.int8(), "t", "v"), pa.array([1, None], pa.int8())), [1, None]),
    (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())), [True, None]),
    (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None])), ['{"a": 1}', None]),
]


@pytest.mark.parametrize(("array", "expected"), TYPES, ids=[str(array.type)[:40] for array, _ in TYPES])
def test_a_type_of_arrow_is_what_it_holds(array, expected, tmp_path):
    same(values(array), expected)
    same(values(pa.chunked_array([array, array])), expected * 2)
    same(values(array.slice(1)), expected[1:])
    table = pa.table({"v": array, "i": range(len(array))})
    for data in (table, write_arrow(tmp_path / "rows.arrow", table, pa.ipc.new_file)):
        check(data, [{"v": value, "i": i} for i, value in enumerate(expected)])
    alone = write_arrow(tmp_path / "alone.arrow", table.select(["v"]), pa.ipc.new_stream)
    check(alone, [{"v": value} for value in expected])


def test_a_value_that_python_cannot_hold_spoils_no_other(tmp_path):
    """Text that is not UTF-8, times beyond the year 9999: in a column that no slot reads they are nobody's concern."""
    torn = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    late = pa.array([0, 2**60], pa.timestamp("us"))
    days = pa.array([0, 10**7], pa.date32())
    lists = pa.ListArray.from_arrays([0, 1, 2], torn)
    table = pa.table({"torn": torn, "late": late, "days": days, "lists": lists, "n": [1, 2]})
    expected = [
        {
            "torn": "ok",
            "late": datetime.datetime(1970, 1, 1),
            "days": datetime.date(1970, 1, 1),
            "lists": ["ok"],
            "n": 1,
        },
        {
            "torn": b"\xff",
            "late": np.datetime64(2**60, "us"),
            "days": np.datetime64(10**7, "D"),
            "lists": [b"\xff"],
            "n": 2,
        },
    ]
    pq.write_table(table.drop_columns(["days"]), tmp_path / "rows.parquet")
    check(table, expected)
    check(write_arrow(tmp_path / "rows.arrow", table, pa.ipc.new_file), expected)
    check(tmp_path / "rows.parquet", [{name: v for name, v in row.items() if name != "days"} for row in expected])


def test_a_time_finer_than_python_keeps_its_nanoseconds():
    (found,) = values(pa.array([1], pa.timestamp("ns")))
    assert found.nanosecond == 1  # pandas' own; of numpy where pandas is not installed
    assert values(pa.array([1], pa.time64("ns"))) == [np.timedelta64(1, "ns")]


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint16", "float16", "float32", "float64", "bool"])
def test_lists_of_numbers_keep_their_width(kind, tmp_path):
    row = np.arange(6).reshape(2, 3).astype(kind)
    width = pa.from_numpy_dtype(row.dtype)
    kinds = pa.schema({"flat": pa.list_(width), "grid": pa.list_(pa.list_(width)), "fixed": pa.list_(width, 3)})
    table = pa.table([[row[0]], [row.tolist()], [row[1]]], schema=kinds)
    pq.write_table(table, tmp_path / "rows.parquet")
    for data in (table, tmp_path / "rows.parquet", write_arrow(tmp_path / "rows.arrow", table, pa.ipc.new_file)):
        found = open_source(data)[0]
        for name, expected in (("flat", row[0]), ("grid", row), ("fixed", row[1])):
            assert np.asarray(found[name]).dtype == row.dtype
            assert found[name] == expected.tolist()
            assert np.array_equal(np.asarray(found[name]), expected)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_tensors_of_a_fixed_shape_are_arrays(axes):
    tensors = np.arange(12, dtype=np.int16).reshape(2, 2, 3)
    held = pa.FixedShapeTensorArray.from_numpy_ndarray(tensors)
    kind = pa.fixed_shape_tensor(pa.int16(), (2, 3), permutation=axes)
    array = pa.ExtensionArray.from_storage(kind, held.storage)
    source = open_source(pa.table({"v": array}))
    expected = tensors if axes == (0, 1) else tensors.transpose(0, 2, 1)
    for i in range(2):
        assert source[i]["v"].dtype == np.int16
        assert np.array_equal(source[i]["v"], expected[i])


# --- names ------------------------------------------------------------------------------------------------------------


def test_two_columns_of_one_name_are_an_error_in_every_source(tmp_path):
    twice = pa.table([["a"], ["one"], ["eins"]], names=["q", "y", "y"])
    frame = pandas.concat([pandas.DataFrame({"q": ["a"], "y": ["one"]}), pandas.DataFrame({"y": ["eins"]})], axis=1)
    pq.write_table(twice, tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("q,y,y\na,one,eins\n")
    files = [
        write_arrow(tmp_path / f"{kind.__name__}.arrow", twice, kind) for kind in (pa.ipc.new_file, pa.ipc.new_stream)
    ]
    for data in (twice, frame, Exported(twice), tmp_path / "rows.parquet", tmp_path / "rows.csv", *files):
        with pytest.raises(DataError, match="two columns are named 'y'"):
            open_source(data)
    inside = pa.table({"s": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])})
    with pytest.raises(DataError, match="column 's': two columns are named 'a'"):
        open_source(inside)
