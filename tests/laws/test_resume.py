"""Killed anywhere and resumed equals never killed: the same samples, losses, weights and log."""

from __future__ import annotations

import json
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch

from ofasys import CheckpointError, OFASys, Trainer
from ofasys.hub.store import read_folder, tensors, write_folder
from ofasys.train import quarantine as rows
from ofasys.train import steps as room
from ofasys.train import validation
from ofasys.train.callbacks import EMA
from tests.parallel.processes import aside
from tests.train import tiny

pytestmark = pytest.mark.slow


class Killed(BaseException):
    """As sudden as a kill: nothing in the package catches it."""


def watch(monkeypatch):
    """What each micro-batch draws, and the losses so far; its `kill = n` ends a run in the middle of its step n."""
    watched = SimpleNamespace(kill=None, drawn={}, losses={})
    backward, take = room.Steps.backward, rows.Quarantine.take

    def watch_backward(run, part, whole, of):
        learned = backward(run, part, whole, of)
        ticket = part.delivery.ticket
        window = run.windows[ticket.task]
        watched.losses[(ticket.step, ticket.task, ticket.k)] = window.total
        if watched.kill == ticket.step:
            raise Killed
        return learned

    def watch_quarantine(run, step, delivery):
        take(run, step, delivery)
        ticket = delivery.ticket
        watched.drawn[(ticket.step, ticket.task, ticket.k)] = (delivery.instruction, delivery.rows)

    monkeypatch.setattr(room.Steps, "backward", watch_backward)
    monkeypatch.setattr(rows.Quarantine, "take", watch_quarantine)
    return watched


@pytest.fixture
def spy(monkeypatch):
    return watch(monkeypatch)


def mixed_tasks():
    """A closed set with bad rows, masking noise and two instructions, a picture task that joins late and leaves."""
    return [
        tiny.label_task(train=tiny.label_rows(12, bad=(3, 7)), bad_limit=5),
        tiny.fill_task(
            instruction=[tiny.FILL, "[TEXT:text,noise_ratio=0.2] -> [TEXT:text]"],
            valid=tiny.label_rows(3),
            weight=2.0,
        ),
        tiny.box_task(join=3, leave=9, smoothing=0.1),
    ]


def run(out, *, tasks=mixed_tasks, seed=0, **changes):
    """A finished run: its weights, log and quarantine."""
    settings = {"max_steps": 11, "warmup": 3, "lr": 5e-3, "log_every": 2, "eval_every": 5, "save_every": 3}
    model = tiny.model(seed=seed)
    Trainer(out=out, seed=seed, **(settings | changes)).fit(model=model, tasks=tasks())
    return tiny.weights(model), tiny.lines(out / "metrics.jsonl"), tiny.lines(out / "quarantine.jsonl")


def same(one, other):
    assert tiny.same_weights(one[0], other[0])
    assert one[1] == other[1]
    assert one[2] == other[2]


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    """(its folder, what a run that was never killed ended with, what was seen of it)."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        seen = watch(patched)
        return out, run(out), seen


@pytest.fixture
def whole(never_killed):
    return never_killed[1]


ALONE = {"tasks": lambda: [tiny.label_task()], "decay": "constant", "eval_every": 2}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The weights of a run of one task and eight steps."""
    return run(tmp_path_factory.mktemp("ended"), max_steps=8, **ALONE)[0]


@pytest.fixture(scope="module")
def at_six(tmp_path_factory):
    """The folder of such a run after six steps."""
    out = tmp_path_factory.mktemp("at_six")
    run(out, max_steps=6, **ALONE)
    return out


@pytest.mark.parametrize(
    ("schedule", "accumulate", "workers", "stops"),
    [
        ("round_robin", 2, 0, (7,)),
        pytest.param("round_robin", 1, 0, (1, 4, 5, 10), marks=pytest.mark.slow),
        pytest.param("accumulate", 1, 2, (3, 8), marks=pytest.mark.slow),
        pytest.param("accumulate", 2, 0, (6,), marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_never_killed(tmp_path, spy, schedule, accumulate, workers, stops):
    settings = {"schedule": schedule, "accumulate": accumulate}
    whole = run(tmp_path / "whole", **settings)
    drawn, losses = dict(spy.drawn), dict(spy.losses)
    spy.drawn.clear()
    spy.losses.clear()
    for stop in stops:
        spy.kill = stop
        with pytest.raises(Killed):
            run(tmp_path / "cut", workers=workers, **settings)
    spy.kill = None
    same(run(tmp_path / "cut", workers=workers, **settings), whole)
    assert spy.drawn == drawn
    assert spy.losses == losses
    steps = [(line["kind"], line["step"], line["task"]) for line in whole[1]]
    assert len(set(steps)) == len(steps)
    assert whole[2], "the bad rows were written down"


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_workers_change_nothing(tmp_path, spy, never_killed, workers):
    _, alone, seen = never_killed
    same(run(tmp_path / "workers", workers=workers), alone)
    assert (spy.drawn, spy.losses) == (seen.drawn, seen.losses)


def test_epochs_and_buckets_are_crossed(tmp_path, spy):
    def tasks():
        return [
            tiny.label_task(train=tiny.label_rows(5), micro_batch_size=2),
            tiny.fill_task(train=tiny.label_rows(2), micro_batch_size=2),
        ]

    whole = run(tmp_path / "whole", tasks=tasks)
    epochs = {epoch for _, rows in spy.drawn.values() for epoch, _ in rows}
    assert max(epochs) >= 2
    spy.kill = 8
    with pytest.raises(Killed):
        run(tmp_path / "cut", tasks=tasks)
    spy.kill = None
    same(run(tmp_path / "cut", tasks=tasks), whole)


def test_same_seed_same_losses_and_another_seed_others(tmp_path, spy):
    losses = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(losses))  # what the process did before is of no account
        spy.losses.clear()
        run(tmp_path / name, seed=seed, max_steps=3)
        losses.append(list(spy.losses.values()))
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.slow
def test_a_process_that_was_killed_is_resumed(tmp_path, monkeypatch, whole):
    update = room.Steps.update

    def killed(self, step, stream):
        if step == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, step, stream)

    with monkeypatch.context() as within:
        within.setattr(room.Steps, "update", killed)
        assert aside(run, tmp_path / "cut").code == -signal.SIGKILL
    same(run(tmp_path / "cut"), whole)


def test_a_line_cut_off_by_the_kill_is_dropped(tmp_path, spy, whole):
    spy.kill = 7
    with pytest.raises(Killed):
        run(tmp_path / "cut")
    spy.kill = None
    for name in ("metrics.jsonl", "quarantine.jsonl"):
        with (tmp_path / "cut" / name).open("a") as file:
            file.write('{"kind": "train", "st')
    same(run(tmp_path / "cut"), whole)


def test_ctrl_c_ends_the_step_and_leaves_a_run_to_resume(tmp_path, monkeypatch, whole):
    backward = room.Steps.backward

    def interrupted(self, part, *rest):
        learned = backward(self, part, *rest)
        if part.delivery.ticket.step == 7 and not interrupts:
            interrupts.append(7)
            os.kill(os.getpid(), signal.SIGINT)
        return learned

    interrupts = []
    monkeypatch.setattr(room.Steps, "backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", workers=1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert json.loads((tmp_path / "cut/checkpoints/last.json").read_text()) == {"folder": "step-00000008"}
    same(run(tmp_path / "cut"), whole)


def test_a_second_ctrl_c_interrupts_at_once(tmp_path, monkeypatch):
    def interrupted(self, part, *rest):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second was not heard")

    monkeypatch.setattr(room.Steps, "backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut")


def test_a_finished_run_is_left_as_it_is(tmp_path, spy, never_killed):
    out, whole, _ = never_killed
    shutil.copytree(out, tmp_path / "one")
    same(run(tmp_path / "one"), whole)
    assert not spy.drawn
    same(run(tmp_path / "one", max_steps=5), whole)


def test_more_steps_go_on(tmp_path, spy):
    run(tmp_path / "one", max_steps=6)
    spy.drawn.clear()
    _, metrics, _ = run(tmp_path / "one", max_steps=9)
    assert {step for step, _, _ in spy.drawn} == {6, 7, 8}
    assert max(line["step"] for line in metrics) == 9


def test_with_a_constant_rate_more_steps_equal_a_longer_run(tmp_path):
    whole = run(tmp_path / "whole", max_steps=9, decay="constant", log_every=3, eval_every=3)
    run(tmp_path / "one", max_steps=6, decay="constant", log_every=3, eval_every=3)
    same(run(tmp_path / "one", max_steps=9, decay="constant", log_every=3, eval_every=3), whole)


def tear(folder, name):
    path = folder / name
    if name == "manifest.json":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "optimizer.safetensors", "state.json", "tokenizer.json", "manifest.json", "", "last.json"],
)
def test_a_torn_last_checkpoint_is_named_and_the_one_before_it_gone_on_with(name, tmp_path, caplog, ended, at_six):
    """And the run ends with the same weights as one that nothing happened to."""
    out = tmp_path / "one"
    shutil.copytree(at_six, out)
    place = out / "checkpoints"
    if name == "":
        shutil.rmtree(place / "step-00000006")
    else:
        tear(place if name == "last.json" else place / "step-00000006", name)
    again = run(out, max_steps=8, **ALONE)[0]
    assert "going on from the checkpoint before it, of step 4" in caplog.text
    assert "step-00000006" in caplog.text or "last.json" in caplog.text
    assert tiny.same_weights(ended, again)
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    tear(place / "step-00000006", "state.json")
    tear(place / "step-00000008", "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"step-00000008 is torn: model.*before it: .*step-00000006 is torn: state"
    ):
        run(out, max_steps=9, **ALONE)


def test_a_pointer_that_is_gone_is_told(tmp_path, caplog, ended, at_six):
    shutil.copytree(at_six, tmp_path / "one")
    (tmp_path / "one/checkpoints/last.json").unlink()
    again = run(tmp_path / "one", max_steps=8, **ALONE)[0]
    assert "last.json is missing" in caplog.text
    assert "going on from the checkpoint before it, of step 4" in caplog.text
    assert tiny.same_weights(ended, again)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """(what a run with an average ended with, the files of its last checkpoint)."""
    out = tmp_path_factory.mktemp("averaged")
    return run(out, callbacks=[EMA(0.9)]), read_folder(out / "checkpoints/step-00000011")


@pytest.mark.parametrize("stop", [4, 9])
def test_an_average_killed_and_resumed_equals_never_killed(tmp_path, spy, averaged, stop):
    """Of tasks that join and leave, with bad rows and noise; evaluated and saved beside the weights."""
    whole, one = averaged
    spy.kill = stop
    with pytest.raises(Killed):
        run(tmp_path / "cut", callbacks=[EMA(0.9)])
    spy.kill = None
    same(run(tmp_path / "cut", callbacks=[EMA(0.9)]), whole)
    other = read_folder(tmp_path / "cut" / "checkpoints/step-00000011")
    assert {"callbacks.safetensors", "answering.safetensors"} <= one.keys()
    assert one == other


def test_a_torn_last_checkpoint_leaves_the_best(tmp_path, monkeypatch):
    scores = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr(validation, "evaluate_task", lambda *a, **k: {"loss": next(scores), "samples": 1.0})
    out = tmp_path / "one"
    run(out, tasks=lambda: [tiny.label_task()], max_steps=6, eval_every=4)
    pointed = {name: json.loads((out / f"checkpoints/{name}.json").read_text())["folder"] for name in ("best", "last")}
    assert pointed == {"best": "step-00000004", "last": "step-00000006"}
    tear(out / "checkpoints" / pointed["last"], "model.safetensors")
    assert OFASys.from_pretrained(out).inference(tiny.LABEL, data={"text": "red fish"}).text in tiny.COLOURS


def test_a_run_of_another_model_or_seed_is_refused(tmp_path):
    def only():
        return [tiny.label_task()]

    run(tmp_path, tasks=only, max_steps=2)
    with pytest.raises(CheckpointError, match=r"ffn=64.*this one 128.*another `out`"):
        Trainer(max_steps=4, out=tmp_path).fit(model=tiny.model(ffn=128), tasks=only())
    with pytest.raises(CheckpointError, match=r"whose model has seed 0, not 5"):
        Trainer(max_steps=4, out=tmp_path).fit(model=tiny.model(seed=5), tasks=only())
    with pytest.raises(CheckpointError, match=r"whose run has seed 0, not 5"):
        Trainer(max_steps=4, out=tmp_path, seed=5).fit(model=tiny.model(), tasks=only())
    other = tiny.model()
    Trainer(max_steps=1).fit(model=other, tasks=[tiny.box_task()])
    with pytest.raises(CheckpointError, match="another vocabulary"):
        Trainer(max_steps=4, out=tmp_path).fit(model=other, tasks=only())


def test_a_saved_model_is_no_run_to_resume(tmp_path):
    run(tmp_path, tasks=lambda: [tiny.label_task()], max_steps=2)
    folder = tmp_path / "checkpoints" / "step-00000002"
    OFASys.from_pretrained(tmp_path).save_pretrained(tmp_path / "model")
    for file in folder.iterdir():
        file.unlink()
    for file in (tmp_path / "model").iterdir():
        file.rename(folder / file.name)
    with pytest.raises(CheckpointError, match="holds a model but no run to resume"):
        run(tmp_path, tasks=lambda: [tiny.label_task()], max_steps=3)


@pytest.mark.slow
def test_tasks_may_come_and_go_between_runs(tmp_path, spy):
    """Under `accumulate` each task's own samples are what they would have been, whoever is there beside it."""
    settings = {"schedule": "accumulate", "save_every": 1}
    run(tmp_path / "whole", tasks=lambda: [tiny.label_task(), tiny.box_task()], **settings)
    alone = dict(spy.drawn)
    spy.drawn.clear()
    run(tmp_path / "one", tasks=lambda: [tiny.label_task(), tiny.box_task()], max_steps=4, **settings)
    run(tmp_path / "one", tasks=lambda: [tiny.label_task(), tiny.fill_task()], max_steps=7, **settings)
    loaded = OFASys.from_pretrained(
        tmp_path / "one", which="last"
    )  # the weights of the task that left are there, and load
    assert sorted(card.name for card in loaded.cards) == ["box", "fill", "label"]
    run(tmp_path / "one", tasks=lambda: [tiny.label_task(), tiny.box_task()], **settings)
    for step in range(11):
        assert spy.drawn[(step, "label", step)] == alone[(step, "label", step)]
    boxes = [(step, k) for step, task, k in spy.drawn if task == "box"]
    assert boxes == [(0, 0), (1, 1), (2, 2), (3, 3), (7, 4), (8, 5), (9, 6), (10, 7)]
    for step, k in boxes:
        assert spy.drawn[(step, "box", k)] == alone[(k, "box", k)]


def test_a_run_of_before_there_were_engines_goes_on(tmp_path):
    """Its weights, moments and averages had other names: they are read, and the run ends as if nothing had changed."""
    settings = {"tasks": lambda: [tiny.label_task()], "eval_every": 0, "decay": "constant"}
    whole = run(tmp_path / "whole", max_steps=6, callbacks=[EMA(0.9)], **settings)[0]
    run(tmp_path / "old", max_steps=3, callbacks=[EMA(0.9)], **settings)
    folder = tmp_path / "old/checkpoints/step-00000003"
    files = {}
    for name, data in read_folder(folder).items():
        old = tensors(data) if name.endswith(".safetensors") else data.decode()
        files[name] = (
            {key.replace("engine.", "universal."): v for key, v in old.items()} if isinstance(old, dict) else old
        )
    assert any("universal." in key for key in files["optimizer.safetensors"])
    files = {
        name: json.loads(value) if name.endswith(".json") and name != "tokenizer.json" else value
        for name, value in files.items()
    }
    write_folder(folder, files)
    again = EMA(0.9)
    assert tiny.same_weights(whole, run(tmp_path / "old", max_steps=6, callbacks=[again], **settings)[0])
    assert not any("universal" in name for name in again.average)
