"""Checkpoints are written beside the run; one that cannot be written costs the run nothing but itself."""

import errno
import json
import os
import resource
import signal
import threading

import pytest

from ofasys import Callback, CheckpointError, ConfigError, OFASys, Trainer
from ofasys.hub import store
from ofasys.hub.store import read_folder
from ofasys.train import validation
from tests.parallel.processes import aside
from tests.train import tiny

SECONDS = 60  # no wait is that long, unless something hangs


def fit(out=None, **changes):
    settings = {"max_steps": 6, "warmup": 1, "log_every": 1, "lr": 5e-3, "live": False} | changes
    model = tiny.model()
    Trainer(out=out, **settings).fit(model=model, tasks=tiny.label_task())
    return tiny.weights(model)


def steps(out):
    return sorted(int(path.name[5:]) for path in (out / "checkpoints").iterdir() if path.is_dir())


def pointed(out, name):
    return int(json.loads((out / f"checkpoints/{name}.json").read_text())["folder"][5:])


def failing_at(monkeypatch, *at, of=errno.ENOSPC):
    """The writing of these steps' checkpoints fails half way."""
    write = store._write

    def full(path, chunks):
        if path.name == "optimizer.safetensors" and path.parent.name in {f".step-{step:08d}.new" for step in at}:
            path.write_bytes(next(chunks)[:10])
            raise OSError(of, os.strerror(of), str(path))
        return write(path, chunks)

    monkeypatch.setattr(store, "_write", full)


@pytest.mark.parametrize("async_save", [True, False])
def test_a_full_disk_costs_only_the_save(tmp_path, monkeypatch, caplog, async_save):
    whole = fit()
    failing_at(monkeypatch, 2, 3)
    weights = fit(tmp_path, save_every=1, async_save=async_save)
    assert tiny.same_weights(weights, whole)
    assert "step 2 could not be written (No space left on device); the checkpoint of step 1 is whole" in caplog.text
    assert caplog.text.count("the run goes on, and the next save tries again") == 2
    assert (steps(tmp_path), pointed(tmp_path, "last"), pointed(tmp_path, "before")) == ([5, 6], 6, 5)
    assert [line["step"] for line in tiny.lines(tmp_path / "metrics.jsonl") if line["kind"] == "train"] == [
        *range(1, 7)
    ]


def test_the_last_save_must_not_fail(tmp_path, monkeypatch):
    failing_at(monkeypatch, 6)
    with pytest.raises(CheckpointError, match=r"step 6 could not be written.*the checkpoint of step 5 is whole"):
        fit(tmp_path, save_every=1)
    monkeypatch.undo()
    assert pointed(tmp_path, "last") == 5
    assert tiny.same_weights(fit(tmp_path, save_every=1), fit())


def test_the_best_is_one_that_was_written(tmp_path, monkeypatch):
    """The best of all could not be saved: the best of those that could is."""
    scores = iter([3.0, 1.0, 2.0, 4.0, 5.0, 6.0])
    monkeypatch.setattr(validation, "evaluate_task", lambda *a, **k: {"loss": next(scores), "samples": 1.0})
    failing_at(monkeypatch, 2)
    fit(tmp_path, eval_every=1)
    told = json.loads((tmp_path / "checkpoints/best.json").read_text())
    assert (told["step"], told["value"]) == (3, 2.0)


class Loosened(Callback):
    """Lifts the limit on the size of files after a step."""

    def __init__(self, at):
        self.at = at

    def after_step(self, run):
        if run.step == self.at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.slow
def test_a_limit_of_the_system_costs_only_the_saves_it_stops(tmp_path, caplog):
    whole = fit(tmp_path / "whole", save_every=1, callbacks=[])

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        fit(tmp_path / "cut", save_every=1, callbacks=[Loosened(at=4)])
        return caplog.text

    done = aside(limited)
    assert (done.code, done.error) == (0, "")
    assert "the checkpoint of step 1 could not be written (File too large); no checkpoint was saved" in done.value
    assert pointed(tmp_path / "cut", "last") == 6
    one, other = (
        tiny.weights(OFASys.from_pretrained(tmp_path / name, which="last").model) for name in ("whole", "cut")
    )
    assert tiny.same_weights(one, other)
    assert tiny.same_weights(one, whole)


def test_the_newest_checkpoints_stay(tmp_path):
    fit(tmp_path, save_every=1, keep_checkpoints=4)
    assert steps(tmp_path) == [3, 4, 5, 6]
    fit(tmp_path, max_steps=8, save_every=1, keep_checkpoints=2)
    assert steps(tmp_path)[-2:] == [7, 8]
    with pytest.raises(ConfigError, match="keep_checkpoints is 1; it is 2 or more"):
        Trainer(keep_checkpoints=1)


def test_the_best_stays_besides(tmp_path, monkeypatch):
    scores = iter([3.0, 1.0, 2.0, 4.0, 5.0, 6.0])
    monkeypatch.setattr(validation, "evaluate_task", lambda *a, **k: {"loss": next(scores), "samples": 1.0})
    fit(tmp_path, eval_every=1, keep_checkpoints=3)
    assert steps(tmp_path) == [2, 4, 5, 6]


def test_a_checkpoint_is_of_its_step_however_long_its_writing_takes(tmp_path, monkeypatch):
    """The writing of step 2 waits until step 5 is done: what is written is step 2 all the same."""
    fit(tmp_path / "whole", max_steps=5, save_every=2, keep_checkpoints=9, async_save=False)
    gone_on, told = threading.Event(), []
    write = store._write

    def slow(path, chunks):
        if path.parent.name == ".step-00000002.new" and path.name == "model.safetensors":
            assert gone_on.wait(SECONDS)
        return write(path, chunks)

    class Watch(Callback):
        def before_save(self, run):
            told.append(("before", run.step))

        def after_save(self, run):
            told.append(("after", run.step))

        def after_step(self, run):
            if run.step == 3:
                assert not (tmp_path / "run/checkpoints/last.json").exists()
                gone_on.set()

    monkeypatch.setattr(store, "_write", slow)
    fit(tmp_path / "run", max_steps=5, save_every=2, keep_checkpoints=9, callbacks=[Watch()])
    assert [one for one in told if one[0] == "before"] == [("before", 2), ("before", 4), ("before", 5)]
    assert told[0] == ("before", 2)
    assert told[1][0] == "after"
    assert told[1][1] >= 3
    for step in (2, 4, 5):
        one, other = (read_folder(tmp_path / name / f"checkpoints/step-{step:08d}") for name in ("whole", "run"))
        assert one.keys() == other.keys()
        assert all(one[name] == other[name] for name in one if name.endswith(".safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_a_kill_inside_a_save_leaves_the_one_before(tmp_path, monkeypatch, name):
    write = store._write

    def killed(path, chunks):
        if path.parent.name == ".step-00000004.new" and path.name == name:
            path.write_bytes(next(iter(chunks))[:10])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(path, chunks)

    with monkeypatch.context() as within:
        within.setattr(store, "_write", killed)
        assert aside(fit, tmp_path, save_every=2).code == -signal.SIGKILL
    assert pointed(tmp_path, "last") == 2
    assert tiny.same_weights(fit(tmp_path, save_every=2), fit())
