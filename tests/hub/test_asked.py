"""What may be given as data to answer: rows in any form, and values alone of a line that needs one column."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofasys.errors import ConfigError, DataError, LoadingError
from ofasys.hub import OFASys
from ofasys.modality import default_registry
from ofasys.task.source import open_source
from ofasys.types import TaskCard
from tests.hub import kinds

SORT, CAPTION, TWO = "head", "caption", "entail"


@pytest.fixture(scope="module")
def model(tiny):
    return OFASys(
        tiny.model(),
        [
            TaskCard(n, (str(p.instruction),), tiny.SETTINGS if "IMAGE" in p.instruction else {}, tiny.LABELS)
            for n, p in tiny.plans().items()
        ],
    )


@pytest.fixture(scope="module")
def ask(model, tiny):
    return lambda name, data, **more: model.inference(
        tiny.INSTRUCTIONS[name], data, **({"max_length": 4} if name == CAPTION else {}) | more
    )


@pytest.fixture(scope="module")
def expected(ask):
    """The answers to three texts, asked as dicts."""
    return ask(SORT, [{"question": text} for text in "abc"])


def frames():
    import datasets
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    values = {"question": list("abc")}
    data = datasets.Dataset.from_dict(values)
    return {
        "pandas": pd.DataFrame(values),
        "polars": pl.DataFrame(values),
        "pyarrow": pa.table(values),
        "datasets": data,
        "datasets stream": data.to_iterable_dataset(),
        "series": pd.Series(values["question"]),
        "array of texts": np.array(values["question"]),
        "list of values": values["question"],
        "tuple": tuple(values["question"]),
        "generator of rows": ({"question": text} for text in "abc"),
        "generator of values": iter("abc"),
        "map": map(str, "abc"),
        "lines": io.StringIO("a\nb\nc\n"),
        "lines of JSON": io.StringIO('{"question": "a"}\r\n{"question": "b"}\nc'),
    }


@pytest.mark.parametrize("kind", list(frames()))
def test_rows_in_any_form_have_the_same_answers(ask, expected, kind):
    found = ask(SORT, frames()[kind])
    assert found == expected
    assert [out.score for out in found] == pytest.approx([out.score for out in expected])


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".feather"])
def test_files_of_rows(ask, expected, tmp_path, suffix):
    import pandas as pd

    path, frame = tmp_path / f"rows{suffix}", pd.DataFrame({"question": list("abc")})
    {
        ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        ".json": lambda: frame.to_json(path, orient="records"),
        ".csv": lambda: frame.to_csv(path, index=False),
        ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".parquet": lambda: frame.to_parquet(path),
        ".feather": lambda: frame.to_feather(path),
    }[suffix]()
    assert ask(SORT, path) == ask(SORT, str(path)) == ask(SORT, open_source(path)) == expected


@pytest.fixture
def pictures(tiny, tmp_path):
    (tmp_path / "pics" / "more").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.png", "more/c.png")):
        Image.fromarray(tiny.picture(seed=i)).save(tmp_path / "pics" / name)
    return tmp_path / "pics"


def test_pictures(ask, tiny, pictures):
    one = ask(CAPTION, {"img": tiny.picture()})
    path = pictures / "a.png"
    for value in (str(path), path, Image.open(path), tiny.picture(), path.read_bytes()):
        assert ask(CAPTION, value) == one
    every = ask(CAPTION, [{"img": tiny.picture(seed=i)} for i in range(3)])
    assert ask(CAPTION, pictures) == ask(CAPTION, str(pictures)) == every  # the column of a folder is `image`
    assert [out.data["path"] for out in ask(CAPTION, pictures)] == ["a.png", "b.png", "more/c.png"]
    assert ask(CAPTION, [str(path), Image.open(pictures / "b.png")]) == every[:2]


def test_paths_in_rows_start_at_the_folder_of_their_file(ask, pictures):
    rows = pictures.parent / "rows.csv"
    rows.write_text("img\npics/a.png\npics/b.png\n")
    assert ask(CAPTION, rows) == ask(CAPTION, [pictures / "a.png", pictures / "b.png"])
    with pytest.raises(DataError, match=r"no file 'pics/a.png'.*sample 'row 0 of rows.csv'"):
        ask(CAPTION, rows, root=pictures)


def test_a_text_is_a_text_unless_its_suffix_says_a_file_of_rows(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    assert ask(SORT, "docs") == ask(SORT, {"question": "docs"})
    for text in ("a.png", "what is it?", "two\nlines.csv"):
        assert ask(SORT, text) == ask(SORT, {"question": text})
    with pytest.raises(
        DataError, match=r"no file 'it.csv'; expected a file of rows, as .csv says; .*'question': 'it.csv'"
    ):
        ask(SORT, "it.csv")
    with pytest.raises(DataError, match=r"no file 'it'; expected a file of rows, as a path says"):
        ask(SORT, Path("it"))


def test_a_file_that_may_be_rows_or_one_value_is_not_guessed(tmp_path):
    from ofasys.hub.asked import asked_for

    path = tmp_path / "t.csv"
    path.write_text("table,x\n1,2\n")
    line = "[STRUCT:table] what? -> [TEXT:a]"
    with pytest.raises(ConfigError, match=r"may be a file of rows, and may be one value of 'table'.*open_source"):
        asked_for(line, str(path), default_registry())
    (row,) = [row for _, row in asked_for(line, open_source(path), default_registry()).rows]
    assert row == {"table": "1", "x": "2"}


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (TWO, "a", "data is a str, 'a'; expected a dict with sent1, sent2.*or the path of a file of rows"),
        (TWO, b"a", "data is a bytes; expected a dict with sent1, sent2"),
        (TWO, 3, "data is a int; expected a dict with sent1, sent2, or a list of them"),
        (TWO, [("a", "b")], "a row is a tuple.*sample 'row 0'.*expected a dict with sent1, sent2"),
        (TWO, iter([{"sent1": "a"}]), "the column is missing.*sample 'row 0'"),
        (SORT, ["a", None], "a row is a NoneType 'None' .sample 'row 1'.; expected a dict with question, or the value"),
        (SORT, object(), "data is a object; expected a dict with question, or the value of 'question' alone"),
        ("language", ["a"], "a row is a str 'a'.*expected a dict with no column"),
        ("many", ["a"], "a row is a str 'a' .sample 'row 0'.; expected a dict with hint"),
    ],
)
def test_what_is_no_data(ask, name, data, says):
    with pytest.raises(DataError, match=says):
        ask(name, data)


def test_a_stream_that_fails_says_after_how_many(ask):
    def rows():
        yield "a"
        raise RuntimeError("the line was cut")

    with pytest.raises(DataError, match="the generator raised RuntimeError after 1 rows: the line was cut"):
        ask(SORT, rows())


def test_answers_come_a_batch_at_a_time(model, tiny, expected):
    read = []

    def rows():
        for text in "abc":
            read.append(text)
            yield text

    answers = model.answers(tiny.INSTRUCTIONS[SORT], rows(), batch_size=2)
    assert not read
    assert next(answers) == expected[0]
    assert read == ["a", "b"]
    assert list(answers) == expected[1:]
    assert list(model.answers(tiny.INSTRUCTIONS[SORT], "a")) == expected[:1]


def test_errors_of_the_call_are_raised_at_once(model, tiny):
    line = tiny.INSTRUCTIONS[SORT]
    for more, says in (
        ({"beam": 2}, "no option 'beam'"),
        ({"on_bad": "skp"}, "on_bad is 'skp'; did you mean skip"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5; it is a whole number"),
        ({"first": -1}, "first is -1"),
        ({"closed_set": {"x": ["a"]}}, "closed_set names 'x'"),
    ):
        with pytest.raises(ConfigError, match=says):
            model.answers(line, iter(()), **more)
        with pytest.raises(ConfigError, match=says):
            model.inference(line, [], **more)


def test_bad_rows_are_left_out_where_that_was_asked(ask, expected, tmp_path, caplog):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"question": text}) + "\n" for text in ("a", None, "c")))
    with pytest.raises(DataError, match=r"missing.*sample 'row 1 of rows.jsonl'"):
        ask(SORT, rows)
    with caplog.at_level(logging.WARNING, logger="ofasys"):
        first, bad, last = ask(SORT, rows, on_bad="skip", batch_size=2)
    assert "1 of 3 rows could not be used and have no answer; first: the value is missing" in caplog.text
    assert [first, last] == [expected[0], expected[2]]
    assert "row 1 of rows.jsonl" in str(bad.error)
    assert first.error is None
    assert ask(SORT, {"question": None}, on_bad="skip").error is not None
    every = ask(SORT, [None, [3]], on_bad="skip")
    assert [out.error is None for out in every] == [False, False]


def test_what_is_drawn_depends_on_the_number_of_the_row_alone(ask):
    rows = [{"question": text} for text in "abcdef"]
    whole = ask("two", rows, sampling=True, seed=3, max_length=12)
    skipped = ask("two", [rows[0], {}, *rows[2:]], sampling=True, seed=3, max_length=12, on_bad="skip", batch_size=3)
    assert [a == b for a, b in zip(whole, skipped, strict=True)] == [True, False, True, True, True, True]


@pytest.mark.slow
def test_frames_and_files_are_embedded():
    import pandas as pd

    line, model = kinds.LINES["match"], kinds.model()
    rows = [{"t": "one"}, {"t": "two"}]
    assert np.allclose(model.embed(line, pd.DataFrame(rows))["t"], model.embed(line, rows)["t"])
    with pytest.raises(DataError, match=r"a row is a str 'one'.*sample 'row 0'"):
        model.embed(line, ["one"])


def test_a_file_that_changes_is_no_bad_row(model, tiny, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question\n" + "".join(f"what is {i}\n" for i in range(10, 20)))
    answers = model.answers(tiny.INSTRUCTIONS[SORT], path, on_bad="skip", batch_size=1)
    next(answers)
    path.write_text(path.read_text().replace("10", "1"))
    with pytest.raises(LoadingError, match="has changed"):
        list(answers)
