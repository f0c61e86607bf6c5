"""Columns of Arrow as Python values, and what `datasets` says of them beside."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ofasys.errors import DataError
from ofasys.task.source.row import Rows, no_column
from ofasys.task.source.value import Numbers, as_list, cell, named, plain, typed

if TYPE_CHECKING:
    import pyarrow as pa

Convert = Callable[[Any], list[Any]]  # an array of Arrow, or a chunked one -> its values


class Columns(Rows):
    """A table whose columns are lists: a table of Arrow."""

    def __init__(
        self, columns: Mapping[str, list[Any]], count: int, name: str, classes: Mapping[str, Any] | None = None
    ) -> None:
        self.columns, self.count, self.name, self.classes = columns, count, name, classes or {}

    def __len__(self) -> int:
        return self.count

    def _row(self, i: int) -> dict[str, Any]:
        return {name: values[i] for name, values in self.columns.items()}

    def describe(self) -> str:
        """`DataFrame of 40 rows`."""
        return self.name

    def column(self, name: str) -> list[Any]:
        """All values of a column."""
        if name not in self.columns:
            raise no_column(name, self.columns, self.name)
        return list(map(cell, self.columns[name]))


class Frame(Columns):
    """A pandas.DataFrame. Its lists, which pandas reads from files as arrays, are lists again. Errors: DataError for
    two columns of one name.
    """

    def __init__(self, frame: Any) -> None:
        name = f"DataFrame of {len(frame)} rows"
        check_names(frame.columns, name)
        super().__init__({column: _series(frame[column]) for column in frame.columns}, len(frame), name)

    def _row(self, i: int) -> dict[str, Any]:
        return {name: as_list(value) for name, value in super()._row(i).items()}

    def column(self, name: str) -> list[Any]:
        """All values of a column."""
        return list(map(as_list, super().column(name)))


def _series(series: Any) -> list[Any]:
    if type(series.dtype).__name__ == "ArrowDtype":
        import pyarrow as pa

        return values(pa.chunked_array(series.array.__arrow_array__()))
    return list(series.tolist())


def from_polars(frame: Any) -> Columns:
    """A polars.DataFrame."""
    import pyarrow as pa

    def column(series: Any) -> list[Any]:
        beyond = re.search("Object|Int128", str(series.dtype))  # what Arrow has no type for, in lists and structs too
        return list(series.to_list()) if beyond else values(pa.chunked_array(series))

    columns = {series.name: column(series) for series in frame.get_columns()}
    return Columns(columns, len(frame), f"polars DataFrame of {len(frame)} rows")


def from_arrow(data: Any, name: str) -> Columns:
    """A table of Arrow, or one that gives itself as such. Errors: DataError for two columns of one name, and what is no
    table.
    """
    import pyarrow as pa

    try:
        table = data if isinstance(data, pa.Table) else pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read as a table of Arrow: {error}", expected="a pyarrow.Table") from None
    check_fields(table.schema, name)
    known = class_names(table.schema)
    columns = {column: values(table.column(column)) for column in table.column_names}
    made = {column: _named(found, known.get(column)) for column, found in columns.items()}
    return Columns(made, table.num_rows, f"{name} of {table.num_rows} rows", known)


def _named(found: list[Any], names: Any) -> list[Any]:
    return found if names is None else [named(value, names) for value in found]


def check_names(names: Iterable[Any], where: str) -> None:
    """Errors: DataError for two columns of one name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{where}: two columns are named {twice[0]!r}", expected="a name of its own for each")


def check_fields(fields: Iterable[pa.Field], where: str) -> None:
    """Errors: DataError for two columns of one name, and for two fields of one name in the dicts of a column."""
    fields = list(fields)
    check_names([field.name for field in fields], where)
    for field in fields:
        if (kind := _struct(field.type)) is not None:
            check_fields([kind.field(i) for i in range(kind.num_fields)], f"{where}, column {field.name!r}")


def _struct(kind: Any) -> Any:
    """The struct that a type is, or that its lists hold; None where there is none."""
    import pyarrow as pa

    while _is_list(kind) or pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind if pa.types.is_struct(kind) else None


# --- values -----------------------------------------------------------------------------------------------------------


def values(column: Any) -> list[Any]:
    """The values of an array of Arrow, or of a chunked one."""
    return convert(column.type)(column)


def simple(kind: Any) -> bool:
    """Whether Arrow's own Python values are what is wanted of a type."""
    return _converter(kind) is _simple


def convert(kind: Any) -> Convert:
    """How columns of a type become lists of values: numbers, texts, bytes, lists and dicts of them.

    A list of numbers without nulls is `Numbers`, so are lists of such lists; a tensor, or an array of `datasets`, is an
    array. A map is a dict, or a list of pairs where a key comes twice. Times with nanoseconds are numpy's or pandas'.
    """
    one = _converter(kind)

    def made(column: Any) -> list[Any]:
        chunks = getattr(column, "chunks", None)
        return one(column) if chunks is None else [value for chunk in chunks for value in one(chunk)]

    return one if one is _simple else made


def _simple(array: Any) -> list[Any]:
    try:
        return list(array.to_pylist())
    except (ValueError, OverflowError):  # of one value in it, and the others are well
        return list(map(_own, array))


def _own(scalar: Any) -> Any:
    """A value that Python cannot hold, as near as may be: text that is not UTF-8 as its bytes, a time beyond the year
    9999 as numpy's.
    """
    import pyarrow as pa

    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        kind = scalar.type
    if _is_list(kind):
        return list(map(_own, scalar.values))
    if pa.types.is_struct(kind):
        return {name: _own(value) for name, value in scalar.items()}
    if pa.types.is_date(kind):
        return np.datetime64(scalar.value, "D" if pa.types.is_date32(kind) else "ms")
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return (np.datetime64 if pa.types.is_timestamp(kind) else np.timedelta64)(scalar.value, kind.unit)
    return scalar.as_buffer().to_pybytes() if hasattr(scalar, "as_buffer") else scalar


@lru_cache(maxsize=512)
def _converter(kind: Any) -> Convert:
    import pyarrow as pa

    is_a = pa.types
    if _is_extension(kind, "FixedShapeTensorType"):
        return _tensors
    if _is_extension(kind, "UuidType", "JsonType", "Bool8Type"):
        return _simple
    if re.fullmatch(r"Array\dDExtensionType", type(kind).__name__):
        return _arrays
    if isinstance(kind, pa.BaseExtensionType):
        storage = _converter(kind.storage_type)
        return lambda array: storage(array.storage)
    if is_a.is_dictionary(kind):
        inner = _converter(kind.value_type)
        return _simple if inner is _simple else lambda array: inner(array.dictionary_decode())
    if is_a.is_run_end_encoded(kind):
        inner = _converter(kind.value_type)
        return _simple if inner is _simple else lambda array: inner(_run_end_decoded(array))
    if is_a.is_map(kind):
        keys, items = _converter(kind.key_type), _converter(kind.item_type)
        return lambda array: [_map(scalar, keys, items) for scalar in array]
    if _is_list(kind):
        return _lists_of(kind)
    if is_a.is_struct(kind):
        return _structs_of(kind)
    if is_a.is_union(kind):
        return lambda array: [plain(value) for value in array.to_pylist()]
    if (is_a.is_timestamp(kind) or is_a.is_duration(kind) or is_a.is_time64(kind)) and kind.unit == "ns":
        return lambda array: [_fine(scalar, kind) for scalar in array]
    return _simple


def _is_extension(kind: Any, *names: str) -> bool:
    """Whether a type is one of Arrow's own extensions, of which an older pyarrow knows fewer."""
    import pyarrow as pa

    return any(isinstance(kind, getattr(pa, name)) for name in names if hasattr(pa, name))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return any(
        test(kind)
        for test in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    )


def _lists_of(kind: Any) -> Convert:
    inner, wide = _converter(kind.value_type), width(kind)
    if wide is not None:
        return lambda array: _numbers(array, wide)
    return _simple if inner is _simple else lambda array: [_list(scalar, inner) for scalar in array]


def _numbers(array: Any, wide: np.dtype[Any]) -> list[Any]:
    found = _whole(array)
    if found is None:
        return [typed(one, wide) for one in array.to_pylist()]
    return [Numbers(one, wide) for one in (found.tolist() if isinstance(found, np.ndarray) else found)]


def _whole(array: Any) -> np.ndarray | list[Any] | None:
    """Numbers, or lists of them, through numpy: an array where all lists of an axis are of one length, as in pictures;
    None where a value is missing.
    """
    if array.null_count:
        return None
    if not _is_list(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    inner = _whole(array.flatten())
    if inner is None:
        return None
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    if isinstance(inner, np.ndarray) and len(inner) and (lengths == lengths[0]).all():
        return inner.reshape(len(lengths), -1, *inner.shape[1:])
    ends, parts = np.cumsum(lengths).tolist(), inner.tolist() if isinstance(inner, np.ndarray) else inner
    return [parts[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def width(kind: Any) -> np.dtype[Any] | None:
    """Of lists of numbers, or lists of such lists, the numbers' dtype; None for all else."""
    import pyarrow as pa

    if not _is_list(kind):
        return None
    while _is_list(kind):
        kind = kind.value_type
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return np.dtype(kind.to_pandas_dtype()) if numbers else None


def _list(scalar: Any, inner: Convert) -> list[Any] | None:
    return inner(scalar.values) if scalar.is_valid else None


def _structs_of(kind: Any) -> Convert:
    fields = [kind.field(i) for i in range(kind.num_fields)]
    converters = [_converter(field.type) for field in fields]
    if all(converter is _simple for converter in converters):
        return _simple
    names = [field.name for field in fields]

    def structs(array: Any) -> list[Any]:
        columns = [converter(child) for converter, child in zip(converters, array.flatten(), strict=True)]
        rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        return [row if there else None for row, there in zip(rows, array.is_valid().to_pylist(), strict=True)]

    return structs


def _map(scalar: Any, keys: Convert, items: Convert) -> Any:
    if not scalar.is_valid:
        return None
    pairs = list(zip(keys(scalar.values.field(0)), items(scalar.values.field(1)), strict=True))
    try:
        found = dict(pairs)
    except TypeError:  # a key that is a list
        return pairs
    return found if len(found) == len(pairs) else pairs


def _tensors(array: Any) -> list[Any]:
    """Each as an array (*shape). Its axes are put in order here: pyarrow 26 mixes values up where a scalar does so."""
    kind, storage = array.type, array.storage
    axes = kind.permutation or range(len(kind.shape))
    shaped = (None if flat is None else flat.reshape(kind.shape).transpose(axes) for flat in map(_flat, storage))
    return [None if tensor is None else np.ascontiguousarray(tensor) for tensor in shaped]


def _flat(scalar: Any) -> np.ndarray | None:
    return np.array(scalar.values) if scalar.is_valid else None


def _arrays(array: Any) -> list[Any]:
    """Arrays of `datasets`, Array2D to Array5D, each in its shape and kind; one that lacks a number as lists."""
    return [_shaped(scalar, array.type.shape) for scalar in array.storage]


def _shaped(scalar: Any, shape: Sequence[int | None]) -> Any:
    if not scalar.is_valid:
        return None
    numbers = scalar.values  # the first axis may differ from row to row
    for _ in shape[1:]:
        numbers = numbers.flatten()
    if numbers.null_count:
        return scalar.as_py()
    return numbers.to_numpy(zero_copy_only=False).reshape(len(scalar.values), *shape[1:]).copy()


def _fine(scalar: Any, kind: Any) -> Any:
    """A time of nanoseconds: as `datetime` where that holds it whole, else with its nanoseconds."""
    import pyarrow as pa

    if not scalar.is_valid:
        return None
    if scalar.value % 1000 and pa.types.is_time64(kind):
        return np.timedelta64(scalar.value, "ns")
    try:
        return plain(scalar.as_py())
    except ValueError:  # pandas, which could hold it, is not installed
        return (np.datetime64 if pa.types.is_timestamp(kind) else np.timedelta64)(scalar.value, "ns")


def _run_end_decoded(array: Any) -> Any:
    import pyarrow.compute as pc

    return pc.run_end_decode(array)


def holds_bytes(kind: Any) -> bool:
    """Whether values of a type of Arrow are, or hold, bytes or arrays: pictures and the like."""
    import pyarrow as pa

    tests = ("binary", "large_binary", "fixed_size_binary", "binary_view")
    if any(getattr(pa.types, f"is_{name}")(kind) for name in tests) or _is_extension(kind, "FixedShapeTensorType"):
        return True
    if _is_extension(kind, "UuidType"):
        return False
    if isinstance(kind, pa.BaseExtensionType):
        return holds_bytes(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return holds_bytes(kind.value_type)
    return any(holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


# --- what `datasets` says ---------------------------------------------------------------------------------------------


def class_names(schema: Any) -> dict[str, Any]:
    """Column -> what its classes are called, from what `datasets` wrote beside a schema of Arrow; see `named`."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return names_in(features) or {}


def names_in(feature: Any, stored: bool = True) -> Any:
    """The names of the classes in a feature of `datasets` as JSON has it: of a ClassLabel its names, of a dict those of
    its fields, of a list those of its values; None where there are none. stored: values are as Arrow holds them, so
    that what `datasets` keeps as JSON is yet to be read.
    """
    if isinstance(feature, list):
        return names_in(feature[0], stored) if feature else None
    if not isinstance(feature, Mapping):
        return None
    kind = feature.get("_type")
    if kind == "ClassLabel":
        names = feature.get("names")
        return tuple(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else None
    if kind == "Json":
        return _read_json if stored else None
    if isinstance(kind, str):
        return names_in(feature.get("feature"), stored)
    found = {name: names_in(inner, stored) for name, inner in feature.items()}
    return {name: names for name, names in found.items() if names is not None} or None


def _read_json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text
