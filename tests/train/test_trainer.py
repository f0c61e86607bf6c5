import json
import math
import os

import numpy as np
import pytest
import torch

from ofasys import Callback, CheckpointError, ConfigError, DataError, OFASys, Task, Trainer
from ofasys.train import record, steps, validation
from tests.train import tiny


def fit(tasks, model=None, **changes):
    """(model, trainer) of a short run."""
    trainer = Trainer(**({"max_steps": 4, "warmup": 1, "log_every": 1, "lr": 5e-3} | changes))
    return trainer.fit(model=model or tiny.model(), tasks=tasks), trainer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": 0}, "trainer.max_steps is 0; it is 1 or more"),
        ({"accumulate": 0}, "trainer.accumulate"),
        ({"log_every": 0}, "trainer.log_every"),
        ({"eval_batch_size": 0}, "trainer.eval_batch_size"),
        ({"eval_samples": 0}, "trainer.eval_samples"),
        ({"warmup": -1}, "trainer.warmup is -1; it is 0 or more"),
        ({"workers": -1}, "trainer.workers"),
        ({"weight_decay": -0.1}, "trainer.weight_decay"),
        ({"lr": 0.0}, "trainer.lr"),
        ({"lr": float("nan")}, "trainer.lr"),
        ({"clip": 0.0}, "clip"),
        ({"decay": "cosin"}, "decay is 'cosin'"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"schedule": "robin"}, "unknown schedule 'robin'; did you mean round_robin"),
        ({"device": "gpu"}, "trainer.device is 'gpu'"),
        ({"save_every": 5}, "trainer.save_every is 5, and there is no `out`"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        Trainer(**changes)


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        (list, ConfigError, "there is no task"),
        (lambda: [tiny.label_task(), tiny.label_task()], ConfigError, "two tasks are named 'label'"),
        (lambda: [tiny.label_task(train=None)], ConfigError, "task 'label' has no train rows"),
        (lambda: [tiny.label_task(join=2)], ConfigError, "no task is active from step 0 to step 1"),
        (lambda: [tiny.label_task(leave=3)], ConfigError, "no task is active from step 3"),
    ],
)
def test_tasks_that_do_not_go_together_leave_the_model_as_it_was(tasks, error, message):
    model = tiny.model()
    with pytest.raises(error, match=message):
        fit(tasks(), model)
    assert model.symbols is None


# --- what is learned -------------------------------------------------------------------------------------------------


def test_a_tiny_model_learns_eight_rows_by_heart():
    task = tiny.label_task(train=tiny.label_rows(8), valid=tiny.label_rows(8), micro_batch_size=8)
    model, trainer = fit([task], tiny.model(dropout=0.0), max_steps=60, lr=1e-2, warmup=5, log_every=20)
    assert trainer.history[-1]["accuracy"] == 1.0
    asked = OFASys(model, [record.card_of(task)]).inference(tiny.LABEL, data=tiny.label_rows(8))
    assert [out.text for out in asked] == [row["label"] for row in tiny.label_rows(8)]


def test_infilling_and_boxes_are_learned():
    _, trainer = fit([tiny.fill_task(), tiny.box_task()], tiny.model(dropout=0.0), max_steps=60, lr=1e-2, log_every=20)
    for name in ("fill", "box"):
        losses = [line["loss"] for line in trainer.history if line["task"] == name]
        assert losses[-1] < 0.7 * losses[0]


def test_what_a_task_does_not_use_stays_bit_for_bit(monkeypatch):
    """After step 1 no task has pictures: their adaptor is not decayed, and its moments stand still."""
    seen = []
    update = steps.Steps.update

    def watched(run, step, stream):
        update(run, step, stream)
        images = {name: p for name, p in run.model.named_parameters() if "image" in name}
        moments = {
            f"{name}/{kind}": v.clone() for name, p in images.items() for kind, v in run.optimizer.state[p].items()
        }
        seen.append({name: p.detach().clone() for name, p in images.items()} | moments)

    monkeypatch.setattr(steps.Steps, "update", watched)
    fit([tiny.box_task(leave=2), tiny.label_task(valid=None, join=2)], weight_decay=0.5)
    assert any(name.endswith("exp_avg") for name in seen[0])
    assert not tiny.same_weights(seen[0], seen[1])
    assert tiny.same_weights(seen[1], seen[2])
    assert tiny.same_weights(seen[1], seen[3])


def test_gradients_are_clipped(monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def watched(self, *rest):
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        whole = torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))
        norms.append(float(whole / self.grad_scale))  # the optimizer divides by it as it reads
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    fit([tiny.label_task()], clip=0.25)
    assert len(norms) == 4
    assert all(norm <= 0.2501 for norm in norms)


def test_a_gradient_that_is_not_finite_stops_before_it_does_harm(tmp_path, monkeypatch):
    backward = steps.Steps.backward

    def broken(run, part, *rest):
        learned = backward(run, part, *rest)
        if part.delivery.ticket.step == 2:
            run.model.table.grad[5, 5] = float("nan")
        return learned

    monkeypatch.setattr(steps.Steps, "backward", broken)
    with pytest.raises(ConfigError, match=r"the gradient is nan at step 3 \(task .label., rows .*\); lower lr=0\.005"):
        fit([tiny.label_task(valid=None)], out=tmp_path, save_every=1, skip_limit=0)
    assert all(value.isfinite().all() for value in tiny.weights(OFASys.from_pretrained(tmp_path).model).values())


def test_accumulated_micro_batches_have_equal_parts(monkeypatch):
    """Two micro-batches of equal tokens in one step give the gradient of one of twice the size."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, *rest):
        seen.append([p.grad.clone() for group in self.param_groups for p in group["params"] if p.grad is not None])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    rows = [{"text": f"{c} bird", "label": c} for c in ("red", "blue")] * 4
    for accumulate, size in ((2, 4), (1, 8)):
        task = tiny.label_task(train=rows, valid=None, micro_batch_size=size, shuffle=False, buckets=False)
        fit([task], tiny.model(dropout=0.0), max_steps=1, accumulate=accumulate)
    assert len(seen[0]) == len(seen[1])
    assert all(torch.allclose(two, one, rtol=1e-3, atol=1e-6) for two, one in zip(*seen, strict=True))


@pytest.mark.parametrize("extra", ["weight=3", "no_loss"])
def test_weight_and_no_loss(extra):
    def first(instruction, **changes):
        rows = [{"a": "old bird", "b": "new fish"}] * 2
        task = Task("t", instruction, rows, micro_batch_size=2, **changes)
        return fit([task], tiny.model(dropout=0.0), max_steps=1)[1].history[0]

    plain = first("-> [TEXT:a] [TEXT:b]")
    changed = first("-> [TEXT:a] [TEXT:b,weight=3]" if extra == "weight=3" else "-> [TEXT:a,no_loss] [TEXT:b]")
    assert plain["loss"] == pytest.approx(plain["loss/a"] + plain["loss/b"], rel=1e-5)
    if extra == "no_loss":
        assert "loss/a" not in changed
        assert changed["loss"] == pytest.approx(changed["loss/b"], rel=1e-5)
    else:
        assert changed["loss/b"] == pytest.approx(plain["loss/b"], rel=1e-5)
        assert changed["loss"] == pytest.approx(plain["loss/a"] + 3 * plain["loss/b"], rel=1e-5)


def test_smoothing_raises_the_loss_that_is_minimised():
    losses = [fit([tiny.label_task(smoothing=s, valid=None)], max_steps=1)[1].history[0]["loss"] for s in (0.0, 0.3)]
    assert losses[0] != losses[1]


# --- the history, the log, the folder --------------------------------------------------------------------------------


def test_the_history_has_a_line_per_task_that_took_part():
    tasks = [tiny.label_task(leave=3), tiny.fill_task(join=2, valid=tiny.label_rows(2))]
    _, trainer = fit(tasks, max_steps=6, log_every=2, eval_every=3)
    train = [(line["step"], line["task"]) for line in trainer.history if line["kind"] == "train"]
    assert train == [(2, "label"), (4, "label"), (4, "fill"), (6, "fill")]
    valid = [(line["step"], line["task"]) for line in trainer.history if line["kind"] == "valid"]
    assert valid == [(3, "label"), (3, "fill"), (6, "label"), (6, "fill")]
    line = trainer.history[0]
    assert {"loss", "loss/label", "samples", "tokens_per_second", "useful", "waiting", "lr", "bad"} <= line.keys()
    assert line["samples"] == 8
    assert 0 < line["useful"] <= 1


def test_the_folder_of_a_run(tmp_path, capfd, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.6])
    evaluate = validation.evaluate_task
    monkeypatch.setattr(validation, "evaluate_task", lambda *a, **k: evaluate(*a, **k) | {"loss": next(losses)})
    task = tiny.label_task(generate={"max_length": 4})
    model, _ = fit([task], max_steps=8, eval_every=2, out=tmp_path, workers=2)
    assert capfd.readouterr() == ("", "")
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["checkpoints", "metrics.jsonl", "run.json", "tensorboard"]
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["before.json", "best.json", "last.json", "step-00000004", "step-00000006", "step-00000008"]
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["trainer"]["max_steps"] == 8
    assert run["trainer"]["schedule"] == "round_robin"
    assert run["model"]["parameters"] == model.parameters_count
    assert run["model"]["config"] == tiny.CONFIG.to_dict()
    (about,) = run["tasks"]
    assert about["instructions"] == [str(task.instructions[0])]
    assert about["data"] == {"train": "list of 12 rows", "valid": "list of 4 rows"}
    assert about["labels"] == {"label": ["blue", "green", "red", "white"]}
    assert about["plans"] == [task.plan.fingerprint]
    assert (about["micro_batch_size"], about["on_bad"], about["metrics"]) == (4, "skip", ["accuracy"])
    assert about["generate"]["max_length"] == 4


def test_nothing_is_kept_without_a_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    fit([tiny.label_task(train=tiny.label_rows(12, bad=(1,)))], eval_every=2)
    assert not os.listdir(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_random_state_of_the_process_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit([tiny.label_task()])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_on_the_cpu_leaves_the_random_state_of_other_devices_alone(monkeypatch):
    """Where there is none, torch notes with the whole stack that it is to be seeded: a tenth of a tiny step."""

    class Watch(Callback):
        def before_fit(self, run):
            monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)

    seeded = []
    fit([tiny.label_task()], callbacks=[Watch()])
    assert not seeded


def test_two_trainers_in_one_process():
    alone = tiny.weights(fit([tiny.label_task()])[0])
    one, two = Trainer(max_steps=4, warmup=1, lr=5e-3), Trainer(max_steps=2)
    task = tiny.label_task()
    first = one.fit(model=tiny.model(), tasks=[task])
    second = two.fit(model=tiny.model(seed=1), tasks=[task])
    assert tiny.same_weights(tiny.weights(first), alone)
    assert first.table.data_ptr() != second.table.data_ptr()
    assert {line["step"] for line in two.history} == {2}


# --- growing ---------------------------------------------------------------------------------------------------------


def test_a_second_fit_grows_the_model_and_keeps_what_is_there():
    model, _ = fit([tiny.label_task()])
    table, vocabulary = model.table.detach().clone(), model.symbols.vocabulary
    _, trainer = fit([tiny.box_task(weight=2.0), tiny.label_task()], model, max_steps=1, lr=1e-9)
    assert model.symbols.vocabulary.ranges[: len(vocabulary.ranges)] == vocabulary.ranges
    assert model.symbols.vocabulary.ranges[-1][0] == "bins"
    assert torch.allclose(model.table[: vocabulary.size], table, atol=1e-6)
    assert trainer.history[0]["task"] == "box"


def test_training_goes_on_after_inference_and_from_pretrained(tmp_path):
    task = tiny.label_task()
    model, _ = fit([task], out=tmp_path)
    asked = OFASys.from_pretrained(tmp_path)
    assert tiny.same_weights(tiny.weights(asked.model), tiny.weights(model))
    before = asked.inference(tiny.LABEL, data={"text": "red fish"})
    _, trainer = fit([task], asked.model, max_steps=60, lr=1e-2)
    assert trainer.history[-2]["loss"] < trainer.history[0]["loss"]
    after = asked.inference(tiny.LABEL, data={"text": "red fish"})
    assert after.text == "red"
    assert after.score > before.score or before.text != "red"


# --- bad rows --------------------------------------------------------------------------------------------------------


def test_bad_rows_are_skipped_counted_once_and_written_down(tmp_path):
    task = tiny.label_task(train=tiny.label_rows(6, bad=(1, 4)), micro_batch_size=3, bad_limit=2)
    _, trainer = fit([task], max_steps=8, out=tmp_path)
    written = tiny.lines(tmp_path / "quarantine.jsonl")
    assert sorted(line["row"] for line in written) == [1, 4]
    assert all(line["task"] == "label" and "column 'text'" in line["problem"] for line in written)
    assert [line["bad"] for line in trainer.history if line["kind"] == "train"][-1] == 2


def test_too_many_bad_rows_stop_the_run(tmp_path):
    task = tiny.label_task(train=tiny.label_rows(12, bad=(1, 4, 5)), bad_limit=2)
    with pytest.raises(
        DataError, match=r"3 bad rows, more than bad_limit=2; mend them or raise it; the first: "
    ) as caught:
        fit([task], max_steps=8, out=tmp_path)
    error = caught.value
    assert (error.task, error.slot, error.column) == ("label", "TEXT:text", "text")
    assert error.sample.startswith("train row ")
    assert error.expected
    assert len(tiny.lines(tmp_path / "quarantine.jsonl")) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_task_may_stop_at_the_first(workers):
    task = tiny.label_task(train=tiny.label_rows(6, bad=(1,)), on_bad="stop")
    with pytest.raises(DataError, match="train row 1"):
        fit([task], max_steps=8, workers=workers)


def test_a_missing_target_column_is_a_bad_row_and_missing_everywhere_an_error_at_once():
    rows = [*tiny.label_rows(5), {"text": "old tree"}]
    _, trainer = fit([tiny.label_task(train=rows)])
    assert trainer.history[-2]["bad"] == 1
    with pytest.raises(DataError, match="no column 'text'") as caught:
        fit([Task("t", "[TEXT:label] -> [TEXT:text]", [{"label": "a"}])])
    assert (caught.value.task, caught.value.column) == ("t", "text")


def test_a_micro_batch_of_bad_rows_alone_is_passed_over():
    task = tiny.label_task(train=tiny.label_rows(6, bad=(0, 1)), micro_batch_size=2, shuffle=False, buckets=False)
    _, trainer = fit([task], max_steps=3)
    assert [line["step"] for line in trainer.history if line["kind"] == "train"] == [2, 3]


def test_training_on_bad_rows_alone_is_refused():
    rows = [{"text": [5], "label": "red"}, {"text": None, "label": "blue"}]
    with pytest.raises(DataError, match=r"none of 2 training rows \(all there are\) can be used"):
        fit([tiny.label_task(train=rows, micro_batch_size=2)], max_steps=8)


def test_a_bad_row_of_a_valid_set_stops():
    task = tiny.label_task(valid=tiny.label_rows(4, bad=(2,)))
    with pytest.raises(DataError, match="valid row 2") as caught:
        fit([task])
    assert (caught.value.task, caught.value.column) == ("label", "text")


def test_evaluation_asked_for_without_rows_is_refused():
    with pytest.raises(ConfigError, match=r"trainer\.eval_every is 2, and no task has valid rows"):
        fit([tiny.label_task(valid=None)], eval_every=2)


@pytest.mark.parametrize("rows", [1, 2, 3, 16])
def test_data_shorter_than_a_batch_goes_round_several_times_in_one(rows):
    task = tiny.label_task(train=tiny.label_rows(rows), valid=None, micro_batch_size=16, closed_set=tiny.COLOURS)
    _, trainer = fit([task])
    assert trainer.history[0]["samples"] == 16 * trainer.history[0]["step"]


def test_a_contrast_of_a_row_with_itself_is_refused():
    rows = [{"a": "one", "b": "1"}, {"a": "two", "b": "2"}, {"a": "three", "b": "3"}]
    with pytest.raises(ConfigError, match=r"a contrast over 8 samples of 3 rows .*give micro_batch_size=3 or less"):
        fit([Task("pairs", "[TEXT:a|TEXT:b] ->", train=rows, micro_batch_size=8)])
    _, trainer = fit([Task("pairs", "[TEXT:a|TEXT:b] ->", train=rows, micro_batch_size=3)])
    assert trainer.history[0]["samples"] == 3 * trainer.history[0]["step"]


SHORT = {"w": (np.sin(np.arange(800) / 9).astype(np.float32), 8000), "t": "far too long for a tenth of a second"}
SPOKEN = "[AUDIO:w,rate=8000,mels=40,criterion=ctc,ctc_target=t] ->"


def test_a_loss_over_nothing_is_no_number(tmp_path):
    """No value can be aligned: the log and the evaluation say so, no step is taken, and nothing is the best."""
    fits = {**SHORT, "t": "f"}
    task = Task("c", SPOKEN, train=[SHORT] * 4, valid=[SHORT] * 3, micro_batch_size=4)
    model = tiny.model()
    model.grow([(task.plan, task.labels)], task.texts)
    before = tiny.weights(model)
    _, trainer = fit([task], model, log_every=2, max_steps=2, out=tmp_path / "run")
    assert tiny.same_weights(before, tiny.weights(model))
    train, valid = trainer.history
    assert all(math.isnan(train[name]) for name in ("loss", "loss/w"))
    assert math.isnan(valid["loss"])
    assert (train["ctc_short/w"], valid["ctc_short/w"]) == (8, 3)
    logged = tiny.lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["loss"] for line in logged] == [None, None]
    assert not (tmp_path / "run" / "checkpoints" / "best.json").exists()
    some = Task("c", SPOKEN, train=[SHORT, fits, SHORT, SHORT], valid=[SHORT, fits, fits], micro_batch_size=4)
    _, trainer = fit([some], max_steps=2, log_every=2)
    train, valid = trainer.history
    assert train["loss"] > 1
    assert valid["loss"] > 1
    assert (train["ctc_short/w"], valid["ctc_short/w"]) == (6, 1)


def test_a_closed_set_of_one_leaves_nothing_to_learn():
    with pytest.raises(ConfigError, match="leaves no choice"):
        fit([tiny.label_task(closed_set=["red"], train=[{"text": "a", "label": "red"}] * 4, valid=None)])


def test_a_task_may_weigh_its_loss():
    _, whole = fit([tiny.label_task()], max_steps=1)
    _, half = fit([tiny.label_task(loss_weight=0.5)], max_steps=1)
    assert whole.history[0]["loss"] == half.history[0]["loss"]  # what is told is the loss itself
    with pytest.raises(ConfigError, match="loss_weight=0"):
        tiny.label_task(loss_weight=0)


def test_a_bad_valid_row_does_not_cost_the_training(tmp_path):
    with pytest.raises(DataError, match="valid row 3"):  # no row that is looked at before the first step
        fit([tiny.label_task(valid=tiny.label_rows(9, bad=(3,)))], out=tmp_path)
    _, trainer = fit([tiny.label_task()], out=tmp_path)
    assert [(line["kind"], line["step"]) for line in trainer.history] == [("valid", 4)]  # the run is there, whole


def test_a_task_of_another_size_does_not_go_on(tmp_path):
    fit([tiny.label_task(valid=None)], out=tmp_path, max_steps=2)
    with pytest.raises(CheckpointError, match="its place in the data would be another"):
        fit([tiny.label_task(valid=None, micro_batch_size=1)], out=tmp_path, max_steps=4)


def test_a_schedule_of_ones_own():
    class Largest:
        def turns(self, step, tasks):
            from ofasys.task.schedule import Turn

            return [Turn(max(tasks, key=lambda task: task.size or 0).name, 2)]

    _, trainer = fit([tiny.label_task(valid=None), tiny.fill_task()], schedule=Largest())
    assert {line["task"] for line in trainer.history} == {"label"}
    assert trainer.history[0]["samples"] == 8


def test_a_folder_that_is_not_a_run_is_not_taken_for_one(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"last\.json cannot be read"):
        fit([tiny.label_task()], out=tmp_path)


def test_a_run_that_used_no_row_is_an_error_and_one_that_left_out_some_says_so(tmp_path, caplog):
    """Too few bad rows for the limit, and yet all that were drawn."""
    rows = [{"text": "fine" if i == 0 else None, "label": "red" if i % 2 else "blue"} for i in range(90)]
    with pytest.raises(
        DataError, match=r"none of the 16 rows that were drawn could be used; the first: .*task 'label'"
    ):
        fit([tiny.label_task(train=rows, valid=None)], max_steps=4, out=tmp_path / "none")
    caplog.clear()
    fit([tiny.label_task(train=tiny.label_rows(12, bad=(3, 7)), valid=None)], max_steps=6, out=tmp_path / "some")
    (told,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert told.startswith(
        "task 'label': 2 of its 12 training rows were left out as bad, the first: the value is missing"
    )
    assert told.endswith("quarantine.jsonl")
    caplog.clear()
    fit([tiny.label_task(train=tiny.label_rows(12), valid=None)], max_steps=6)
    assert not caplog.records


def test_what_no_row_can_be_read_with_ends_the_run_at_once(monkeypatch):
    """A library that is missing is no fault of a row."""

    def lacking(*given, **named):
        raise ConfigError('this needs a library: pip install "ofasys[audio]"')

    monkeypatch.setattr("ofasys.task.loader.flow.preprocess", lacking)
    with pytest.raises(ConfigError, match=r"task 'label': this needs a library: pip install"):
        fit([tiny.label_task()], max_steps=4)
