import json
import os
import signal
import threading
from multiprocessing import get_context

import pytest

from ofasys import ConfigError, Trainer
from ofasys.train import lock, one_run
from tests.train import tiny


def hold(out, told):
    """Train in a folder, with a worker that outlives the run as one of data may; tell which, and wait."""
    with one_run(out, training=True):
        worker = os.fork()
        if worker:
            told.send(worker)
        while True:
            signal.pause()


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path, and a worker forked from it."""
    context = get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    worker = mine.recv()
    yield process
    process.kill()
    os.kill(worker, signal.SIGKILL)
    process.join()


def fit(out):
    return Trainer(max_steps=1, out=out, live=False).fit(model=tiny.model(), tasks=tiny.label_task(valid=None))


@pytest.mark.slow
def test_another_process_is_refused_and_a_killed_one_leaves_the_folder_usable(tmp_path, holder):
    with pytest.raises(
        ConfigError, match=rf"a run is going on in .* \(process {holder.pid}, since 2\d\d\d-.*another `out`"
    ):
        fit(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [lock.LOCK]
    holder.kill()
    holder.join()
    fit(tmp_path)
    assert (tmp_path / "run.json").is_file()


def test_any_end_lets_go_and_nothing_is_left(tmp_path):
    out = tmp_path / "deep" / "run"
    for error in (KeyboardInterrupt, ValueError, SystemExit):
        with pytest.raises(error), one_run(out):
            raise error
    assert not out.exists()
    with one_run(out):
        (out / "run.yaml").touch()
    assert [path.name for path in out.iterdir()] == ["run.yaml"]


def test_what_prepares_a_run_may_begin_it_and_no_second_begins_in_it(tmp_path):
    with one_run(tmp_path):
        fit(tmp_path)
        with one_run(tmp_path, training=True), pytest.raises(ConfigError, match=f"process {os.getpid()}"):
            fit(tmp_path)
        with one_run(tmp_path, training=True):
            pass


def test_a_fit_within_a_fit_is_refused(tmp_path):
    def nested(predictions, references):
        fit(tmp_path)
        return {"nested": 1.0}

    with pytest.raises(Exception, match="a run is going on"):
        Trainer(max_steps=1, out=tmp_path).fit(model=tiny.model(), tasks=tiny.label_task(metrics=[nested]))


def test_another_thread_is_refused_under_any_name_of_the_folder(tmp_path):
    real, link, found = tmp_path / "real", tmp_path / "link", []
    real.mkdir()
    link.symlink_to(real)

    def other():
        try:
            fit(link)
        except ConfigError as error:
            found.append(str(error))

    with one_run(real):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(found) == 1
    assert f"process {os.getpid()}" in found[0]


def test_a_file_or_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match=r"out is .*folder"):
            fit(out)
        with pytest.raises(ConfigError, match=r"out is .*is a file; give the name of a folder"):
            Trainer(max_steps=1, out=out).check(model=tiny.model(), tasks=tiny.label_task())


@pytest.mark.parametrize("there", ["lives", "is gone", "of another machine"])
def test_without_locks_the_file_tells(tmp_path, monkeypatch, caplog, there):
    def refused(file, how):
        raise OSError(lock.errno.ENOLCK, "no locks")

    monkeypatch.setattr(lock.fcntl, "lockf", refused)
    pid = os.getppid() if there != "is gone" else 2**22 + 1
    about = {"pid": pid, "host": lock.socket.gethostname(), "since": "before", "started": lock._started(pid)}
    if there == "of another machine":
        about["host"] = "elsewhere"
    (tmp_path / lock.LOCK).write_text(json.dumps(about))
    if there == "is gone":
        with one_run(tmp_path):
            assert "without locks" in caplog.text
    else:
        with (
            pytest.raises(ConfigError, match=r"a run is going on.*if that process is no more, remove"),
            one_run(tmp_path),
        ):
            pass
