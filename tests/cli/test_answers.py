"""Files of answers: what stands in them, whatever the rows and the answers are; and what becomes of what is bad."""

import csv
import json
import math
import re
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from ofasys import OFASys
from ofasys.cli.answering import Answering
from ofasys.cli.answers import AnswerFile
from ofasys.cli.infer import closed_set_of
from ofasys.cli.main import app
from ofasys.cli.progress import EVERY, Progress
from ofasys.cli.serve import read_keys
from ofasys.errors import ConfigError
from ofasys.program.decoding import Decoding
from ofasys.task.source import open_source

RECORDS = [
    {"row": 0, "n": 1, "x": 0.5, "t": "=1+1", "box": [1.0, 2.0], "p": {"a": 0.25, "b": 0.75}, "odd": 1, "ok": True},
    {"row": 1, "n": None, "x": 2, "t": 'é, "x"\ny', "box": [], "p": None, "odd": "one", "ok": False, "late": ["z"]},
    {"row": 2, "n": 2**60, "x": math.nan, "t": None, "box": [3.0], "p": {"a": 1.0}, "odd": [None], "ok": None},
]


def write(path):
    with AnswerFile(path) as file:
        for record in RECORDS:
            file.add(record)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_json_lines(tmp_path):
    write(tmp_path / "a.jsonl")
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert found[:2] == RECORDS[:2]
    assert found[2] == {**RECORDS[2], "x": None}


@pytest.mark.parametrize(("suffix", "between"), [(".csv", ","), (".tsv", "\t")])
def test_csv_as_a_spreadsheet_takes_it(tmp_path, suffix, between):
    write(tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes().startswith(b"\xef\xbb\xbfrow")  # it is not all ASCII
    with (tmp_path / f"a{suffix}").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=between))
    assert list(rows[0]) == ["row", "n", "x", "t", "box", "p", "odd", "ok", "late"]
    assert rows[0]["t"] == "=1+1"
    assert rows[1]["t"] == RECORDS[1]["t"]
    assert json.loads(rows[0]["p"]) == RECORDS[0]["p"]
    assert [row["ok"] for row in rows] == ["true", "false", ""]
    assert [row["n"] for row in rows] == ["1", "", str(2**60)]


def test_parquet_has_types(tmp_path):
    write(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert (kinds["n"], kinds["x"], kinds["t"], kinds["ok"], kinds["odd"]) == (
        "int64",
        "double",
        "string",
        "bool",
        "string",
    )
    assert kinds["box"].startswith("list<")
    assert kinds["p"].startswith("map<string, double")
    assert table.column("odd").to_pylist() == ["1", "one", "[null]"]
    assert table.column("box").to_pylist() == [[1.0, 2.0], [], [3.0]]
    assert table.column("n").to_pylist() == [1, None, 2**60]
    assert table.column("late").to_pylist() == [None, ["z"], None]


@pytest.mark.parametrize(("suffix", "between"), [(".csv", ","), (".tsv", "\t")])
def test_no_character_of_a_cell_ends_a_line(tmp_path, suffix, between):
    """The writer of Python before 3.11.9 leaves a lone carriage return without quotes, and readers end a line there."""
    cells = ["a\rb", "\r", "c\r\n", "\n", "d,\te", 'f"', '"g', "h\u2028", ""]
    with AnswerFile(tmp_path / f"a{suffix}") as file:
        for number, cell in enumerate(cells):
            file.add({"row": number, "text": cell})
    with (tmp_path / f"a{suffix}").open(encoding="utf-8-sig", newline="") as made:
        rows = list(csv.reader(made, delimiter=between))
    assert rows == [["row", "text"], *([str(number), cell] for number, cell in enumerate(cells))]
    assert (tmp_path / f"a{suffix}").read_bytes().startswith(f"\ufeffrow{between}text\n0{between}".encode())


def test_what_is_written_is_read_back(tmp_path):
    """By our own reader, to which a .tsv has no quotes: unless it holds tabs, line breaks, or begins with a quote."""
    cells = ["a, b", 'c "d"', "e'", "f\u2028", " g ", '{"h": [1, "i"]}', "ü"]
    for suffix in (".csv", ".tsv"):
        with AnswerFile(tmp_path / f"a{suffix}") as file:
            for cell in cells:
                file.add({"text": json.loads(cell) if cell.startswith("{") else cell, "n": 1})
        source = open_source(tmp_path / f"a{suffix}")
        assert [source[number]["text"] for number in range(len(source))] == cells


def test_one_file_is_written_by_one_command(tmp_path):
    path = tmp_path / "a.jsonl"
    first, second = AnswerFile(path, "asked"), AnswerFile(path, "asked")
    with first:
        first.add({"row": 0})
        with pytest.raises(ConfigError, match=r"a\.jsonl is being written by another command; wait for its end"):
            second.__enter__()
        first.add({"row": 1})
    assert path.read_text() == '{"row": 0}\n{"row": 1}\n'
    with second:
        second.add({"row": 2})
    assert path.read_text() == '{"row": 2}\n'


def test_what_another_question_left_is_put_aside(tmp_path):
    """And nothing takes it for its own later, rows that cannot be told either."""
    path = tmp_path / "a.jsonl"
    with pytest.raises(KeyboardInterrupt):
        interrupted(AnswerFile(path, "one"), [{"row": "one"}])
    piped = AnswerFile(path)
    with pytest.raises(KeyboardInterrupt):
        interrupted(piped, [{"row": "piped"}])
    assert piped.put_aside == tmp_path / "a.jsonl.part.before"
    assert piped.put_aside.read_text() == '{"row": "one"}\n'
    again = AnswerFile(path, "one")
    with again:
        assert again.count == 0
        again.add({"row": "new"})
    assert path.read_text() == '{"row": "new"}\n'


def interrupted(file, records):
    with file:
        for record in records:
            file.add(record)
        raise KeyboardInterrupt


def test_what_was_written_stays_when_it_stops(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    file = AnswerFile(path)
    with pytest.raises(KeyboardInterrupt):
        interrupted(file, [{"row": 0}])
    assert path.read_text() == "before"
    assert file.part.read_text() == '{"row": 0}\n'
    with pytest.raises(KeyboardInterrupt):
        interrupted(file, [])
    assert not file.part.exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_said_every_so_often(capsys, terminal):
    now = [0.0]
    with Progress(100, lambda: now[0], terminal) as progress:
        for i in range(4):
            now[0] += EVERY / 2
            progress.add(good=i != 1)
    said = capsys.readouterr().err
    last = "4 of 100 rows, 0.1 a second, 0:24:00 left, 1 bad"
    if terminal:
        assert last in said
        assert said.endswith("\r")
    else:
        assert said.splitlines() == ["2 of 100 rows, 0.1 a second, 0:24:30 left, 1 bad", last]


# --- infer -----------------------------------------------------------------------------------------------------------


def records(trained, path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_labels_with_all_their_probabilities(trained, tmp_path):
    out = tmp_path / "a.jsonl"
    trained.ok(
        "infer",
        "runs/run",
        "entailment",
        "--data",
        "data/nli.csv",
        "--out",
        str(out),
        "--probabilities",
        "--n-best",
        "2",
    )
    found = records(trained, out)
    assert [each["row"] for each in found] == list(range(9))
    assert found[1]["a"] == "red"
    assert found[1]["input_label"] == "no"  # the answer is called as the column of the rows is
    for each in found:
        assert set(each["probabilities"]) == {"yes", "no"} == {each["label"], each["label_2"]}
        assert sum(each["probabilities"].values()) == pytest.approx(1)
        assert each["probability"] == pytest.approx(each["probabilities"][each["label"]])
        assert each["probability"] >= each["probability_2"]
        assert each["error"] is None


@pytest.mark.slow
def test_only_some_columns(trained, tmp_path):
    out = tmp_path / "a.csv"
    trained.ok("infer", "runs/run", "entailment", "--data", "data/nli.csv", "--out", str(out), "--columns", "b")
    assert out.read_text().splitlines()[0] == "row,b,label,score,probability,error"
    said = trained("infer", "runs/run", "entailment", "--data", "data/nli.csv", "--out", str(out), "--columns", "bb")
    assert said.exit_code == 2
    assert "--columns names 'bb', which data/nli.csv has not; did you mean b? it has a, b, label" in said.stderr


@pytest.mark.slow
def test_a_bad_row_says_so_in_the_file_and_the_others_are_answered(trained, tmp_path):
    red = str(trained.folder / "data" / "red.png")
    lines = [json.dumps({"img": name, "cap": "x"}) for name in (red, "no.png", red, red)]
    rows = trained.write(str(tmp_path / "rows.jsonl"), "\n".join(lines) + "\n")
    out = tmp_path / "a.jsonl"
    done = trained("infer", "runs/run", "caption", "--data", str(rows), "--out", str(out), "--batch-size", "3")
    assert done.exit_code == 3
    found = records(trained, out)
    assert [each["cap"] is None for each in found] == [False, True, False, False]
    assert [each["error"] is None for each in found] == [True, False, True, True]
    assert f"no file 'no.png' (slot 'IMAGE:img', column 'img', sample 'row 1 of {rows}')" in found[1]["error"]
    assert found[0]["cap"] == found[2]["cap"]
    assert found[0]["input_cap"] == "x"
    assert "1 of 4 rows could not be answered, why is in column 'error'; the first: no file" in done.stderr
    done = trained(
        "infer", "runs/run", "caption", "--data", str(rows), "--out", str(out), "--on-bad", "stop", "--batch-size", "1"
    )
    assert done.exit_code == 2
    assert f"stopped; 1 answer so far are in {out}.part" in done.stderr
    assert len(records(trained, out)) == 4  # what was there stays
    bad = trained.write(str(tmp_path / "bad.jsonl"), lines[1] + "\n")
    assert "could be answered" in trained.wrong("infer", "runs/run", "caption", "--data", str(bad), "--out", str(out))
    done = trained("infer", "runs/run", "caption", "--data", str(rows), "--on-bad", "skip", "--json")
    assert done.exit_code == 3
    assert [list(json.loads(line)) for line in done.stdout.splitlines()] == [["cap"], ["error"], ["cap"], ["cap"]]


@pytest.mark.slow
def test_rows_of_a_folder_a_pattern_and_standard_input(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.folder)
    one = trained.ok("infer", "runs/run", "caption", "img=data/red.png").strip()
    out = tmp_path / "a.jsonl"
    trained.ok("infer", "runs/run", "caption", "--data", "data", "--out", str(out))
    found = {each["path"]: each["cap"] for each in records(trained, out)}
    assert set(found) == {"red.png", "green.png", "blue.png"}
    assert " ".join(found["red.png"].splitlines()) == one
    assert trained.ok("infer", "runs/run", "caption", "img=data/r*.png").strip() == one
    assert "no file fits img=data/x*.png" in trained.wrong("infer", "runs/run", "caption", "img=data/x*.png")

    def asked(text, *words):
        return CliRunner().invoke(app, ["infer", "runs/run", *words], input=text)

    assert asked("data/red.png\n\n", "caption", "--data", "-").stdout.strip() == one
    assert asked('{"img": "data/red.png"}\n', "caption", "--data", "-").stdout.strip() == one
    assert len(asked("red\nblue\n", "entailment", "a=-", "b=red").stdout.splitlines()) == 2
    empty = asked("\n", "caption", "--data", "-")
    assert (empty.exit_code, "standard input holds no row" in empty.stderr) == (2, True)
    said = asked("red\n", "entailment", "--data", "-")
    assert said.exit_code == 2
    assert "this instruction has 2: a, b; give a JSON object a line" in said.stderr
    bad = asked('{"img": "data/red.png"}\nx\n', "caption", "--data", "-", "--out", str(out))
    assert bad.exit_code == 3
    assert "the line is not JSON" in records(trained, out)[1]["error"]


def test_a_question_mark_in_a_text_is_no_pattern(trained, tmp_path):
    """Two texts with one each, and a text beside rows of a file."""
    alone = json.loads(trained.ok("infer", "runs/run", "entailment", "a=is it red?", "b=red, or [blue]?", "--json"))
    assert alone["label"] in ("yes", "no")
    out = tmp_path / "a.jsonl"
    trained.ok("infer", "runs/run", "entailment", "--data", "data/nli.csv", "b=red?*", "--out", str(out))
    assert {each["b"] for each in records(trained, out)} == {"red?*"}
    both = trained.wrong("infer", "runs/run", "caption", "img=data/r*.png", "--data", "data/captions.jsonl")
    assert "rows come from 2 places; give one" in both
    many = trained.wrong("infer", "runs/run", "caption", "img=data/r*.png", "--out", str(tmp_path / "a.png"))
    assert "answers to many rows are written as .jsonl, .csv, .tsv, .parquet or .txt, not 'a.png'" in many


def test_columns_that_only_some_rows_have(trained, tmp_path):
    rows = [{"a": "red", "b": "red"}, {"a": "red", "b": "blue", "source": "x"}, {"b": "red"}]
    data, out = tmp_path / "rows.jsonl", tmp_path / "a.jsonl"
    asked = ["infer", "runs/run", "entailment", "--data", str(data), "--out", str(out)]
    for first in (rows, rows[::-1]):
        data.write_text("".join(f"{json.dumps(row)}\n" for row in first))
        assert trained(*asked, "--columns", "source").exit_code == 3
        assert [each.get("source") for each in records(trained, out)] == [row.get("source") for row in first]
        said = trained.wrong(*asked, "--columns", "sauce")
        assert "--columns names 'sauce', which" in said
        assert "did you mean source?" in said


def test_times_and_spans_of_time_stand_in_a_file_of_answers(trained, tmp_path):
    span, moment = timedelta(days=1, seconds=5), datetime(2020, 1, 2, 3, 4)
    pq.write_table(pa.table({"a": ["red"], "b": ["red"], "span": [span], "at": [moment]}), tmp_path / "rows.parquet")
    out = tmp_path / "a.jsonl"
    trained.ok("infer", "runs/run", "entailment", "--data", str(tmp_path / "rows.parquet"), "--out", str(out))
    (found,) = records(trained, out)
    assert (found["span"], found["at"]) == ("1 day, 0:00:05", "2020-01-02T03:04:00")


def test_labels_of_a_file_as_windows_saves_it(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("yes\r\nno\r\n".encode("utf-8-sig"))
    assert closed_set_of(f"@{path}") == ["yes", "no"]
    path.write_bytes("café\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"labels\.txt is not UTF-8 text: .* at byte 3; save it as UTF-8"):
        closed_set_of(f"@{path}")
    path.write_bytes("key-of-16-letters\n".encode("utf-8-sig"))
    assert read_keys(path) == ["key-of-16-letters"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--data", "@", "="])
def test_answers_are_not_written_over_what_is_read(tmp_path, how):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n')
    words = {"--data": ["--data", str(path)], "@": [f"@{path}"], "=": [f"text={path}"]}[how]
    found = CliRunner().invoke(
        app, ["infer", "no-run", "task", *words, "--out", str(tmp_path / ".." / tmp_path.name / path.name)]
    )
    assert found.exit_code == 2
    assert "is the file that is read, and would be lost" in found.output
    assert path.read_text() == '{"text": "a"}\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["captoin", "img=data/red.png"],
         "no task 'captoin' in this run; did you mean caption? there are caption, entailment, ground"),
        (["caption", "--data", "data/captions.jsonl", "--out", "data"],
         "--out data is a folder; give the name of a file in it"),
        (["caption", "--data", "data/captions.jsonl", "--out", "run.yaml/a.csv"],
         "--out run.yaml/a.csv cannot be written"),
        (["caption", "--data", "data/captions.jsonl", "--n-best", "2"], "--n-best is of a file of answers"),
        (["caption", "--data", "data/captions.jsonl", "--out", "a.csv", "--n-best", "0"],
         "--n-best is 0; it is 1 or more"),
        (["caption", "--data", "data/captions.jsonl", "--out", "a.csv", "--probabilities"],
         "--probabilities goes with an answer that is one label"),
        (["caption", "--data", "data/captions.jsonl", "--out", "a.csv", "--on-bad", "skp"],
         "--on-bad is 'skp'; did you mean skip? it is skip or stop"),
        (["caption", "img=-", "--data", "data/captions.jsonl"], "rows come from 2 places; give one"),
        (["caption", "img=data/red.png", "--beam-size", "2", "--search", "beam_size=3"],
         "beam_size is 2 and, by --search beam_size=3, another; give it once"),
    ],
)  # fmt: skip
def test_wrong(trained, words, said):
    assert said in trained.wrong("infer", "runs/run", *words)


@pytest.mark.slow
def test_the_tasks_of_a_run(trained):
    found = json.loads(trained.ok("tasks", "runs/run", "--json"))
    assert list(found) == ["caption", "entailment", "ground"]
    assert found["entailment"]["labels"] == {"label": ["yes", "no"]}
    assert found["caption"]["rows"] == {"train": 6}
    assert "exact_match" in found["caption"]["figures"]
    lines = trained.ok("tasks", "runs/run").splitlines()
    assert re.match(r"entailment +accuracy +label: 2 +train 9 +- +can text1", lines[2])
    assert "there is no folder 'nowhere'" in trained.wrong("tasks", "nowhere")
    OFASys.from_pretrained(trained.folder / "runs" / "run").save_pretrained(trained.folder / "kept")
    assert json.loads(trained.ok("tasks", "kept", "--json")) == found


@pytest.mark.slow
def test_a_run_goes_on_with_the_model_of_another(trained, shell):
    text = (shell.folder / "run.yaml").read_text()
    before, rest = text.split("model: &model")
    after = rest[rest.index("trainer:") :]
    run = trained.folder / "runs" / "run"
    shell.write("more.yaml", f"{before}model: {{from: '{run}', which: last}}\n{after}")
    shell.ok("train", "more.yaml", "trainer.max_steps=1")
    resolved = (shell.folder / "runs" / "more" / "run.yaml").read_text()
    assert f"model:\n  from: {run}\n  which: last\n" in resolved
    shell.ok("evaluate", "runs/more", "--task", "caption")
    for override, said in {
        "model.size=small": "size: 'small' does not go with from:",
        "model.text_pieces=9": "text_pieces: 9 does not go with from:",
        "model.from=nowhere": "there is no folder",
        "model.from=3": "from of model is 3; expected the folder of a run or of a saved model",
        f"trainer.out={run}": "which is also where this run is written; give another trainer.out",
    }.items():
        assert said in shell.wrong("train", "more.yaml", override, "--check")
    assert "text_pieces: 8000" in shell.ok("train", "more.yaml", "model=tiny", "trainer.out=runs/other", "--check")
    assert "unknown size 'tny'; did you mean tiny?" in shell.wrong("train", "more.yaml", "model=tny", "--check")


def test_the_spread_of_a_number_stands_beside_it(shell):
    rows = "word,price\n" + "".join(f"w{i},{i % 5}\n" for i in range(20))
    shell.write("prices.csv", rows)
    shell.write(
        "number.yaml",
        "tasks: {price: {instruction: '[TEXT:word] -> [NUMBER:price]', train: prices.csv}}\n"
        "model: {config: {width: 32, heads: 2, ffn: 64, encoder_layers: 1, decoder_layers: 1}}\n"
        "trainer: {max_steps: 2, out: runs/number}\n",
    )
    shell.ok("train", "number.yaml")
    found = json.loads(shell.ok("infer", "runs/number", "price", "word=w1", "--json"))
    assert found.keys() == {"price", "price_spread"}
    shell.ok("infer", "runs/number", "price", "--data", "prices.csv", "--out", "answers.csv")
    with (shell.folder / "answers.csv").open() as file:
        record = next(csv.DictReader(file))
    assert list(record) == ["row", "word", "input_price", "price", "price_spread", "score", "error"]
    assert float(record["price_spread"]) > 0


def ended(file, *given):
    """As sudden as a kill."""
    file.file.close()
    file.lock.close()


@pytest.mark.parametrize(("column", "name"), [("img", "img"), ("a/b", "a%2Fb"), ("..", "..")])
def test_pictures_lie_beside_the_file_whatever_their_column_is_called(shell, column, name):
    (shell.folder / "names.jsonl").write_text('{"name": "cat"}\n')
    line = f'[TEXT:name] -> [IMAGE:"{column}"]'
    shell.ok("infer", "gallery", line, "--data", "names.jsonl", "--out", "answers.jsonl")
    found = json.loads((shell.folder / "answers.jsonl").read_text())[column]
    assert found == f"answers_files/{name}-0.png"
    with Image.open(shell.folder / found) as picture:
        assert picture.format == "PNG"


def stopped_after(shell, monkeypatch, rows, *words):
    """The command is killed when so many rows are written, and a bit of the next."""
    add, written = AnswerFile.add, []

    def killed(self, record):
        if len(written) == rows:
            self.file.write('{"row": 99, "cut o')
            self.file.flush()
            raise KeyboardInterrupt
        written.append(record)
        add(self, record)

    with monkeypatch.context() as patched:
        patched.setattr(AnswerFile, "add", killed)
        patched.setattr(AnswerFile, "__exit__", ended)
        done = shell("infer", "runs/run", *words)
        assert done.exit_code == 130, done.output


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_answers_that_were_cut_off_go_on_where_they_were(trained, tmp_path, monkeypatch, suffix):
    """Drawn at random, with a bad row; no row is there twice or not at all, and all are as in one go."""
    data = tmp_path / "rows.jsonl"
    rows = [{"img": str(trained.folder / "data/red.png"), "n": i} for i in range(11)]
    rows[2]["img"] = "nowhere.png"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = ["caption", "--data", str(data), "--search", "sampling=true", "--search", "seed=5", "--batch-size", "2"]
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"a{suffix}"
    done = trained("infer", "runs/run", *asked, "--out", str(whole))
    assert done.exit_code == 3, done.output
    stopped_after(trained, monkeypatch, 7, *asked, "--out", str(out))
    assert not out.exists()
    seen = []
    answers = Answering.answers

    def counted(self, *given):
        for one in answers(self, *given):
            seen.append(one[0])
            yield one

    monkeypatch.setattr(Answering, "answers", counted)
    done = trained("infer", "runs/run", *asked, "--out", str(out))
    assert done.exit_code == 3
    assert seen == [6, 7, 8, 9, 10], "a whole batch at a time"
    assert f"going on after 6 answers in {out}.part" in done.stderr
    assert "1 of 11 rows could not be answered" in done.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["rows.jsonl", whole.name, out.name])


@pytest.mark.parametrize("other", [["--search", "seed=6"], ["--columns", "n"], ["--batch-size", "3"], []])
def test_a_part_of_another_question_is_begun_anew(trained, tmp_path, monkeypatch, other):
    data = tmp_path / "rows.jsonl"
    rows = [{"img": str(trained.folder / "data/red.png"), "n": i} for i in range(4)]
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = ["caption", "--data", str(data), "--search", "sampling=true", "--out", str(tmp_path / "a.jsonl")]
    stopped_after(trained, monkeypatch, 3, *asked, "--batch-size", "1")
    if not other:
        data.write_text("".join(f"{json.dumps(row | {'n': 7})}\n" for row in rows))
    done = trained("infer", "runs/run", *asked, *(other or ["--batch-size", "1"]))
    assert done.exit_code == 0
    assert "going on" not in done.stderr
    assert f"a.jsonl.part held answers to another question; they are in {tmp_path}/a.jsonl.part.before" in done.stderr
    assert len((tmp_path / "a.jsonl.part.before").read_bytes().split(b"\n")) == 4  # the last was cut off
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 4


def test_the_same_rows_beside_other_pictures_are_another_question(trained, tmp_path, monkeypatch):
    """They are told by where their paths start: frames of clips are numbered alike, and so are lists of them."""
    for folder, colour in (("one", "red"), ("two", "blue")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.png").write_bytes((trained.folder / f"data/{colour}.png").read_bytes())
        (tmp_path / folder / "rows.jsonl").write_text('{"img": "0.png"}\n' * 3)
    asked = ["caption", "--batch-size", "1", "--out", str(tmp_path / "a.jsonl"), "--data"]
    stopped_after(trained, monkeypatch, 2, *asked, str(tmp_path / "one/rows.jsonl"))
    done = trained("infer", "runs/run", *asked, str(tmp_path / "two/rows.jsonl"))
    assert "going on" not in done.stderr
    assert "held answers to another question" in done.stderr
    stopped_after(trained, monkeypatch, 2, *asked, str(tmp_path / "one/rows.jsonl"))
    monkeypatch.chdir(tmp_path)
    trained_run = [str(trained.folder / "runs/run"), *asked, "one/../one/rows.jsonl"]
    done = CliRunner().invoke(app, ["infer", *trained_run])
    assert "going on after 2 answers" in done.stderr, "whichever way the file is named"


def test_what_was_fastest_when_a_part_was_begun_is_gone_on_with(trained, tmp_path, monkeypatch):
    """Of `--precision auto`; a machine that cannot says so."""
    data, out = tmp_path / "rows.jsonl", tmp_path / "a.jsonl"
    data.write_text("".join(f'{{"img": "{trained.folder / "data/red.png"}", "n": {i}}}\n' for i in range(4)))
    asked = ["caption", "--data", str(data), "--batch-size", "1", "--precision", "auto", "--out", str(out)]
    monkeypatch.setattr("ofasys.generalist.LARGE_TABLE", 0)
    monkeypatch.setattr("ofasys.generalist.fastest", lambda engine, head: Decoding("bfloat16", {"bfloat16": 1.0}))
    stopped_after(trained, monkeypatch, 2, *asked)
    about = Path(f"{out}.part.json")
    assert json.loads(about.read_text())["decoding"] == "bfloat16"
    monkeypatch.setattr("ofasys.generalist.fastest", lambda engine, head: Decoding("float32", {"float32": 1.0}))
    about.write_text(about.read_text().replace("bfloat16", "int8"))
    monkeypatch.setattr("ofasys.generator.shortlist.compiled", lambda name: None)
    done = trained("infer", "runs/run", *asked)
    assert done.exit_code == 2
    assert "was begun with tokens found in int8, which cannot be gone on with here" in done.stderr
    about.write_text(about.read_text().replace("int8", "bfloat16"))
    found = []
    answers = Answering.answers

    def seen(self, *given):
        found.append(self.answerer.decoding.precision)
        return answers(self, *given)

    monkeypatch.setattr(Answering, "answers", seen)
    done = trained("infer", "runs/run", *asked)
    assert done.exit_code == 0, done.output
    assert found == ["bfloat16"]
    assert "was begun with tokens found in bfloat16, so that the rest is found in it too" in done.stderr
    assert "going on after 2 answers" in done.stderr
