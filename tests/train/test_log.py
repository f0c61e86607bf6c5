import io
import json
import sys

import pytest
from rich.console import Console

from ofasys import CheckpointError
from ofasys.train.log import RunLog


def shown(log):
    console = Console(file=io.StringIO(), width=100)
    console.print(log.table())
    return console.file.getvalue()


def test_lines_are_written_and_cut_back(tmp_path):
    with RunLog(tmp_path, 10, 0) as log:
        for step in (2, 4, 6):
            log.write("train", step, "cap", {"loss": 1.5})
            log.quarantine(step, "cap", 0, step, "bad")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tra')
    with RunLog(tmp_path, 10, 4) as log:
        log.write("valid", 5, None, {"é": 1})
    read = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf8").splitlines()]
    assert read == [
        {"kind": "train", "step": 2, "task": "cap", "loss": 1.5},
        {"kind": "train", "step": 4, "task": "cap", "loss": 1.5},
        {"kind": "valid", "step": 5, "é": 1},
    ]
    assert [json.loads(line)["row"] for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()] == [2, 4]
    there = {path.name for path in tmp_path.iterdir()} - {"tensorboard"}  # if that is installed
    assert there == {"metrics.jsonl", "quarantine.jsonl"}


def test_nowhere_is_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with RunLog(None, 10, 0) as log:
        log.write("train", 1, "cap", {"loss": 1.0})
        log.quarantine(1, "cap", 0, 0, "bad")
        log.show(1)
    assert not list(tmp_path.iterdir())


def test_the_table_tells_of_every_task():
    log = RunLog(None, 100, 0, live=False)
    with log:
        figures = {"loss": 2.3456, "samples": 1200, "tokens_per_second": 34567.0, "useful": 0.876}
        log.write("train", 20, "caption", figures)
        log.write("valid", 20, "caption", {"loss": 2.0, "samples": 8.0, "cider": 0.4321})
        log.write("train", 20, "vqa", {"loss": 0.5})
        log.show(20)
    text = shown(log)
    for word in ("step 20/100", "left", "caption", "2.346", "cider 0.432", "1,200", "34,567", "88%", "vqa", "0.500"):
        assert word in text


def test_a_terminal_gets_the_table_and_a_pipe_gets_nothing(monkeypatch, capsys):
    with RunLog(None, 10, 0) as log:
        log.write("train", 1, "cap", {"loss": 1.0})
        log.show(1)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    with RunLog(None, 10, 0, live=True) as log:
        log.live.console.file = io.StringIO()
        log.write("train", 1, "cap", {"loss": 1.0})
        log.show(1)
    assert "step 1/10" in log.live.console.file.getvalue()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert RunLog(None, 10, 0).live is not None
    assert RunLog(None, 10, 0, live=False).live is None


def test_tensorboard_is_written_if_it_is_there(tmp_path, monkeypatch):
    seen = []

    class Writer:
        def __init__(self, folder, purge_step):
            seen.append((str(folder), purge_step))

        def add_scalar(self, *line):
            seen.append(line)

        def close(self):
            seen.append("closed")

    class Module:
        SummaryWriter = Writer

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", Module)
    with RunLog(tmp_path, 10, 3) as log:
        log.write("train", 4, "cap", {"loss": 1.0, "text": "no number"})
    assert seen == [(str(tmp_path / "tensorboard"), 4), ("train/cap/loss", 1.0, 4), "closed"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with RunLog(tmp_path, 10, 4) as log:
        assert log.trackers.begun == []


class Clock:
    """Seconds as a test sets them."""

    now = 0.0

    def __call__(self):
        return self.now


def test_without_a_terminal_a_line_is_told_every_so_often(capsys):
    clock = Clock()
    log = RunLog(None, 100, 0, clock=clock)
    with log:
        log.write("train", 1, "caption", {"loss": 2.3456})
        log.write("valid", 1, "caption", {"loss": 2.0, "cider": 0.4321})
        log.bad("vqa", 3, "no file 'a.png'")
        for step, clock.now in ((1, 10.0), (20, 20.0), (21, 21.0), (50, 40.5)):
            log.at(step)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"step {step}/100  {left} left  caption: loss 2.346 cider 0.432  vqa: 3 bad rows, the first: no file 'a.png'"
        for step, left in ((20, "0:01:20"), (50, "0:00:40"))
    ]


def test_live_false_tells_nothing(capsys):
    clock = Clock()
    with RunLog(None, 10, 0, live=False, clock=clock) as log:
        clock.now = 100.0
        log.at(5)
    assert capsys.readouterr().err == ""


def test_the_table_tells_of_bad_rows_and_why(capsys):
    log = RunLog(None, 100, 0, live=False)
    log.write("train", 20, "caption", {"loss": 2.0, "samples": 12})
    log.bad("caption", 1234, "no [file] 'a.png'")
    log.bad("vqa", 2, "not a number")
    text = shown(log)
    for words in ("1,234", "caption: 1234 bad, the first: no [file] 'a.png'", "vqa: 2 bad, the first: not a number"):
        assert words in text


def test_tensorboard_reads_what_is_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog(tmp_path, 10, 0) as log:
        for step in (1, 2):
            log.write("train", step, "cap", {"loss": 1.0 / step, "note": "no number"})
        log.write("valid", 2, "cap", {"cider": 0.5})
        log.write("classes", 2, "cap", {"column": "c", "labels": ["a"], "f1": [1.0]})
    with RunLog(tmp_path, 10, 1) as log:  # resumed at step 1: the second step is made again
        log.write("train", 2, "cap", {"loss": 0.25})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["train/cap/loss", "valid/cap/cider"]
    assert [(one.step, one.value) for one in events.Scalars("train/cap/loss")] == [(1, 1.0), (2, 0.25)]


@pytest.mark.parametrize(
    "broken",
    [b"\xff\xfe\x00", b"[" * 100_000, b'{"step": 1', b"null", b'{"step": "x"}', b"\x00" * 100],
    ids=lambda broken: repr(broken[:6]),
)
def test_a_line_of_broken_bytes_is_dropped_and_the_others_stay(tmp_path, broken):
    good = '{"kind": "valid", "step": 1, "task": "caf\u00e9\u2028"}\n'.encode()
    for name in ("metrics.jsonl", "quarantine.jsonl"):
        (tmp_path / name).write_bytes(good + broken + b"\n" + good)
    with RunLog(tmp_path, 4, 1, live=False):
        pass
    assert {(tmp_path / name).read_bytes() for name in ("metrics.jsonl", "quarantine.jsonl")} == {good * 2}


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with (
        pytest.raises(CheckpointError, match=r"the log could not be written.*the checkpoint of step 2 is whole"),
        RunLog(tmp_path, 4, 2, live=False),
    ):
        pass
