"""Parts of a run that users add: when they are called, what they keep, what they may end, and what does not fit."""

from __future__ import annotations

import json

import pytest
import torch

from ofasys import Callback, CheckpointError, ConfigError, OFASys, Trainer
from ofasys.errors import PluginError
from ofasys.hub.store import read_folder, tensors
from ofasys.train.callbacks import EMA
from tests.train import tiny


def fit(out=None, callbacks=(), model=None, task=None, **settings):
    settings = {"max_steps": 4, "lr": 5e-3, "live": False, "decay": "constant", "warmup": 0} | settings
    trainer = Trainer(out=out, callbacks=callbacks, **settings)
    model = model or tiny.model()
    trainer.fit(model=model, tasks=task or tiny.label_task())
    return trainer, model


class Told(Callback):
    """Writes down what it is called with."""

    def __init__(self, name="told"):
        self.name, self.calls = name, []

    def __getattribute__(self, method):
        if method.startswith(("before_", "after_")):
            return lambda run: self.calls.append((method, run.step, bool(run.figures)))
        return super().__getattribute__(method)


def test_they_are_called_around_everything_in_order(tmp_path):
    told, other = Told(), Told("other")
    fit(tmp_path, [told, other], max_steps=3, eval_every=2, save_every=1, async_save=False)
    assert told.calls == other.calls
    saved = [("before_save", 1, False), ("after_save", 1, False)]
    assert told.calls == [
        ("before_fit", 0, False),
        ("before_step", 0, False),
        ("after_step", 1, False),
        *saved,
        ("before_step", 1, False),
        ("after_step", 2, False),
        ("before_evaluation", 2, False),
        ("after_evaluation", 2, True),
        ("before_save", 2, True),
        ("after_save", 2, True),
        ("before_step", 2, True),
        ("after_step", 3, True),
        ("before_evaluation", 3, False),
        ("after_evaluation", 3, True),
        ("before_save", 3, True),
        ("after_save", 3, True),
        ("after_fit", 3, True),
    ]


def test_one_that_does_nothing_changes_nothing():
    assert tiny.same_weights(tiny.weights(fit()[1]), tiny.weights(fit(callbacks=[Callback()])[1]))


class Counts(Callback):
    """Keeps a number and a tensor."""

    def __init__(self):
        self.count, self.sum = 0, torch.zeros(2)

    def after_step(self, run):
        self.count += 1
        self.sum = self.sum + run.step

    def state(self):
        return {"count": self.count, "sum": self.sum}

    def restore(self, state):
        self.count, self.sum = state["count"], state["sum"]


def test_what_they_keep_is_saved_with_the_run(tmp_path):
    fit(tmp_path, [Counts()], max_steps=3)
    again = Counts()
    fit(tmp_path, [again], max_steps=5)
    assert (again.count, again.sum.tolist()) == (5, [15.0, 15.0])
    state = json.loads((tmp_path / "checkpoints/step-00000005/state.json").read_text())
    assert state["callbacks"] == {"Counts": {"count": 5}}
    assert json.loads((tmp_path / "run.json").read_text())["trainer"]["callbacks"] == ["Counts"]


def test_a_run_whose_callback_is_missing_is_refused(tmp_path):
    fit(tmp_path, [Counts()], max_steps=2)
    with pytest.raises(
        ConfigError, match=r"a callback 'Counts' that keeps a state, and it is not among .*\(Callback\)"
    ):
        fit(tmp_path, [Callback()])
    fit(tmp_path, [Counts(), Callback()])  # a new one begins anew


class Odd(Counts):
    name = "Counts"

    def restore(self, state):
        self.count = state["cuont"]


def test_a_state_it_cannot_take_is_refused(tmp_path):
    fit(tmp_path, [Counts()], max_steps=2)
    with pytest.raises(
        CheckpointError, match=r"callback 'Counts' cannot go on from what it kept \(KeyError: 'cuont'\)"
    ):
        fit(tmp_path, [Odd()])


class Stops(Callback):
    def after_step(self, run):
        if run.step == 2:
            run.stop("enough is enough")


def test_they_may_end_the_run(tmp_path, caplog):
    trainer, _ = fit(tmp_path, [Stops()], max_steps=9)
    assert trainer.history[-1]["step"] == 2
    assert trainer.history[-1]["kind"] == "valid"
    assert "the run ends early at step 2 of 9: enough is enough" in caplog.text
    assert json.loads((tmp_path / "checkpoints/last.json").read_text())["folder"] == "step-00000002"
    caplog.clear()
    fit(tmp_path, [Stops()], max_steps=9)
    assert "ended early at step 2: enough is enough; nothing is trained" in caplog.text


@pytest.mark.parametrize(
    ("hook", "step", "kept"),
    [
        ("before_fit", 0, None),
        ("before_step", 2, 2),
        ("after_step", 3, 2),
        ("before_save", 1, None),
        ("after_save", 2, 2),
    ],
)
def test_one_that_raises_names_itself_and_nothing_saved_is_lost(hook, step, kept, tmp_path):
    def broken(self, run):
        if run.step == step:
            raise ZeroDivisionError("by zero")

    told = (
        rf"callback 'Broken' raised ZeroDivisionError in {hook} at step {step}: by zero; the last checkpoint is whole"
    )
    callbacks = [type("Broken", (Callback,), {hook: broken})()]
    with pytest.raises(PluginError, match=told):
        fit(tmp_path, callbacks, save_every=1 if step < 2 else 2, async_save=False)
    pointer = tmp_path / "checkpoints/last.json"
    assert (json.loads(pointer.read_text())["folder"] == f"step-{kept:08d}") if kept else not pointer.exists()
    _, model = fit(tmp_path)
    assert tiny.same_weights(tiny.weights(model), tiny.weights(fit()[1]))


def hooked(**methods):
    return type("Mine", (Callback,), methods)()


@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        (Callback(), "trainer.callbacks is .*; give a list of callbacks"),
        ("EMA", "trainer.callbacks is 'EMA'; give a list of callbacks"),
        ([EMA], r"has the class EMA; give EMA\(\)"),
        ([print], "has a builtin_function_or_method; each is a Callback"),
        ([EMA(), EMA()], "has two called 'EMA', and their state would be one"),
        ([hooked(on_step_end=lambda self, run: 0)], "has a method on_step_end, which nothing calls; .*after_step"),
        ([hooked(after_stpe=lambda self, run: 0)], "method after_stpe, which nothing calls; did you mean after_step"),
        ([hooked(after_step=lambda self: 0)], r"after_step\(\) cannot be called with a run; take \(self, run\)"),
        ([hooked(name="a/b")], "a callback's name is 'a/b'; it is a word without /"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_trainer_is_made(callbacks, said):
    with pytest.raises(ConfigError, match=said):
        Trainer(callbacks=callbacks)


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_ema_of_no_decay(decay):
    with pytest.raises(ConfigError, match="EMA has decay="):
        EMA(decay)


def test_ema_is_torch_s_own():
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    class Peer(Callback):
        def before_fit(self, run):
            self.model = AveragedModel(run.model.engine, multi_avg_fn=get_ema_multi_avg_fn(0.9))
            self.model.update_parameters(run.model.engine)

        def after_step(self, run):
            self.model.update_parameters(run.model.engine)

    ours, peer = EMA(0.9), Peer()
    _, model = fit(callbacks=[ours, peer], max_steps=6)
    for name, value in peer.model.module.named_parameters():
        torch.testing.assert_close(ours.average[f"engine.{name}"], value.detach())
    assert not tiny.same_weights(ours.average, dict(model.named_parameters()))


def test_ema_killed_and_resumed_is_never_killed(tmp_path):
    whole = EMA(0.8)
    fit(tmp_path / "whole", [whole], max_steps=6, save_every=2)
    fit(tmp_path / "cut", [EMA(0.8)], max_steps=3, save_every=3)
    again = EMA(0.8)
    fit(tmp_path / "cut", [again], max_steps=6, save_every=2)
    assert tiny.same_weights(whole.average, again.average)
    files = read_folder(tmp_path / "cut/checkpoints/step-00000006")
    kept = tensors(files["callbacks.safetensors"])
    assert tiny.same_weights({name: kept[f"EMA/{name}"] for name in whole.average}, whole.average)


def test_ema_is_what_is_evaluated_and_the_weights_stay(tmp_path):
    ema = EMA(0.5)
    trainer, model = fit(tmp_path, [ema], max_steps=3)
    plain, bare = fit(max_steps=3)
    assert tiny.same_weights(tiny.weights(model), tiny.weights(bare))
    assert trainer.history[-1]["loss"] != plain.history[-1]["loss"]
    with ema.averaged(model):
        figures = trainer.evaluate(model=model, tasks=tiny.label_task(), split="valid")["label"]
    assert figures["loss"] == trainer.history[-1]["loss"]
    assert tiny.same_weights(tiny.weights(model), tiny.weights(bare))
    _, averaged = fit(callbacks=[EMA(0.5, keep=True)], max_steps=3)
    assert tiny.same_weights(dict(averaged.named_parameters()), ema.average)
    assert OFASys.from_pretrained(tmp_path).inference(tiny.LABEL, data={"text": "red fish"}).text in tiny.COLOURS


def test_ema_grows_with_the_model(tmp_path):
    ema = EMA(0.9)
    fit(tmp_path, [ema], max_steps=2)
    rows = len(ema.average["adaptors.tokens.weight"])
    again = EMA(0.9)
    task = [tiny.label_task(), tiny.box_task()]
    fit(tmp_path, [again], task=task, max_steps=4)
    assert len(again.average["adaptors.tokens.weight"]) > rows
    assert all(torch.isfinite(value).all() for value in again.average.values())


def raising(hook, name="Broken"):
    def broken(self, run):
        raise ZeroDivisionError("by zero")

    return type(name, (Callback,), {hook: broken})()


@pytest.mark.parametrize("hook", ["before_evaluation", "after_evaluation"])
@pytest.mark.parametrize("first", [True, False])
def test_one_that_raises_around_an_evaluation_leaves_the_weights(hook, first, tmp_path):
    """An average that another stood in the way of is never saved as the weights."""
    bare = tiny.weights(fit(max_steps=3)[1])
    callbacks = [EMA(0.5), raising(hook)] if first else [raising(hook), EMA(0.5)]
    with pytest.raises(PluginError, match=f"callback 'Broken' raised ZeroDivisionError in {hook} at step 3"):
        fit(tmp_path, callbacks, max_steps=3)
    saved = tensors(read_folder(tmp_path / "checkpoints/step-00000003")["model.safetensors"])
    assert tiny.same_weights(saved, bare)
    _, again = fit(tmp_path, [EMA(0.5)], max_steps=5)
    assert tiny.same_weights(tiny.weights(again), tiny.weights(fit(max_steps=5)[1]))


def test_what_failed_first_is_what_is_raised(caplog):
    with pytest.raises(PluginError, match="callback 'One' raised"):
        fit(callbacks=[raising("after_evaluation", "Two"), raising("after_evaluation", "One")])
    assert "callback 'Two' raised ZeroDivisionError in after_evaluation" in caplog.text

    def interrupted(predictions, references):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(callbacks=[raising("after_evaluation")], task=tiny.label_task(metrics=[interrupted]))


def test_two_averages_leave_the_weights(tmp_path):
    slow = EMA(0.9)
    slow.name = "slow"
    fast = EMA(0.5)
    trainer, model = fit(tmp_path, [fast, slow], max_steps=3)
    assert tiny.same_weights(tiny.weights(model), tiny.weights(fit(max_steps=3)[1]))
    loaded = OFASys.from_pretrained(tmp_path).model  # the last of them was evaluated
    assert tiny.same_weights(dict(loaded.named_parameters()), slow.average)
    figures = trainer.evaluate(model=loaded, tasks=tiny.label_task(), split="valid")["label"]
    assert figures["loss"] == trainer.history[-1]["loss"]


def test_the_score_of_an_average_is_the_score_of_what_is_loaded(tmp_path):
    trainer, model = fit(tmp_path, [EMA(0.5)], max_steps=3)
    plain, _ = fit(tmp_path / "plain", [EMA(0.5, evaluate=False)], max_steps=3)
    assert plain.history[-1]["loss"] != trainer.history[-1]["loss"]
    for seen, out in ((trainer, tmp_path), (plain, tmp_path / "plain")):
        loaded = OFASys.from_pretrained(out)
        figures = trainer.evaluate(model=loaded, tasks=tiny.label_task(), split="valid")["label"]
        assert figures["loss"] == seen.history[-1]["loss"]
    loaded = OFASys.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path / "model")
    assert tiny.same_weights(tiny.weights(OFASys.from_pretrained(tmp_path / "model").model), tiny.weights(loaded.model))
    assert not tiny.same_weights(tiny.weights(model), tiny.weights(loaded.model))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"adaptors.tokens.wieght": torch.zeros(1)}, "did you mean adaptors.tokens.weight"),
        (
            {"adaptors.tokens.weight": torch.zeros(1)},
            r"'adaptors.tokens.weight' \(1,\) of torch.float32, which no weight",
        ),
    ],
)
def test_answering_weights_that_are_none_of_the_model_are_refused(given, said, tmp_path):
    with pytest.raises(PluginError, match=rf"callback 'Mine': answering_weights\(\) gave .*{said}"):
        fit(tmp_path, [hooked(answering_weights=lambda self: given)])
    assert not (tmp_path / "checkpoints/last.json").exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "which JSON cannot hold .*object is not JSON serializable"),
        ({"inner": torch.zeros(1)}, "each tensor under a name of its own"),
        (torch.zeros(2, dtype=torch.complex64), "a torch.strided tensor of torch.complex64, which a checkpoint cannot"),
        (torch.zeros(2).to_sparse(), "a torch.sparse_coo tensor of torch.float32, which a checkpoint cannot"),
    ],
)
def test_a_state_that_no_checkpoint_can_hold_is_refused(value, said, tmp_path):
    with pytest.raises(PluginError, match=rf"callback 'Mine': state\(\) gave 'x', .*{said}"):
        fit(tmp_path, [hooked(state=lambda self: {"x": value})], max_steps=1)
    assert not list(tmp_path.glob("checkpoints/*"))


def test_they_may_end_the_run_at_the_step_that_was_evaluated(tmp_path, caplog):
    stops = hooked(after_evaluation=lambda self, run: run.stop("good enough"))
    trainer, _ = fit(tmp_path, [stops], max_steps=9, eval_every=2)
    assert max(line["step"] for line in trainer.history) == 2
    assert [(line["kind"], line["step"]) for line in trainer.history] == [("train", 2), ("valid", 2)]
    assert caplog.text.count("the run ends early at step 2 of 9: good enough") == 1
    state = json.loads((tmp_path / "checkpoints/step-00000002/state.json").read_text())
    assert state["stopped"]["why"] == "good enough"


def test_whatever_ends_a_run_at_an_evaluation_its_line_of_training_comes_first(tmp_path):
    settings = {"max_steps": 9, "eval_every": 1, "log_every": 5}
    trainer, _ = fit(tmp_path / "patience", patience=1, lr=1e-30, **settings)
    assert [line["kind"] for line in trainer.history][-2:] == ["train", "valid"]
    leaving = tiny.label_task(leave="accuracy >= 0.0")
    trainer, _ = fit(tmp_path / "nobody", task=leaving, **settings)
    assert [(line["kind"], line["step"]) for line in trainer.history] == [("train", 1), ("valid", 1)]
    kinds = [line["kind"] for line in tiny.lines(tmp_path / "nobody" / "metrics.jsonl")]
    assert kinds == ["train", "valid", "classes", "turnover"]


def test_they_see_the_loss_of_each_step():
    seen = []
    watch = hooked(after_step=lambda self, run: seen.append({task: float(one) for task, one in run.losses.items()}))
    trainer, _ = fit(callbacks=[watch], task=[tiny.label_task(loss_weight=3.0), tiny.fill_task()], log_every=1)
    trained = [line for line in trainer.history if line["kind"] == "train"]
    assert [list(losses) for losses in seen] == [[line["task"]] for line in trained]
    assert [next(iter(losses.values())) for losses in seen] == pytest.approx([line["loss"] for line in trained])


def test_the_first_reason_to_end_is_the_one_that_is_told(caplog):
    fit(callbacks=[Stops()], task=tiny.label_task(), max_steps=9, eval_every=1, patience=1, lr=1e-30)
    assert caplog.text.count("the run ends early") == 1
    assert "the run ends early at step 2 of 9: enough is enough" in caplog.text


def test_an_average_that_is_kept_is_kept_of_a_finished_run(tmp_path):
    _, model = fit(tmp_path, [EMA(0.5, keep=True)], max_steps=3)
    _, again = fit(tmp_path, [EMA(0.5, keep=True)], max_steps=3)
    assert tiny.same_weights(tiny.weights(model), tiny.weights(again))


def test_an_average_is_of_one_model():
    used, new = EMA(0.9), EMA(0.9)
    fit(callbacks=[used], max_steps=2)
    for ema in (used, new):
        fit(callbacks=[ema], model=tiny.model(seed=1), seed=1, max_steps=1)
    assert tiny.same_weights(used.average, new.average)
    going_on = EMA(0.9)
    _, model = fit(callbacks=[going_on], max_steps=2)
    fit(callbacks=[going_on], model=model, max_steps=1, lr=1e-30)
    fresh = EMA(0.9)
    fit(callbacks=[fresh], model=model, max_steps=1, lr=1e-30)
    assert not tiny.same_weights(going_on.average, fresh.average), "the same model's average goes on"
