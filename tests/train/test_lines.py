"""Lines are added whole; those that the disk has no room for are held until it has."""

import errno
import os

import pytest

from ofasys import Callback, CheckpointError, Trainer
from ofasys.train.lines import Lines
from tests.train import tiny


class Disk:
    """A file on a disk with so many bytes of room: it takes what fits of a line, and refuses the rest."""

    def __init__(self, file, disk):
        self.file, self.disk = file, disk

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        if self.disk["room"] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.file.write(data[: self.disk["room"]])
        self.disk["room"] -= taken
        return taken


@pytest.fixture
def disk(monkeypatch):
    room, opened = {"room": 10**9}, Lines.open

    def limited(self):
        opened(self)
        if not isinstance(self.file, Disk):
            self.file = Disk(self.file, room)

    monkeypatch.setattr(Lines, "open", limited)
    return room


def test_lines_wait_for_room_and_are_whole(tmp_path, disk, caplog):
    lines = Lines(tmp_path / "log.jsonl")
    lines.add("one")
    disk["room"] = 2
    for text in ("zwei", "drei"):
        lines.add(text)
        assert (tmp_path / "log.jsonl").read_text() == "one\n"
    assert caplog.text.count("could not be written (No space left on device); the run goes on") == 1
    disk["room"] = 100
    lines.add("vier")
    assert lines.close() is None
    assert (tmp_path / "log.jsonl").read_text() == "one\nzwei\ndrei\nvier\n"


def test_what_there_is_never_room_for_is_an_error_at_the_end(tmp_path, disk):
    lines = Lines(tmp_path / "log.jsonl")
    disk["room"] = 0
    lines.add("one")
    lines.add("two")
    assert "2 of its lines could not be written (No space left on device) and are lost" in str(lines.close())


@pytest.mark.parametrize("freed", [True, False])
def test_a_run_goes_on_without_room_for_its_logs(tmp_path, disk, freed):
    class Fills(Callback):
        def before_step(self, run):
            disk["room"] = 3 if run.step in (2, 3, 4) or (run.step > 4 and not freed) else 10**9

    def run(out, callbacks=()):
        tasks = tiny.label_task(train=tiny.label_rows(bad=(2, 5)))
        Trainer(out=out, max_steps=6, log_every=1, live=False, callbacks=callbacks).fit(model=tiny.model(), tasks=tasks)
        return tiny.lines(out / "metrics.jsonl"), tiny.lines(out / "quarantine.jsonl")

    whole = run(tmp_path / "whole")
    if freed:
        assert run(tmp_path / "full", [Fills()]) == whole
        return
    with pytest.raises(CheckpointError, match=r"metrics.jsonl: \d+ of its lines could not be written"):
        run(tmp_path / "full", [Fills()])
    assert (tmp_path / "full/checkpoints/last.json").read_text() == (
        tmp_path / "whole/checkpoints/last.json"
    ).read_text()
