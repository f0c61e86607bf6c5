"""Text files, cell by cell: what stands in a line is what is read, and what is wrong with one is that row's."""

import csv
import io
import json
import sys

import numpy as np
import pandas
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys import Task
from ofasys.errors import DataError
from ofasys.task.source import open_source, text_file

LONG = "7" * 5000  # digits


def opened(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_source(folder / name)


def rows(source):
    return [source[i] for i in range(len(source))]


def columns(source, names, step=1):
    """The pieces that the source gives, laid end to end."""
    pieces = list(source.in_pieces(list(names), step))
    return [[value for piece in pieces for value in piece[at]] for at in range(len(names))]


# --- JSON lines ------------------------------------------------------------------------------------------------------

GOOD = '{"q": "a", "y": "b"}'
FAULTS = {
    "no JSON": ('{"q": "a", "y"}', r"a.jsonl, line 3: not JSON: Expecting ':'"),
    "cut": ('{"q": "a", "y": "b', "a.jsonl, line 3: not JSON"),
    "trailing comma": ('{"q": "a", "y": "b",}', "a.jsonl, line 3: not JSON"),
    "two objects": (GOOD + GOOD, "a.jsonl, line 3: not JSON: Extra data"),
    "two with a comma": (f"{GOOD}, {GOOD}", "a.jsonl, line 3: not JSON: Extra data"),
    "a list": ('["a", "b"]', r"a.jsonl, line 3: a list: \['a', 'b'\]; expected one JSON object a line"),
    "a text": ('"a"', "a.jsonl, line 3: a str"),
    "null": ("null", "a.jsonl, line 3: a NoneType"),
    "long integer": (f'{{"q": "a", "y": "b", "n": {LONG}}}', r"a.jsonl, line 3: .*\(4300 digits\)"),
    "deep long integer": (f'{{"q": "a", "y": "b", "n": [{{"m": -{LONG}}}]}}', r"a.jsonl, line 3: .*4300 digits"),
    "one name twice": ('{"q": "a", "y": "b", "q": "c"}', "a.jsonl, line 3: two fields of one object are named 'q'"),
    "one name twice, spelled otherwise": (r'{"q": "a", "\u0071": "c"}',
        "line 3: two fields of one object are named 'q'"),
    "one name twice, deep": ('{"q": "a", "y": [{"z": 1, "z": 2}]}', "a.jsonl, line 3: two fields .* named 'z'"),
    "not UTF-8": (b'{"q": "a", "y": "\xff"}', r"a.jsonl, line 3: not UTF-8 \(invalid start byte at byte 17\)"),
    "half a character in UTF-8": (b'{"q": "a", "y": "\xed\xa0\xbd"}', "a.jsonl, line 3: not UTF-8"),
    "depth": ('{"q": ' + "[" * 100_000 + "]" * 100_000 + "}", "a.jsonl, line 3: not JSON: maximum recursion depth"),
    "a break inside a text": ('{"q": "a\rb"}', "a.jsonl, line 3: not JSON: Invalid control character"),
    "NUL": ('{"q": "a", "y": "b"}\0', "a.jsonl, line 3: not JSON: Extra data"),
    "blanks that JSON has not": ('{"q": "a", "y": "b"}\u00a0', "a.jsonl, line 3: not JSON: Extra data"),
}  # fmt: skip


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_line_is_that_rows(tmp_path, fault, place):
    line, message = FAULTS[fault]
    lines = [GOOD.encode()] * 2
    lines.insert(place, line if isinstance(line, bytes) else line.encode())
    source = opened(tmp_path, "a.jsonl",
        b"\n\n" + b"\n".join(lines) if place == 0 else b"\n" * (2 - place) + b"\n".join(lines))  # fmt: skip
    assert len(source) == 3
    assert [source[i] for i in range(3) if i != place] == [{"q": "a", "y": "b"}] * 2
    with pytest.raises(DataError, match=message):
        source[place]
    assert source.column("y") == ["b" if i != place else None for i in range(3)]
    task = Task("t", "[TEXT:q] -> [CATEGORY:y]", source)
    assert task.labels == {"y": ("b",)}
    assert task.lengths().tolist() == [1 if i != place else 4 for i in range(3)]
    assert "a" in set(task.texts())


@pytest.mark.parametrize("depth", [100, 400, 700, 900, 990, 5000])
def test_values_of_any_depth_spoil_no_pass(tmp_path, depth):
    for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        source = opened(tmp_path, "a.jsonl", f'{{"q": {deep}, "y": {deep}}}\n{GOOD}\n')
        assert source[1] == {"q": "a", "y": "b"}
        task = Task("t", "[TEXT:q] -> [CATEGORY:y]", source)
        assert task.labels == {"y": ("b",)}
        assert task.lengths()[1] == 1
        assert set(task.texts()) == {"a", "b"}


def test_a_file_of_which_nothing_is_json_lines_is_refused(tmp_path):
    for content, message in (
        ('{\n"q": "a",\n"y": "b"\n}\n', "a.jsonl, line 1: not JSON"),  # one object over several lines
        ('[\n{"q": "a"},\n{"q": "b"}\n]\n', "a.jsonl, line 1: not JSON"),
        ("q,y\na,b\n", "a.jsonl, line 1: not JSON"),
        (GOOD.encode("utf-16"), "a.jsonl is UTF-16; expected UTF-8 text"),
        (GOOD.encode("utf-16-le"), "a.jsonl is UTF-16"),
        (GOOD.encode("utf-16-be"), "a.jsonl is UTF-16"),
        (f"{GOOD}\r{GOOD}\r", "a.jsonl, line 1: not JSON: Extra data"),
    ):
        with pytest.raises(DataError, match=message):
            opened(tmp_path, "a.jsonl", content)
    alone = opened(tmp_path, "a.jsonl", f'{{"q": "a", "n": {LONG}}}\n')  # JSON it is, a row it is not
    with pytest.raises(DataError, match=r"line 1: .*4300 digits"):
        alone[0]


def test_lines_of_every_kind(tmp_path):
    content = (
        '\ufeff\r\n {"q": 1}\r\n\t\n{"q": [NaN]} \n\x20\x20\n{"q": Infinity}\n\n\n{"q": "\\ud83d"}\n{"q": {"a": 1e5}}'
    )
    source = opened(tmp_path, "a.jsonl", content)
    expected = [1, [float("nan")], float("inf"), "\ud83d", {"a": 1e5}]
    assert str([row["q"] for row in rows(source)]) == str(expected) == str(source.column("q"))
    assert [source._line(i) for i in range(5)] == [2, 4, 6, 9, 10]
    assert sum(array.nbytes for array in (source.starts, source.leaps, source.ahead)) < 100
    assert rows(opened(tmp_path, "b.jsonl", '\ufeff{"q": 1}')) == [{"q": 1}]
    assert rows(opened(tmp_path, "b.jsonl", "\ufeff\n\n" + '{"q": "\ufeff"}\n\n')) == [{"q": "\ufeff"}]


def test_lines_over_the_borders_of_blocks(tmp_path, monkeypatch):
    lines = ["", "{}", ' {"a": 1}', '{"a": "xyz"}', "  ", "", "\r", '{"a": [2, 3]}', '{"a": null}\r']
    for size in range(1, 30):
        monkeypatch.setattr(text_file, "BLOCK_BYTES", size)
        source = opened(tmp_path, "a.jsonl", "\n".join(lines))
        assert rows(source) == [{}, {"a": 1}, {"a": "xyz"}, {"a": [2, 3]}, {"a": None}]
        assert source.column("a") == [None, 1, "xyz", [2, 3], None]
        assert [source._line(i) for i in range(5)] == [2, 3, 4, 8, 9]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.text("\ud83d:\"\\{}, a\u2028\r\n")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)  # fmt: skip
LINES = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from("abc"), JSON).map(json.dumps),
        st.dictionaries(st.sampled_from("abc"), JSON,
            max_size=2).map(lambda row: json.dumps(row, indent="\t").replace("\n", "\r")),
        st.sampled_from(["", " ", "\r", '{"a": 1}{"a": 2}', '{"a": 1, "a": 1}', "{", "[1]", '{"a": tru}', '{"a": 01}',
            f'{{"b": {LONG}}}']),
    ),
    max_size=8,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_column_is_that_of_the_rows(tmp_path_factory, lines, end, ended):
    """Whatever the lines hold: a column, and every second of its values, is what the rows say, None where one cannot be
    read.
    """
    path = tmp_path_factory.getbasetemp() / "law.jsonl"
    path.write_bytes((end.join(['{"c": 0}', *lines]) + end * ended).encode())
    source = open_source(path)
    held = [line for line in ['{"c": 0}', *lines] if line.strip()]
    assert len(source) == len(held)
    found = []
    for i, line in enumerate(held):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        try:
            found.append(source[i])
            assert str(found[-1]) == str({k: None if v != v else v for k, v in row.items()})
        except DataError:
            assert not isinstance(row, dict) or '"a": 1, "a": 1' in line
            found.append({})
    for step in (1, 2):
        assert str(columns(source, "cab", step)) == str([[row.get(name) for row in found[::step]] for name in "cab"])


def test_a_file_that_changes_under_a_task_says_so(tmp_path):
    for name, content in (("a.csv", "a,b\n" + "".join(f"zero {i},{i}\n" for i in range(100))),
        ("a.jsonl", f"{GOOD}\n" * 9)):  # fmt: skip
        source = opened(tmp_path, name, content)
        assert source[5]
        (tmp_path / name).write_text(content[:-1])
        for read in (lambda s: s[5], lambda s: s.column("b")):
            with pytest.raises(DataError, match=f"{name} has changed since it was opened"):
                read(source)


# --- one JSON list ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (f'{{"q": {LONG}}}', "a.json, line 4: .*4300 digits"),
        ('{"q": 1, "q": 2}', "a.json, line 4: two fields of one object are named 'q'"),
        (b'{"q": "\xe9"}', r"a.json, line 4: not UTF-8 \(byte 0xe9\)"),
        ("7", "a row of a.json is a int: 7"),
    ],
)
def test_what_is_wrong_with_an_element_is_that_rows(tmp_path, element, message):
    element = element if isinstance(element, bytes) else element.encode()
    content = b' [\n{"q": "\\udce9 \xc3\xa9"}\n,\n' + element + b' ,\r\n{"q": [1, {"b": "]"}]} ] \n'
    source = opened(tmp_path, "a.json", content)
    assert len(source) == 3
    assert source[0] == {"q": "\udce9 é"}
    assert source[2] == {"q": [1, {"b": "]"}]}
    with pytest.raises(DataError, match=message):
        source[1]
    assert source.column("q") == ["\udce9 é", None, [1, {"b": "]"}]]


def test_a_file_that_is_no_json_list(tmp_path):
    for content, message in (
        ("[{}, ]", "a.json is not JSON"),
        (f'[{{"q": {LONG}}}', "a.json is not JSON"),
        (f'[{{"q": {LONG}}}] 1', "a.json is not JSON: no end of the list"),
        (f'[{{"q": {LONG}}}, {{"q": 1, ]', "a.json is not JSON"),
        (f'{{"q": {LONG}}}', "a.json is not JSON: no list"),
        (b"\xff\xff", "a.json is not JSON"),
        ("[" * 100_000, "a.json is not JSON"),
    ):
        with pytest.raises(DataError, match=message):
            opened(tmp_path, "a.json", content)
    assert rows(opened(tmp_path, "a.json", '\ufeff[{"a": 1}]')) == [{"a": 1}]
    assert rows(opened(tmp_path, "a.json", '[{"a": "é"}]'.encode("utf-16"))) == [{"a": "é"}]


# --- CSV --------------------------------------------------------------------------------------------------------------

FORMS = {
    "comma": ("a,b\n1,2\n", [{"a": "1", "b": "2"}]),
    "semicolon": ("a;b\n1,5;2\n", [{"a": "1,5", "b": "2"}]),
    "tab": ("a\tb\n1,5\t2;3\n", [{"a": "1,5", "b": "2;3"}]),
    "bar": ("a|b\n1|2\n", [{"a": "1", "b": "2"}]),
    "semicolon behind quotes": ('"a;b";"c"\n"1";2\n', [{"a;b": "1", "c": "2"}]),
    "comma behind quotes": ('"a;b;c","d"\n1,2\n', [{"a;b;c": "1", "d": "2"}]),
    "tab behind quotes": ('"a,b"\t"c,d"\n"1\t2"\t3\n', [{"a,b": "1\t2", "c,d": "3"}]),
    "bar behind quotes": ('"a;b"|"c,d"\n1|2\n', [{"a;b": "1", "c,d": "2"}]),
    "a quote in a quoted name": ('"a "";"" b";c\n1;2\n', [{'a ";" b': "1", "c": "2"}]),
    "a break in a quoted name": ('"a,\nb";c\n1;2\n', [{"a,\nb": "1", "c": "2"}]),
    "names with commas, unquoted": ("a, b;c;d\n1;2;3\n", [{"a, b": "1", "c": "2", "d": "3"}]),
    "names with bars": ("a|b,c\n1,2\n", [{"a|b": "1", "c": "2"}]),
    "names with semicolons": ("id,a;b\n1,x; y\n", [{"id": "1", "a;b": "x; y"}]),
    "decimal commas": ("n;m;o\n1,5;2,5;3\n2;3;4\n",
        [{"n": "1,5", "m": "2,5", "o": "3"}, {"n": "2", "m": "3", "o": "4"}]),
    "one column": ("text\nplain\n", [{"text": "plain"}]),
    "one column of sentences": ("text\nwell; so\nno | yes\n", [{"text": "well; so"}, {"text": "no | yes"}]),
    "one column in quotes": ('"text"\n"well, so"\n', [{"text": "well, so"}]),
    "one column, a mark in its name": ("yes|no\nplain\n", [{"yes|no": "plain"}]),
    "one column, a comma in its quoted name": ('"a,b"\n1\n', [{"a,b": "1"}]),
    "sep= semicolon": ("sep=;\na,b;c\n1;2\n", [{"a,b": "1", "c": "2"}]),
    "sep= comma": ("sep=,\r\na;b,c;d\r\n1,2\r\n", [{"a;b": "1", "c;d": "2"}]),
    "SEP= tab": ("SEP=\t\na\tb\n1\t2\n", [{"a": "1", "b": "2"}]),
    "sep= of its own": ("sep=^\na^b\n1^2\n", [{"a": "1", "b": "2"}]),
    "a byte order mark": ("\ufeffa;b\n1;2\n", [{"a": "1", "b": "2"}]),
    "a mark before quotes": ('\ufeff"a;b";c\n\ufeff1;2\n', [{"a;b": "\ufeff1", "c": "2"}]),
    "a mark before sep=": ("\ufeffsep=;\na;b\n1;2\n", [{"a": "1", "b": "2"}]),
    "empty lines": ("\n\na,b\n\n1,2\n\r\n\n3,4\n\n", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
    "old line ends": ("a;b\r1;2\r\r3;4", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
    "line ends of all kinds": ("a,b\r\n1,2\n3,4\r5,6",
        [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}, {"a": "5", "b": "6"}]),
    "breaks of all kinds in quotes": ('a,b\r\n"1\r2","3\r\n4\n"\r\n5,6',
        [{"a": "1\r2", "b": "3\r\n4\n"}, {"a": "5", "b": "6"}]),
    "spaces kept": ("a, b\n 1 ,\t2 \n", [{"a": " 1 ", " b": "\t2 "}]),
    "quotes inside": ('a,b\n"x ""y"" z","""1"""\n5\' 6",6"\n',
        [{"a": 'x "y" z', "b": '"1"'}, {"a": "5' 6\"", "b": '6"'}]),
    "empty cells": ('a,b,c\n,"",x\n', [{"a": None, "b": None, "c": "x"}]),
    "what other libraries take for missing": ("a,b\nNA,null\nnan,None\n",
        [{"a": "NA", "b": "null"}, {"a": "nan", "b": "None"}]),
    "codes": ("a,b,c\n007,12e4,1_000\n", [{"a": "007", "b": "12e4", "c": "1_000"}]),
    "NUL and other rare characters": ("a,b\nx\0y,\x1c\u2028\x85\x0b\n", [{"a": "x\0y", "b": "\x1c\u2028\x85\x0b"}]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_csv_is_read_as_it_was_meant(tmp_path, form):
    text, expected = FORMS[form]
    source = opened(tmp_path, "a.csv", text)
    assert rows(source) == expected
    for name in expected[0]:
        assert source.column(name) == [row[name] for row in expected]
    assert columns(source, list(expected[0]), 2) == [[row[n] for row in expected[::2]] for n in expected[0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a;b;c\n1;2\n", r"a.csv, line 2: 2 cells; expected 3, as in the header \(separated by ';'\)"),
        ("a;b\n1;2;3\n", "a.csv, line 2: 3 cells; expected 2"),
        ("a,b\n1,5;2\n1;2\n", "a.csv, line 3: 1 cells; expected 2, as in the header$"),
        ("sep=;\na;b\n1\n", "a.csv, line 3: 1 cells"),
        ('a;b\n"1;2\n3;4\n', "a.csv, line 2: unexpected end of data"),
        ('a;b\n"1"x;2\n', "a.csv, line 2: ';' expected after '\"'"),
        ("a;a\n1;2\n", "a.csv, line 1: two columns are named 'a'"),
        ("a,b\n1,2\n".encode("utf-16"), "a.csv is UTF-16; expected UTF-8 text: save it anew"),
        ("a,b\n1,2\n".encode("utf-16-be"), "a.csv is UTF-16"),
        ("a,b\n1,ß\n".encode("latin1"), "a.csv, line 2: not UTF-8"),
        ("a;b\n", "the data set is empty: a.csv"),
        ("sep=;\n", "the data set is empty: a.csv"),
    ],
)
def test_a_csv_that_cannot_be_meant(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        opened(tmp_path, "a.csv", text)


CELL = st.one_of(st.text(max_size=6), st.text(',;\t|"\r\n a1=', max_size=8))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_what_the_csv_module_writes_is_read(tmp_path_factory, data, mark, end, all_quoted):
    """A table of two columns or more, of any texts, whatever separates cells and ends lines: its texts; "" is None.

    Names are words: a name may hold marks as well, and then which was meant is known only where it stands in quotes.
    """
    names = data.draw(st.lists(st.sampled_from(["a", "b c", "Größe", "x;y|z,\t"]), min_size=2, max_size=4, unique=True))
    cells = st.lists(
        CELL.filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)), min_size=len(names), max_size=len(names)
    )
    table = data.draw(st.lists(cells, max_size=4))
    out = io.StringIO()
    broken = any(mark in cell for row in table for cell in row for mark in "\r\n")  # csv.writer leaves a lone \r bare
    quoting = csv.QUOTE_ALL if all_quoted or broken or "x;y|z,\t" in names else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=mark, lineterminator=end, quoting=quoting)
    writer.writerows([names, *table])
    path = tmp_path_factory.getbasetemp() / "law.csv"
    path.write_bytes(out.getvalue().encode())
    expected = [dict(zip(names, (cell or None for cell in row), strict=True)) for row in table]
    if not expected:
        with pytest.raises(DataError, match="is empty"):
            open_source(path)
        return
    source = open_source(path)
    assert rows(source) == expected
    assert [source.column(name) for name in names] == [[row[name] for row in expected] for name in names]


def test_other_libraries_read_the_same(tmp_path):
    text = 'id;"a;b";note\n007;"x ""y""";1,5\n12e4;"two\nlines"; z \n'
    source = opened(tmp_path, "a.csv", text)
    frame = pandas.read_csv(tmp_path / "a.csv", sep=";", dtype=str, keep_default_na=False)
    assert frame.to_dict("records") == rows(source)
    parse = pyarrow.csv.ParseOptions(delimiter=";", newlines_in_values=True)
    convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(("id", "a;b", "note"), pyarrow.string()))
    assert pyarrow.csv.read_csv(tmp_path / "a.csv", parse_options=parse,
        convert_options=convert).to_pylist() == rows(source)  # fmt: skip


# --- TSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tsv_has_no_quotes(tmp_path, end):
    lines = [
        'te"xt\tlabel',
        '"It was fine\t1',
        "no plot\t",
        '"a ""b"" c"\t"0"',
        '"\t""',
        "x;y,z|\t 0 ",
        "",
        'classic"\t0',
    ]
    expected = [
        ('"It was fine', "1"), ("no plot", None), ('"a ""b"" c"', '"0"'), ('"', '""'), ("x;y,z|", " 0 "),
        ('classic"', "0")
    ]  # fmt: skip
    source = opened(tmp_path, "a.tsv", end.join(lines))
    assert rows(source) == [{'te"xt': text, "label": label} for text, label in expected]
    assert source.column('te"xt') == [text for text, _ in expected]


def test_quotes_that_were_meant_in_a_tsv(tmp_path):
    """pandas quotes a cell with a tab or a line break, and TSV as IANA has it can hold neither."""
    advice = "expected 2, as in the header; a .tsv has no quotes, so no tab or line break in a cell: write a .csv or"
    for cell, line in (("x\ty", "line 2: 3 cells"), ("x\ny", "line 2: 1 cells")):
        pandas.DataFrame({"a": [cell], "b": ["z"]}).to_csv(tmp_path / "a.tsv", sep="\t", index=False)
        with pytest.raises(DataError, match=f"a.tsv, {line}; {advice}"):
            open_source(tmp_path / "a.tsv")
    with pytest.raises(DataError, match=r"a\.tsv is UTF-16"):
        opened(tmp_path, "a.tsv", "a\tb\n1\t2\n".encode("utf-16"))


# --- labels, lengths and texts in one pass ----------------------------------------------------------------------------


def test_a_pass_reads_each_row_once(tmp_path, monkeypatch):
    content = "".join(json.dumps({"q": f"row {i}", "y": f"label {i % 7}"}) + "\n" for i in range(50_001))
    source = opened(tmp_path, "a.jsonl", content)
    passes = []
    pieces = type(source)._pieces
    monkeypatch.setattr(type(source), "_pieces", lambda self, names: passes.append(names) or pieces(self, names))
    task = Task("t", "[TEXT:q] -> [CATEGORY:y]", source)
    assert task.labels == {"y": tuple(f"label {i}" for i in range(7))}
    assert task.lengths().tolist() == [len(f"row {i}") for i in range(50_001)]
    texts = [text for text in task.texts() if text.startswith("row")]
    assert texts == [f"row {i}" for i in range(0, 50_001, 3)]
    assert passes == [["y", "q"]]
    other = Task("t", "[TEXT:q] -> [CATEGORY:y]", source, closed_set=["label 0"])
    assert np.array_equal(other.lengths(), task.lengths())
    assert passes[1:] == [["q"]]


def test_a_rare_label_is_a_label(tmp_path):
    """Labels are those of all rows: a label that stands in one of many is not passed over."""
    content = "y,q\n" + "".join(f"{'rare' if i == 77_777 else 'often'},a\n" for i in range(100_000))
    task = Task("t", "[TEXT:q] -> [CATEGORY:y]", opened(tmp_path, "a.csv", content))
    assert task.labels == {"y": ("often", "rare")}


@pytest.mark.skipif(sys.get_int_max_str_digits() == 0, reason="integers of any length are read")
@pytest.mark.parametrize("odd", [10**5000, "\ud83d", {"a": 1}, [["x"]], 2.5j, b"x"], ids=range(6))
def test_odd_values_in_memory_are_no_labels_and_no_text(odd):
    data = [{"q": "a", "y": "b"}, {"q": odd, "y": odd}]
    task = Task("t", "[TEXT:q] -> [CATEGORY:y]", data)
    assert task.labels == {"y": ("b",)}
    assert len(task.lengths()) == 2
    assert set(task.texts()) == {"a", "b"}
