"""What a run meets: numbers that are none, full disks, signals, a metric that fails, an end before its last step."""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ofasys import Callback, CheckpointError, ConfigError, DataError, OFASys, Task, Trainer
from ofasys.errors import LoadingError
from ofasys.hub import store
from ofasys.train import Terminated, best, checkpoint, saver, saving, state, steps, validation
from ofasys.train import quarantine as rows
from ofasys.train import run as room
from tests.parallel.processes import aside
from tests.train import tiny


def fit(out=None, model=None, tasks=None, **changes):
    settings = {"max_steps": 4, "warmup": 1, "log_every": 1, "lr": 5e-3, "live": False} | changes
    trainer = Trainer(out=out, **settings)
    trainer.fit(model=model or tiny.model(), tasks=tasks or tiny.label_task())
    return trainer


def last(out):
    return json.loads((out / "checkpoints/last.json").read_text())["folder"]


def scored(monkeypatch, values, name="loss"):
    found = iter(values)
    monkeypatch.setattr(
        validation, "evaluate_task", lambda *a, **k: {"loss": 1.0, "samples": 1.0} | {name: next(found)}
    )


def test_weights_that_are_not_finite_are_not_saved_and_the_advice_works(tmp_path):
    fit(tmp_path, max_steps=2)
    with pytest.raises(ConfigError, match=r"not finite at step [34].*not saved.*lower lr=1e\+38.*checkpoint of step 2"):
        fit(tmp_path, max_steps=6, lr=1e38, eval_every=1)
    assert last(tmp_path) == "step-00000002"
    trainer = fit(tmp_path, max_steps=6)
    assert [line["step"] for line in trainer.history if line["kind"] == "train"] == [3, 4, 5, 6]
    assert saving.not_finite(OFASys.from_pretrained(tmp_path).model) is None


def test_a_model_that_is_not_finite_is_refused(tmp_path):
    model = tiny.model()
    with pytest.raises(ConfigError, match="no checkpoint was saved yet, so begin anew with a new model"):
        fit(tmp_path, model, lr=1e38)
    with pytest.raises(ConfigError, match="not finite before the first step"):
        fit(tmp_path, model)


def test_moments_that_are_not_finite_are_seen():
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert saving.not_finite(model, optimizer) is None
    optimizer.state[model.weight]["exp_avg_sq"][0, 0] = math.inf
    assert saving.not_finite(model, optimizer) == "the optimizer's exp_avg_sq of weight"


def test_the_best_is_never_what_is_not_finite(tmp_path, monkeypatch, caplog):
    scored(monkeypatch, [math.nan, math.inf, 3.0, math.nan])
    fit(tmp_path, eval_every=1)
    told = json.loads((tmp_path / "checkpoints/best.json").read_text())
    assert told == {"folder": "step-00000003", "figure": "loss", "value": 3.0, "step": 3}
    scored(monkeypatch, [math.nan] * 4)
    fit(tmp_path / "none", eval_every=1)
    assert "no validation had a finite loss" in caplog.text
    assert not (tmp_path / "none/checkpoints/best.json").exists()


@pytest.mark.parametrize(("asked", "step"), [("label.accuracy", 2), ("accuracy", 2), ("min:label.accuracy", 1)])
def test_the_best_by_a_figure(tmp_path, monkeypatch, asked, step):
    scored(monkeypatch, [0.2, 0.9, 0.9, 0.5], "accuracy")
    fit(tmp_path, eval_every=1, best=asked)
    told = json.loads((tmp_path / "checkpoints/best.json").read_text())
    assert (told["figure"], told["step"]) == (asked.removeprefix("min:"), step)


def mine(predictions, references):
    return {"mine": 1.0}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("label.acuracy", "no figure 'acuracy'; did you mean accuracy"),
        ("lable.accuracy", "no task is called so; did you mean label"),
        ("fill.loss", "task 'fill' has no valid rows"),
        ("own.mine", "write 'max:own.mine' or 'min:own.mine'"),
        ("max:", "names no figure"),
        ("min:own.", "names no figure"),
    ],
)
def test_a_best_that_cannot_be(asked, message):
    tasks = [tiny.label_task(), tiny.fill_task(), tiny.label_task("own", metrics=[mine])]
    with pytest.raises(ConfigError, match=message):
        best.choose(asked, tasks)


def test_a_run_ends_early_and_is_left_so_until_it_is_asked_for_more(tmp_path, monkeypatch, caplog):
    scored(monkeypatch, [0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1], "accuracy")
    settings = {"eval_every": 1, "best": "label.accuracy", "max_steps": 7}
    fit(tmp_path, patience=2, **settings)
    assert last(tmp_path) == "step-00000003"
    assert "ends early at step 3 of 7: no better label.accuracy than 0.5 at step 1 in 2 validations" in caplog.text
    caplog.clear()
    assert [line["step"] for line in fit(tmp_path, patience=2, **settings).history] == [1, 1, 2, 2, 3, 3]
    assert "ended early at step 3" in caplog.text
    fit(tmp_path, patience=4, **settings)
    assert last(tmp_path) == "step-00000005"


def test_a_metric_that_failed_is_made_up_for(tmp_path, caplog):
    def bad(predictions, references):
        raise RuntimeError("boom")

    with pytest.raises(Exception, match="boom"):
        fit(tmp_path, tasks=tiny.label_task(metrics=[bad]))
    assert "the evaluation of step 4 failed; its checkpoint is in" in caplog.text
    trainer = fit(tmp_path)
    assert [(line["kind"], line["step"]) for line in trainer.history] == [("valid", 4)]
    assert json.loads((tmp_path / "checkpoints/best.json").read_text())["step"] == 4
    assert [line["kind"] for line in tiny.lines(tmp_path / "metrics.jsonl")].count("valid") == 1


@pytest.mark.parametrize("failing", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_is_full_keeps_the_good_checkpoint(tmp_path, monkeypatch, failing):
    fit(tmp_path, max_steps=2)
    write = store._write

    def full(path, chunks):
        if path.name == "optimizer.safetensors":
            path.write_bytes(next(chunks)[:10])
            raise OSError(failing, os.strerror(failing), str(path))
        return write(path, chunks)

    monkeypatch.setattr(store, "_write", full)
    with pytest.raises(CheckpointError, match=r"step 4 could not be written.*the checkpoint of step 2 is whole"):
        fit(tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["best.json", "last.json", "step-00000002"]
    monkeypatch.undo()
    assert fit(tmp_path).history[-1]["step"] == 4


def test_a_run_killed_between_its_two_pointers_keeps_its_best(tmp_path, monkeypatch):
    write = checkpoint.write_json

    def killed(path, value):
        if path.name == "best.json" and value["step"] == 4:
            raise KeyboardInterrupt  # what a kill leaves: the last pointer is written, that to the best is not
        write(path, value)

    scored(monkeypatch, [3.0, 1.0, 2.0])
    monkeypatch.setattr(checkpoint, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, max_steps=6, eval_every=2)
    monkeypatch.setattr(checkpoint, "write_json", write)
    assert json.loads((tmp_path / "checkpoints/best.json").read_text())["step"] == 2
    fit(tmp_path, max_steps=6, eval_every=2)
    best = json.loads((tmp_path / "checkpoints/best.json").read_text())
    assert (best["step"], best["value"], best["folder"]) == (4, 1.0, "step-00000004")


def test_a_disk_that_is_full_for_the_logs_at_the_start_is_told(tmp_path, monkeypatch):
    fit(tmp_path, max_steps=1)

    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(
            CheckpointError, match=r"could not be written \(No space.*the checkpoint of step 1 is whole"
        ):
            fit(tmp_path)
    assert fit(tmp_path).history[-1]["step"] == 4


def test_a_folder_that_is_removed_or_moved_while_a_run_goes_on_ends_it(tmp_path):
    out = tmp_path / "run"

    def moved(predictions, references):
        if not (tmp_path / "elsewhere").exists():
            out.rename(tmp_path / "elsewhere")
        return {"moved": 1.0}

    with pytest.raises(CheckpointError, match="is not the folder this run was begun in any more"):
        fit(out, tasks=tiny.label_task(metrics=[moved]), eval_every=2)
    assert not out.exists()
    assert fit(out).history[-1]["step"] == 4


def test_a_task_of_which_nothing_was_usable_before_nor_after_a_resume_is_an_error(tmp_path, monkeypatch):
    tasks = tiny.label_task(valid=None, train=tiny.label_rows(40, bad=tuple(range(39))))
    monkeypatch.setattr(steps.Steps, "check_learned", lambda self: None)
    monkeypatch.setattr(room.Run, "look_ahead", lambda self: [])
    drawn = fit(tmp_path, max_steps=4, tasks=tasks)
    monkeypatch.undo()
    monkeypatch.setattr(room.Run, "look_ahead", lambda self: [])
    assert not [line for line in drawn.history if line["kind"] == "train"]
    monkeypatch.setattr(rows.Quarantine, "take", lambda self, step, delivery: None)  # all of them known already
    with pytest.raises(DataError, match="none of the 16 rows that were drawn could be used"):
        fit(tmp_path, max_steps=5, tasks=tasks)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_step_and_saves(tmp_path, monkeypatch, number):
    update = steps.Steps.update

    def signalled(self, step, stream):
        update(self, step, stream)
        if step == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(steps.Steps, "update", signalled)
    signal.signal(number, signal.SIG_DFL)  # below nohup it is ignored, and a run leaves it so
    with pytest.raises(Terminated) as caught:
        fit(tmp_path)
    assert caught.value.code == 128 + number
    assert last(tmp_path) == "step-00000002"
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.slow
def test_a_signal_to_all_processes_of_a_run_ends_it_as_well(tmp_path, monkeypatch):
    update = steps.Steps.update

    def signalled(self, step, stream):
        update(self, step, stream)
        if step == 1:
            os.killpg(0, signal.SIGTERM)

    def alone():
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            fit(tmp_path, max_steps=50, workers=2)
        except Terminated as ended:
            return ended.code

    with monkeypatch.context() as within:
        within.setattr(steps.Steps, "update", signalled)
        done = aside(alone)
    assert (done.code, done.value) == (0, 128 + signal.SIGTERM)
    assert last(tmp_path) == "step-00000002"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_first_step_ends_as_ctrl_c_does_and_lets_go(tmp_path, monkeypatch, number):
    monkeypatch.setattr(room.Run, "look_ahead", lambda self: os.kill(os.getpid(), number))
    signal.signal(number, signal.SIG_DFL)
    with pytest.raises(Terminated) as ended:
        fit(tmp_path)
    assert ended.value.code == 128 + number
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_long_run_is_saved_by_the_clock(tmp_path, monkeypatch):
    saved, now = [], iter(range(0, 10**6, 25))
    monkeypatch.setattr(saving, "clock", lambda: next(now))
    save = saver.Saver.save
    monkeypatch.setattr(saver.Saver, "save", lambda own, names: (saved.append(own.setup.state.step), save(own, names)))
    fit(tmp_path / "clock", max_steps=9, save_minutes=1)
    assert len(saved) > 2
    saved.clear()
    fit(tmp_path / "never", max_steps=9, save_minutes=0)
    assert saved == [9]


def test_a_finished_run_says_so_with_what_has_changed(tmp_path, caplog):
    first = fit(tmp_path)
    again = fit(tmp_path, lr=1e-4)
    assert "holds a run that is finished (step 4 of 4): nothing is trained" in caplog.text
    assert "changed since: trainer.lr 0.005 -> 0.0001" in caplog.text
    assert [line["step"] for line in again.history] == [line["step"] for line in first.history]


def test_other_rows_of_the_same_number_are_told(tmp_path, caplog):
    def task(word):
        rows = [{**row, "text": f"{row['text']} {word}"} for row in tiny.label_rows()]
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return tiny.label_task(train=str(path))

    fit(tmp_path / "run", tasks=task("old"))
    fit(tmp_path / "run", tasks=task("old"), max_steps=5)
    assert "not those" not in caplog.text
    fit(tmp_path / "run", tasks=task("new"), max_steps=6)
    assert "task 'label': the train rows" in caplog.text
    assert "are not those this run was trained on so far" in caplog.text


@pytest.mark.parametrize("gone", [("last", "before"), ("last", "before", "best")])
def test_checkpoints_whose_pointers_are_gone_are_told_and_kept(tmp_path, monkeypatch, gone):
    scored(monkeypatch, [1.0, 3.0, 2.0])
    fit(tmp_path, max_steps=4, eval_every=2)
    place = tmp_path / "checkpoints"
    for name in gone:
        (place / f"{name}.json").unlink()
    there = {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
    said = r"holds step-00000002, step-00000004, and neither last.json nor .* new run would drop .* another `out`"
    with pytest.raises(ConfigError, match=said) as told:
        fit(tmp_path)
    assert {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()} == there
    content, pointer = re.search(r"write (\{.*\}) into (\S+);", str(told.value)).groups()
    Path(pointer).write_text(content)
    trainer = fit(tmp_path, max_steps=6)
    assert [line["step"] for line in trainer.history if line["kind"] == "train"] == [5, 6]


def test_a_run_killed_before_its_first_pointer_goes_on_from_what_it_saved(tmp_path, monkeypatch, caplog):
    def killed(path, value):
        raise KeyboardInterrupt

    write = checkpoint.write_json
    monkeypatch.setattr(checkpoint, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, save_every=2)
    monkeypatch.setattr(checkpoint, "write_json", write)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    trainer = fit(tmp_path, save_every=2)
    assert "holds step-00000002 and no pointer to it" in caplog.text
    assert [line["step"] for line in trainer.history if line["kind"] == "train"] == [3, 4]


def test_a_folder_whose_checkpoints_were_removed_begins_anew(tmp_path):
    fit(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints/.step-00000002.new").mkdir(parents=True)  # what a killed saving leaves
    assert fit(tmp_path).history[-1]["step"] == 4


@pytest.mark.parametrize("content", ["[]", '{"folder": 3}', '{"folder": "../../x"}', "{", '{"folder": ""}'])
def test_a_pointer_of_odd_content_is_an_error(tmp_path, content):
    fit(tmp_path)
    (tmp_path / "checkpoints/last.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"last\.json .*another folder"):
        fit(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", b"[]"),
        ("state.json", b"{"),
        ("state.json", b"\xff"),
        ("tasks.json", b"3"),
        ("tasks.json", b"[{}]"),
        ("model.json", b"[]"),
        ("optimizer.safetensors", b"no tensors"),
        ("model.safetensors", b"no tensors"),
        ("tokenizer.json", b"{}"),
    ],
)
def test_a_checkpoint_whose_sums_fit_its_odd_content_is_an_error(tmp_path, name, content):
    fit(tmp_path, max_steps=1)
    folder = tmp_path / "checkpoints/step-00000001"
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / name).write_bytes(content)
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"step-00000001|another `out`"):
        fit(tmp_path)
    if name not in ("state.json", "optimizer.safetensors"):
        with pytest.raises(CheckpointError, match=r"step-00000001|json"):
            OFASys.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"step": "four"},
        {"step": -1},
        {"drawn": []},
        {"drawn": {"label": "x"}},
        {"bad": 3},
        {"windows": {"label": {"what": 1}}},
        {"windows": {"label": 3}},
        {"sizes": {"label": [1]}},
        {"best": "x"},
        {"best": {"value": "x"}},
        {"stopped": 3},
        {"data": {"label": 3}},
    ],
)
def test_a_state_of_odd_content_is_an_error(tmp_path, change):
    sound = {"step": 1, "seed": 0, "drawn": {}, "bad": {}, "windows": {}, "sizes": {}}
    assert state.odd(sound) is None
    assert state.odd(sound | change) == next(iter(change.items()))
    fit(tmp_path, max_steps=1)
    store.write_folder(
        tmp_path / "checkpoints/step-00000001",
        {
            name: json.loads(data) if name.endswith(".json") else store.tensors(data)
            for name, data in store.read_folder(tmp_path / "checkpoints/step-00000001").items()
            if name != "state.json"
        }
        | {"state.json": sound | change},
    )
    with pytest.raises(CheckpointError, match=rf"state\.json: {next(iter(change))} is .*another `out`"):
        fit(tmp_path)


def test_a_best_checkpoint_that_is_gone_is_told_and_found_anew(tmp_path, monkeypatch, caplog):
    scored(monkeypatch, [1.0, 2.0, 3.0])
    fit(tmp_path, max_steps=2, eval_every=1)
    shutil.rmtree(tmp_path / "checkpoints/step-00000001")
    fit(tmp_path)
    assert "the best checkpoint is not there any more" in caplog.text
    assert json.loads((tmp_path / "checkpoints/best.json").read_text())["step"] == 4


# --- a saved model is gone on with -----------------------------------------------------------------------------------


def test_what_is_given_is_what_comes_back(tmp_path):
    fit(tmp_path)
    loaded = OFASys.from_pretrained(tmp_path)
    task = tiny.fill_task(valid=tiny.label_rows(2))
    trainer = Trainer(max_steps=1, live=False)
    found = trainer.fit(model=loaded, tasks=task)
    assert isinstance(found, OFASys)
    assert [card.name for card in found.cards] == ["fill", "label"]
    assert found.inference(tiny.LABEL, data={"text": "red fish"}).text in tiny.COLOURS
    assert set(trainer.evaluate(model=found, tasks=[task])["fill"]) >= {"loss", "samples"}
    with pytest.raises(ConfigError, match="model is int; give"):
        trainer.fit(model=3, tasks=task)


def test_a_set_of_labels_keeps_its_order_and_new_ones_come_after(tmp_path):
    fit(tmp_path)
    rows = [*tiny.label_rows(8), {"text": "amber bird", "label": "amber"}]
    task = tiny.label_task(train=rows)
    found = Trainer(max_steps=1, live=False).fit(model=OFASys.from_pretrained(tmp_path), tasks=task)
    assert found.cards[0].labels["label"] == ["blue", "green", "red", "white", "amber"]


def test_a_head_that_grows_keeps_what_it_learned():
    def task(rows):
        return Task("t", "[TEXT:text] -> [CATEGORY:label,adaptor=head]", train=rows, micro_batch_size=4)

    model = tiny.model()
    fit(model=model, tasks=task(tiny.label_rows()))
    before = model.symbols.vocabulary
    learned = model.table[slice(*before.span(before.ranges[-1][0]))].detach().clone()
    rows = [*tiny.label_rows(8), {"text": "amber bird", "label": "amber"}]
    fit(model=model, tasks=task(rows), max_steps=1, lr=1e-12)
    _, start, size = model.symbols.vocabulary.ranges[-1]
    assert size == 5
    assert torch.allclose(model.table[start : start + 4], learned, atol=1e-6)


def test_a_run_that_is_there_wins_over_the_model_given(tmp_path, caplog):
    fit(tmp_path / "a")
    trainer = Trainer(max_steps=6, out=tmp_path / "a", live=False, log_every=1)
    trainer.fit(model=OFASys.from_pretrained(tmp_path / "a"), tasks=tiny.label_task())
    assert "its weights are gone on with, not those given" in caplog.text
    assert trainer.history[0]["step"] == 5


def test_a_task_that_is_resumed_on_another_column_gathers_its_labels(tmp_path):
    rows = [row | {"length": len(row["text"]) > 12} for row in tiny.label_rows()]
    trainer = Trainer(max_steps=2, live=False, out=tmp_path)
    trainer.fit(tiny.model(), tiny.label_task(train=rows, valid=rows))
    line = "[TEXT:text] is it long? -> [CATEGORY:length]"
    model = replace(trainer, max_steps=4).fit(tiny.model(), tiny.label_task(instruction=line, train=rows, valid=rows))
    assert list(model.cards[0].labels["length"]) == ["False", "True"]
    assert OFASys(model, model.cards).inference("label", rows[0])["length"] in ("False", "True")


def test_a_task_is_as_it_was_after_a_model_with_other_labels():
    wide = tiny.model()
    rows = tiny.label_rows(12)
    Trainer(max_steps=1).fit(model=wide, tasks=tiny.label_task(train=[*rows, {"text": "old", "label": "purple"}]))
    task = tiny.label_task(train=rows)
    before = task.labels
    Trainer().evaluate(model=wide, tasks=task)
    assert task.labels == before
    Trainer(max_steps=1).fit(model=wide, tasks=task)
    assert task.labels == before
    assert "purple" in next(card for card in wide.cards if card.name == task.name).labels["label"]


def test_a_signal_while_a_due_evaluation_is_made_up_for_ends_the_run(tmp_path, monkeypatch):
    def fails(predictions, references):
        raise RuntimeError("boom")

    def settings(metric):
        return {"model": tiny.model(), "tasks": tiny.label_task(metrics=[metric])}

    with pytest.raises(RuntimeError, match="boom"):
        Trainer(max_steps=2, out=tmp_path).fit(**settings(fails))

    def asked(predictions, references):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"asked": 1.0}

    with pytest.raises(SystemExit) as ended:
        Trainer(max_steps=2, out=tmp_path).fit(**settings(asked))
    assert ended.value.code == 143


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_source_that_vanishes_costs_no_step(tmp_path, workers):
    """With bad rows, two micro-batches an update; the run goes on when the file is there again, to the same weights."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in tiny.label_rows(12, bad=(3, 7, 10))))
    away = tmp_path / "elsewhere"

    class Removes(Callback):
        def after_step(self, run):
            if run.step == 3:
                path.rename(away)

    def run(out, **changes):
        model = tiny.model()
        task = tiny.label_task(train=str(path), bad_limit=5, micro_batch_size=2)
        fit(out, model, [task, tiny.fill_task()], max_steps=20, accumulate=2, workers=workers, **changes)
        return tiny.weights(model), tiny.lines(out / "quarantine.jsonl"), tiny.lines(out / "metrics.jsonl")

    whole = run(tmp_path / "whole")
    with pytest.raises(LoadingError):
        run(tmp_path / "cut", callbacks=[Removes()])
    saved = int(last(tmp_path / "cut")[5:])
    assert 3 <= saved < 20
    away.rename(path)
    again = run(tmp_path / "cut")
    assert tiny.same_weights(again[0], whole[0])
    assert again[1:] == whole[1:]
    assert len(whole[1]) == 3
