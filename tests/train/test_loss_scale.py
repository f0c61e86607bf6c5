"""float16: losses are scaled so that small gradients survive, and an update that overflows is left out."""

from __future__ import annotations

import json

import pytest
import torch

from ofasys import CheckpointError, ConfigError, OFASys, Trainer
from ofasys.hub.store import read_folder, tensors, write_folder
from ofasys.task.schedule import adaptive
from ofasys.train import loss_scale, steps
from ofasys.train.loss_scale import LossScale
from ofasys.train.optimizers import OPTIMIZERS
from tests.train import tiny


def fit(out=None, max_steps=6, tasks=None, **settings):
    settings = {"live": False, "decay": "constant", "warmup": 0, "precision": "float16", "log_every": 1} | settings
    trainer = Trainer(out=out, max_steps=max_steps, **settings)
    return trainer, trainer.fit(model=tiny.model(), tasks=tasks or [tiny.label_task(), tiny.box_task()])


def test_it_is_that_of_torch(monkeypatch):
    """Scale by scale, through overflows and growth, as torch.amp.GradScaler."""
    monkeypatch.setattr(loss_scale, "GROWS", 3)
    theirs = torch.amp.GradScaler("cpu", init_scale=loss_scale.START, growth_interval=3)
    ours, weight = LossScale(torch.device("cpu")), torch.nn.Parameter(torch.ones(2))
    descent = torch.optim.SGD([weight], lr=0.0)
    for number in range(40):
        over = number in (0, 1, 5, 6, 20) or number % 11 == 7
        theirs.scale(weight.sum() * (torch.inf if over else 1.0)).backward()
        theirs.step(descent)
        theirs.update()
        descent.zero_grad()
        norm = ours.scale * (torch.inf if over else 2.0)
        plain, found = ours.see(norm)
        assert (float(plain), float(found)) == ((0.0, 1.0) if over else (2.0, 0.0))
        ours.update(found)
        assert float(ours.scale) == theirs.get_scale()
    assert int(ours.skipped) == sum(n in (0, 1, 5, 6, 20) or n % 11 == 7 for n in range(40))


def test_what_it_keeps_is_what_it_was(monkeypatch):
    ours = LossScale(torch.device("cpu"))
    for over in (1.0, 0.0, 0.0):
        ours.update(torch.tensor(over))
    kept = ours.to_dict()
    assert kept == {"scale": 32768.0, "good": 2, "skipped": 1}
    assert LossScale(torch.device("cpu"), kept).to_dict() == kept


def test_gradients_too_small_for_the_format_survive():
    """A loss that counts a ten-millionth: in float16 without a scale most of its gradient is 0."""
    shares = []
    for start in (1.0, loss_scale.START):
        seen = []

        class Seen(steps.Steps):
            def descend(self, step, seen=seen):
                gradients = [p.grad for n, p in self.model.named_parameters() if p.grad is not None and "engine" in n]
                seen.append(sum(int(g.count_nonzero()) for g in gradients) / sum(g.numel() for g in gradients))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ofasys.train.run.Steps", Seen)
            patch.setattr(loss_scale, "START", start)
            fit(max_steps=1, tasks=tiny.label_task(loss_weight=1e-7))
        shares += seen
    assert shares[0] < 0.2 < 0.5 < shares[1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_update_that_overflows_is_left_out_and_the_next_is_smaller(monkeypatch, optimizer):
    monkeypatch.setattr(loss_scale, "START", 2.0**60)
    kept = []

    class Seen(steps.Steps):
        def descend(self, step):
            before = [p.detach().clone() for p in self.model.parameters()]
            super().descend(step)
            moved = any(not torch.equal(p, old) for p, old in zip(self.model.parameters(), before, strict=True))
            kept.append((moved, int(self.loss_scale.skipped), float(self.loss_scale.scale)))

    monkeypatch.setattr("ofasys.train.run.Steps", Seen)
    trainer, model = fit(max_steps=60, optimizer=optimizer)
    skipped = kept[-1][1]
    assert 20 < skipped < 59
    assert [moved for moved, _, _ in kept].count(True) == 60 - skipped
    assert kept[-1][2] == 2.0 ** (60 - skipped)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    last = [line for line in trainer.history if line["kind"] == "train"][-1]
    assert (last["loss_scale/scale"], last["loss_scale/skipped"]) == (kept[-1][2], skipped)


def test_a_run_goes_on_with_its_scale_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(loss_scale, "START", 2.0**40)
    _, straight = fit(max_steps=40)
    fit(tmp_path, max_steps=25)
    trainer, resumed = fit(tmp_path, max_steps=40)
    assert tiny.same_weights(tiny.weights(straight), tiny.weights(resumed))
    assert trainer.history[0]["step"] == 26
    assert trainer.history[0]["loss_scale/scale"] < 2.0**40


def test_numbers_that_are_not_finite_at_any_scale_end_the_run(monkeypatch):
    monkeypatch.setattr(loss_scale, "START", 4.0)
    monkeypatch.setattr(steps, "gradient_norm", lambda optimizer: torch.tensor(torch.nan))
    with pytest.raises(ConfigError, match="the gradient is nan at step 3"):
        fit(log_every=6, skip_limit=0)


def test_losses_in_the_log_are_those_of_the_other_formats(monkeypatch):
    monkeypatch.setattr(loss_scale, "START", 256.0)  # nothing overflows
    told = {}
    for precision in ("float32", "float16"):
        trainer, model = fit(max_steps=3, precision=precision, tasks=tiny.label_task())
        told[precision] = [line["loss"] for line in trainer.history]
        assert model.precision == precision
    assert told["float16"] == pytest.approx(told["float32"], rel=0.01)
    assert told["float16"] != told["float32"]


def test_lengths_of_gradients_are_without_the_scale_and_without_overflows(monkeypatch):
    told = {}
    for precision, start in (("float32", 1.0), ("float16", 256.0)):
        monkeypatch.setattr(loss_scale, "START", start)
        trainer, _ = fit(max_steps=3, precision=precision, tasks=tiny.label_task())
        told[precision] = [line["gradient_norm"] for line in trainer.history if line["kind"] == "train"]
    assert told["float16"] == pytest.approx(told["float32"], rel=0.02)
    monkeypatch.setattr(loss_scale, "START", 2.0**40)
    history = fit(max_steps=40, lr=1e-9, tasks=tiny.label_task(), log_every=40)[0].history
    (line,) = (line for line in history if line["kind"] == "train")
    assert 0 < line["loss_scale/skipped"] < 40
    assert line["gradient_norm"] == pytest.approx(told["float32"][0], rel=0.5)


def test_a_schedule_that_follows_losses_is_told_them_without_the_scale(monkeypatch):
    monkeypatch.setattr(loss_scale, "START", 256.0)
    told = []
    following = adaptive.Adapted.told
    monkeypatch.setattr(adaptive.Adapted, "told", lambda own, *given: told.append(given) or following(own, *given))
    trainer, _ = fit(max_steps=2, schedule={"name": "adaptive", "every": 1}, tasks=tiny.label_task())
    losses = [line["loss"] for line in trainer.history if line["kind"] == "train"]
    assert [figures["label"]["loss"] for kind, figures in told if kind == "train"] == pytest.approx(losses, rel=1e-5)


def test_what_is_loaded_answers_in_it(tmp_path):
    trainer, _ = fit(tmp_path, tasks=tiny.label_task())
    told = [line for line in trainer.history if line["kind"] == "valid"][-1]
    loaded = OFASys.from_pretrained(tmp_path)
    assert loaded.model.precision == "float16"
    found = Trainer().evaluate(model=loaded, tasks=tiny.label_task(), split="valid")
    assert found["label"]["loss"] == told["loss"]


@pytest.mark.parametrize("odd", [{"scale": 0.0, "good": 1, "skipped": 0}, {"scale": 2.0}, 3])
def test_an_odd_scale_in_a_checkpoint_is_told(tmp_path, odd):
    fit(tmp_path, max_steps=1)
    folder = tmp_path / "checkpoints" / "step-00000001"
    files = {
        name: tensors(data) if name.endswith(".safetensors") else json.loads(data)
        for name, data in read_folder(folder).items()
    }
    files["state.json"]["loss_scale"] = odd
    write_folder(folder, files)
    with pytest.raises(CheckpointError, match="loss_scale is"):
        fit(tmp_path, max_steps=2)
