"""Tables: in every form, to tokens and back; as many whole rows as fit; what is no table is an error that says so."""

import csv
import json
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import ConfigError, DataError
from ofasys.modality import Context
from ofasys.modality.struct.notation import Malformed, read_cell
from ofasys.modality.struct.preprocess import Tables
from ofasys.modality.struct.save import save
from ofasys.modality.struct.table import BLOCK, LONGEST_LINE, Table, parse_table, read_table, whole, write_table
from ofasys.modality.symbols import Symbols
from ofasys.modality.vocabulary import Vocabulary
from tests.modality.struct.test_notation import LIKE, TEXT, TRICKY, VALUE, same

ROWS = [{"name": "Ann", "born": 1931, "city": None}, {"name": "Bob", "born": None, "city": "1931"}]
WRITTEN = ' name | born | city\n Ann | 1931 |\n Bob | | "1931"'


@pytest.fixture(scope="module")
def symbols(tiny):
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size(), "cells": 65}))


def tables(symbols, max_length=1024):
    return Tables({"max_length": max_length}, symbols)


def made(value):
    return write_table(read_table(value))


@st.composite
def table(draw):
    names = draw(st.lists(st.one_of(TEXT, TRICKY, LIKE), min_size=1, max_size=4, unique=True))
    rows = draw(st.lists(st.lists(VALUE, min_size=len(names), max_size=len(names)), max_size=4))
    return Table((dict(zip(names, row, strict=True)) for row in rows), names)


@settings(max_examples=60, deadline=None)
@given(table())
def test_a_table_comes_back(symbols, value):
    piece = tables(symbols, 4096).preprocess(value, Context())
    back = tables(symbols).postprocess(piece.tensors["tokens"], Context())
    assert back == value
    assert back.columns == value.columns
    assert all(same(a, b) for ours, theirs in zip(back, value, strict=True) for a,
        b in zip(ours.values(), theirs.values(), strict=True))  # fmt: skip
    assert piece.length == len(piece.tensors["tokens"])
    assert piece.info == {"kept": len(value), "dropped": 0}


FORMS = {
    "rows": ROWS,
    "columns": {"name": ["Ann", "Bob"], "born": [1931, None], "city": [None, "1931"]},
    "lists": [["name", "born", "city"], ["Ann", 1931, None], ("Bob", None, "1931")],
    "arrow": pyarrow.table({"name": ["Ann", "Bob"], "born": [1931, None], "city": [None, "1931"]}),
    "pandas": pandas.DataFrame({"name": ["Ann", "Bob"], "born": pandas.array([1931, None], "Int64"),
        "city": [None, "1931"]}),
    "json rows": '[{"name": "Ann", "born": 1931, "city": null}, {"name": "Bob", "born": null, "city": "1931"}]',
    "json columns": ' {"name": ["Ann", "Bob"], "born": [1931, null], "city": [null, "1931"]}',
    "table": Table(ROWS),
    "objects": {"name": np.array(["Ann", "Bob"]), "born": np.array([1931, None]),
        "city": pandas.Series([None, "1931"])},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_table(form):
    assert made(FORMS[form]) == WRITTEN
    assert whole(read_table(FORMS[form])) == ROWS
    assert parse_table(WRITTEN) == ROWS


def test_csv(tmp_path):
    text = 'name,born,city\r\nAnn,1931,\r\n"Bob | B",,"two\nlines"\r\n'
    expected = [
        {"name": "Ann", "born": 1931, "city": None},
        {"name": "Bob | B", "born": None, "city": "two\nlines"},
    ]
    assert whole(read_table(text)) == expected
    (tmp_path / "people.csv").write_text("\ufeff" + text, encoding="utf8", newline="")
    assert whole(read_table("people.csv", tmp_path)) == expected
    assert whole(read_table(tmp_path / "people.csv")) == expected
    (tmp_path / "people.tsv").write_text("a,b\tc\n1,5\t007\n", encoding="utf8")
    assert whole(read_table(str(tmp_path / "people.tsv"))) == [{"a,b": "1,5", "c": "007"}]
    assert whole(read_table("a;b\n1,5;true\n\n")) == [{"a": "1,5", "b": True}]
    assert read_table("a,b\n").count is None
    assert whole(read_table("a,b\n")).columns == ("a", "b")


BARE = {
    "": None, "0": 0, "1931": 1931, "-5": -5, "2.5": 2.5, "-0.25": -0.25, "1.0": 1.0, "1e-07": 1e-07, "1e+16": 1e16,
    "1.5e+300": 1.5e300, "5e-324": 5e-324, "inf": float("inf"), "-inf": float("-inf"), "9" * 300: int("9" * 300),
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
CODES = [
    "12e4", "1234e56", "123e4567", "1e5", "1E5", "1e+5", "1e-7", "12e-4", "0e0", "2e400", "007", "00", "-0", "-007",
    "+5",
    "1.10", "2.50", "1.", ".5", "-.5", "0x1F", "0b1", "1_000", "1,000", "1 000", " 1", "1 ", "٣", "1٣", "½", "1/2",
    "50%",
    "$5", "Inf", "Infinity", "infinity", "nan", "NaN", "NA", "null", "None", "N/A", "tRUE", "yes", "t", "1931-05-01",
    "12:30", "1931-05-01 12:30:00", "1.2.3", "1e", "e5", "9" * 301, "0.1000000000000000055511151231257827", "1j", "--1",
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_bare_cell_is_a_number_only_if_the_number_is_written_so(tmp_path, suffix):
    mark = {".csv": ";", ".tsv": "\t"}[suffix]
    for cell, value in (*BARE.items(), *((code, code) for code in CODES)):
        (tmp_path / f"t{suffix}").write_text(f"a{mark}b\n{cell}{mark}x\n", encoding="utf8")
        (row,) = whole(read_table(tmp_path / f"t{suffix}"))
        assert type(row["a"]) is type(value)
        assert row == {"a": value, "b": "x"}


def test_a_number_that_is_read_out_of_csv_is_written_the_same():
    for cell in BARE:
        if cell and not cell.lower().startswith(("t", "f")):
            assert str(read_cell(cell)) == cell


def test_quotes_tell_text_unless_names_have_them_too(tmp_path):
    """Programs that quote what needs no quotes say nothing by them; in a file with bare names a quoted cell is text."""
    bare = 'a,b,"c,d"\n"1","",\n1,,"true"\n'
    assert whole(read_table(bare)) == [{"a": "1", "b": "", "c,d": None}, {"a": 1, "b": None, "c,d": "true"}]
    every = '"a","b","c,d"\n"1","","true"\n"007","x","12e4"\n'
    expected = [{"a": 1, "b": None, "c,d": True}, {"a": "007", "b": "x", "c,d": "12e4"}]
    assert whole(read_table(every)) == expected
    frame = pandas.DataFrame({"n": [1, 2], "t": ["x", "y, z"], "w": [True, False], "f": [0.5, None]})
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC):
        for sep in (",", ";", "\t", "|"):
            frame.to_csv(tmp_path / "t.csv", index=False, quoting=quoting, sep=sep)
            expected = [{"n": 1, "t": "x", "w": True, "f": 0.5}, {"n": 2, "t": "y, z", "w": False, "f": None}]
            assert whole(read_table(tmp_path / "t.csv")) == expected
    assert whole(read_table('a\n""\n1\n"2"\n\n')) == [{"a": None}, {"a": 1}, {"a": "2"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a;b";"c"\n1;2\n', [{"a;b": 1, "c": 2}]),
        ('"a,b"|c\n1,5|2\n', [{"a,b": "1,5", "c": 2}]),
        ("sep=;\na,b;c\n1;2\n", [{"a,b": 1, "c": 2}]),
        ("a;b\r1;2\r", [{"a": 1, "b": 2}]),
        ("a|b\nplain\n", [{"a|b": "plain"}]),
        ("\ufeffa,b\n1,2\n", [{"a": 1, "b": 2}]),
        ("\n\na,b\n\n1,2\n\n", [{"a": 1, "b": 2}]),
        ("text\n" + "x" * 500_000 + "\n", [{"text": "x" * 500_000}]),
    ],
)
def test_the_form_of_csv_is_found(tmp_path, text, expected):
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert whole(read_table(tmp_path / "t.csv")) == expected
    if text.strip("\r").count("\n"):
        assert whole(read_table(text)) == expected


def test_tsv_has_no_quotes(tmp_path):
    (tmp_path / "t.tsv").write_text('"a\tb\n"It was fine\t"1"\nclassic"\t1\n')
    assert whole(read_table(tmp_path / "t.tsv")) == [{'"a': '"It was fine', "b": '"1"'}, {'"a': 'classic"', "b": 1}]
    (tmp_path / "t.tsv").write_text('a\tb\n"x\ty"\tz\n')
    with pytest.raises(DataError, match="row 0 of the table has 3 cells and its header 2"):
        whole(read_table(tmp_path / "t.tsv"))
    for name in ("t.tsv", "t.csv"):
        (tmp_path / name).write_bytes("a\tb\n1\t2\n".encode("utf-16"))
        with pytest.raises(DataError, match="is UTF-16; expected a CSV file in UTF-8"):
            whole(read_table(tmp_path / name))


def test_json_files(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(ROWS))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in ROWS))
    for name in ("t.json", "t.jsonl"):
        assert whole(read_table(name, tmp_path)) == ROWS
    for name, text, says in (
        ("t.json", "[1", "is not JSON"),
        ("t.json", '"t.csv"', "holds a text"),
        ("t.json", '[{"a": 1, "a": 2}]', "two columns are called 'a'"),
        ("t.jsonl", '{"a": 1}\n{"a": 2, "a": 2}', "two columns are called 'a'"),
        ("t.jsonl", '{"a": 1}\n{"a": 2}{"a": 3}', "is not JSON"),
        ("t.json", '[{"a": ' + "7" * 5000 + "}]", "is not JSON: .*4300 digits"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=says):
            whole(read_table(tmp_path / name))


def test_a_table_without_rows_keeps_its_columns():
    for value in ([["a", "b"]], {"a": [], "b": []}, pandas.DataFrame({"a": [], "b": []}), Table([], ["a", "b"])):
        back = parse_table(made(value))
        assert back == []
        assert back.columns == ("a", "b")
    back = pickle.loads(pickle.dumps(Table([], ["a", "b"])))
    assert back.columns == ("a", "b")


def test_one_column_of_nulls_and_none_differ():
    assert parse_table(" a\n") == [{"a": None}]
    assert parse_table(" a") == []
    assert made({"a": [None, None]}) == " a\n\n"


def test_names_of_a_data_frame_are_text():
    frame = pandas.DataFrame({2020: [1], True: [2]})
    assert made(frame) == " 2020 | True\n 1 | 2"
    assert parse_table(made(frame)) == [{"2020": 1, "True": 2}]


def test_a_table_becomes_a_data_frame():
    frame = parse_table(WRITTEN).to_pandas()
    assert list(frame.columns) == ["name", "born", "city"]
    assert len(frame) == 2


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7, "got int 7"),
        (None, "got NoneType"),
        (b"a,b\n1,2\n", "got bytes"),
        ([], "an empty list has no columns"),
        ({}, "the table has no columns"),
        ([[]], "the table has no columns"),
        ([1, 2], "got a list of int 1"),
        (["a", "b"], "got a list of str 'a'"),
        ([[1, 2], [3, 4]], "a column is called 1, which is no text; is it a grid"),
        ([[None, "a"]], "a column is called None"),
        ([["a", "a"], [1, 2]], "two columns are called 'a'"),
        (pyarrow.table([[1], [2]], names=["a", "a"]), "two columns are called 'a'"),
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are called 'a'"),
        (pandas.DataFrame([[1, 2]], columns=[1, "1"]), "two columns are called '1'"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ([["a", "b"], [1, 2], [3]], "row 1 of the table has 1 cells and its header 2"),
        ("a,b\n1,2\n3\n", "row 1 of the table has 1 cells and its header 2"),
        ({"a": [1], "b": [1, 2]}, "column 'a' has 1 cells and column 'b' 2"),
        ({"a": "xyz"}, "column 'a' is a str 'xyz'"),
        ([{"a": 1}, {"b": 1}], "row 1 of the table lacks the column 'a'"),
        ([{"a": 1}, {"a": 1, "b": 2}], "row 1 of the table has a column 'b' that row 0 lacks"),
        ([{"a": 1}, [1]], "row 1 of the table is a list"),
        ([["a"], "x"], "row 0 of the table is a str"),
        ([{"a": [1, 2]}], r"row 0, column 'a': a cell holds list \[1, 2\]"),
        ([["a", "b"], [1, b"xx"]], "row 0, column 'b': a cell holds 2 bytes"),
        (pyarrow.table({"a": [[1]]}), "row 0, column 'a': a cell holds list"),
        ("nowhere.csv", "no file 'nowhere.csv'"),
        ("", "no file ''"),
        ("\n\n", "the CSV has no header"),
        ('a,b\n"1,2\n', "CSV that cannot be read"),
        ('[{"a": 1}', "JSON that cannot be read"),
        ("[" * 100_000, "JSON that cannot be read"),
        ([[f"c{i}" for i in range(1001)]], "the table has 1001 columns"),
    ],
)  # fmt: skip
def test_what_is_no_table(value, says):
    with pytest.raises(DataError, match=says):
        whole(read_table(value))


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "latin.csv").write_bytes("a,b\nß,1\n".encode("latin1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        whole(read_table(tmp_path / "latin.csv"))
    (tmp_path / "long.csv").write_text("a,b\n" + "x" * (1 << 20))
    with pytest.raises(DataError, match="has a line of 1048576 characters"):
        whole(read_table(tmp_path / "long.csv"))
    (tmp_path / "wide.csv").write_text("a,b\n" + '"' + "x\n" * 200_000)
    with pytest.raises(DataError, match="CSV that cannot be read"):
        whole(read_table(tmp_path / "wide.csv"))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="the CSV has no header"):
        whole(read_table(tmp_path / "empty.csv"))
    with pytest.raises(DataError, match="no file"):
        whole(read_table(tmp_path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a column has no name"),
        (" a | | b", "a column has no name"),
        (" a | a\n 1 | 2", "two columns are called 'a'"),
        (" a | b\n 1 | 2\n 3", "row 1 has 1 cells and the header 2"),
        (" a | b\n 1 | 2 | 3", "row 0 has 3 cells and the header 2"),
        (' a\n "b', "a quote is not closed"),
    ],
)
def test_text_that_is_no_table_is_given_back_as_it_is(text, problem):
    found = parse_table(text)
    assert isinstance(found, Malformed)
    assert found == text
    assert found.problem == problem


@given(st.text())
def test_any_text_is_a_table_or_malformed(text):
    assert isinstance(parse_table(text), (Table, Malformed))


# --- as much as fits ------------------------------------------------------------------------------------------------


class Endless(Sequence):
    """A list of a million rows that counts how many were asked for."""

    def __init__(self):
        self.asked = 0

    def __len__(self):
        return 1_000_000

    def __getitem__(self, at):
        self.asked = max(self.asked, at)
        return ["number", "word"] if at == 0 else [at, "dog"]


def test_only_whole_rows_that_fit_are_read(symbols):
    value = Endless()
    with pytest.warns(UserWarning, match=r"rows fit max_length=100; 9999\d\d more are left out"):
        piece = tables(symbols, 100).preprocess(value, Context())
    assert 50 < piece.length <= 100
    assert value.asked <= 2 * BLOCK
    back = tables(symbols).postprocess(piece.tensors["tokens"], Context())
    assert back == [{"number": i + 1, "word": "dog"} for i in range(len(back))]
    assert piece.info == {"kept": len(back), "dropped": 999_999 - len(back)}


def test_large_tables_of_every_kind_are_read_as_far_as_they_fit(symbols, tmp_path):
    columns = {"number": np.arange(1_000_000), "word": np.repeat("dog", 1_000_000)}
    path = tmp_path / "large.csv"
    path.write_text("number,word\n" + "1,dog\n" * 1_000_000)
    for value, dropped in (
        (columns, True),
        (pandas.DataFrame(columns), True),
        (pyarrow.table(columns), True),
        (path, False),
    ):
        with pytest.warns(UserWarning, match="are left out"):
            piece = tables(symbols, 64).preprocess(value, Context())
        assert piece.length <= 64
        assert piece.info["dropped"] == (1_000_000 - piece.info["kept"] if dropped else None)


def test_the_note_comes_once(symbols):
    pre, value = tables(symbols, 8), {"a": list(range(100))}
    with pytest.warns(UserWarning, match="left out"):
        pre.preprocess(value, Context())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pre.preprocess(value, Context())
        tables(symbols, 1024).preprocess({"a": [1]}, Context())


def test_a_row_is_never_cut(symbols):
    value = [{"a": "cat", "b": "x" * 50_000_000}]
    with pytest.warns(UserWarning, match="0 rows fit max_length=64; 1 more are left out"):
        piece = tables(symbols, 64).preprocess(value, Context())
    assert tables(symbols).postprocess(piece.tensors["tokens"], Context()).columns == ("a", "b")
    whole_length = tables(symbols).preprocess(ROWS, Context()).length
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tables(symbols, whole_length).preprocess(ROWS, Context()).info["dropped"] == 0
    with pytest.warns(UserWarning, match="1 rows fit"):
        piece = tables(symbols, whole_length - 1).preprocess(ROWS, Context())
    assert tables(symbols).postprocess(piece.tensors["tokens"], Context()) == ROWS[:1]


@pytest.mark.parametrize("value", [[["some long name", "b"]], [["x" * 1_000_000]]])
def test_a_header_that_does_not_fit(symbols, value):
    with pytest.raises(DataError, match=r"the header of the table does not fit: .*max_length=4"):
        tables(symbols, 4).preprocess(value, Context())


def test_half_a_character_is_an_error(symbols):
    with pytest.raises(DataError, match="not Unicode text"):
        tables(symbols).preprocess([["a"], ["\ud800"]], Context())


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_text_for_the_tokenizer():
    options = {"max_length": 1024}
    assert Tables.texts(ROWS, options) == [WRITTEN]
    (text,) = Tables.texts({"a": ["x" * 10] * 100_000}, options)
    assert len(text) <= 1000
    assert Tables.texts({"a": ["x" * 10**7]}, options) == [" a"]
    for value in (7, None, [], "nowhere.csv", [{"a": []}]):
        assert Tables.texts(value, options) == []


def test_a_true_value_as_an_answer_would_hold_it(symbols):
    assert tables(symbols).canonical(FORMS["pandas"]) == ROWS
    assert tables(symbols).canonical(None) is None


def test_relative_paths_start_at_the_root(symbols, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    piece = tables(symbols).preprocess("t.csv", Context(root=tmp_path))
    assert tables(symbols).postprocess(piece.tensors["tokens"], Context()) == [{"a": 1, "b": 2}]
    with pytest.raises(DataError, match="no file"):
        tables(symbols).preprocess("t.csv", Context())


def test_answers_are_saved_as_csv(tmp_path):
    save(tmp_path / "t.csv", [parse_table(WRITTEN)])
    assert (tmp_path / "t.csv").read_bytes() == b'name,born,city\r\nAnn,1931,\r\nBob,,"1931"\r\n'
    save(tmp_path / "t.tsv", [[[1, 2], [3, 4]]])
    assert (tmp_path / "t.tsv").read_text().split() == ["1", "2", "3", "4"]
    for values, name, says in (
        ([Malformed("x", "y")], "t.csv", "reads as no table"),
        ([[[1]], [[1]]], "t.csv", "2 values do not go into one"),
        ([[[1]]], "t.png", "use .csv"),
    ):
        with pytest.raises(ConfigError, match=says):
            save(Path(tmp_path, name), values)


# --- written and read -------------------------------------------------------------------------------------------------

SPOKEN = st.sampled_from(
    [*BARE, *CODES, '"', '""', "a,b", "x;y", "a\tb", "a|b", "two\nlines", "\r", "sep=;", "\ufeff", "\0a"]
)
WORD = st.one_of(st.text(max_size=5), SPOKEN, TRICKY, LIKE)
KEPT = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORD)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from([".csv", ".tsv", ".json", ".jsonl"]))
def test_what_is_saved_is_read_back_or_refused(tmp_path_factory, data, suffix):
    """The same values of the same kinds; whatever a kind of file cannot hold is refused, and a .json holds all."""
    names = data.draw(st.lists(WORD, min_size=1, max_size=4, unique=True))
    rows = data.draw(st.lists(st.lists(KEPT, min_size=len(names), max_size=len(names)), max_size=4))
    value = Table((dict(zip(names, row, strict=True)) for row in rows), names)
    path = tmp_path_factory.getbasetemp() / f"law{suffix}"
    if suffix in (".json", ".jsonl"):
        path.write_text(json.dumps(value) if suffix == ".json" else "\n".join(map(json.dumps, value)))
        if not rows:
            return
    else:
        try:
            save(path, [value])
        except ConfigError:
            texts = [text for row in [names, *rows] for text in row if isinstance(text, str)]
            half = any("\ud800" <= c <= "\udfff" for text in texts for c in text)
            assert suffix == ".tsv" or half or (len(names) == 1 and "" in texts) or any("\0" in name for name in names)
            return
    back = whole(read_table(path))
    assert back.columns == tuple(names)
    assert [[*row.values()] for row in back] == rows
    assert all(same(a, b) for ours, theirs in zip(back, rows, strict=True) for a,
        b in zip(ours.values(), theirs, strict=True))  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize(
    "value", [True, False, 0, 1, -5, 2.5, 1.0, 1e5, 12e4, 1e-7, float("inf"), "True", "1", "12e4", "007", "x"]
)
def test_a_value_is_read_back_from_csv(tmp_path, suffix, value):
    path = tmp_path / f"t{suffix}"
    if suffix == ".tsv" and value in ("True", "1"):
        with pytest.raises(ConfigError, match=f"the text '{value}' would be read as something else in a .tsv"):
            save(path, [Table([{"a": value, "b": None}])])
        return
    save(path, [Table([{"a": value, "b": None}])])
    (row,) = whole(read_table(path))
    assert row == {"a": value, "b": None}
    assert type(row["a"]) is type(value)


def test_what_a_file_cannot_hold_is_refused(tmp_path):
    for name, value, says in (
        ("t.tsv", "a\tb", "holds a tab or a line break in a .tsv"),
        ("t.tsv", "a\r", "holds a tab or a line break"),
        ("t.tsv", "", "would be read as something else"),
        ("t.csv", "\ud800", "half a character"),
        ("t.csv", "x" * LONGEST_LINE, "a line would have more than"),
    ):
        with pytest.raises(ConfigError, match=says):
            save(tmp_path / name, [Table([{"a": 1, "b": value}])])
        assert not (tmp_path / name).exists()
    for name, value in (("t.tsv", None), ("t.csv", "")):
        with pytest.raises(ConfigError, match="alone in its row"):
            save(tmp_path / name, [Table([{"a": value}])])
    save(tmp_path / "t.csv", [Table([{"a": None}, {"a": 1}])])
    assert whole(read_table(tmp_path / "t.csv")) == [{"a": None}, {"a": 1}]


def test_pandas_reads_what_is_saved(tmp_path):
    rows = [{"n": 1, "f": 0.5, "w": True, "t": "x"}, {"n": 2, "f": 1e-7, "w": False, "t": 'a "b", c\nd'}]
    save(tmp_path / "t.csv", [Table(rows)])
    assert pandas.read_csv(tmp_path / "t.csv").to_dict("records") == rows
