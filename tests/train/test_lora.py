"""A change of low rank is learned in place of a matrix: what moves, what is saved, what answers."""

from __future__ import annotations

import json

import pytest
import torch

from ofasys import Callback, CheckpointError, ConfigError, OFASys, Trainer
from ofasys.errors import PluginError
from ofasys.hub.model import load_model
from ofasys.hub.store import read_folder, tensors, write_folder
from ofasys.model.low_rank import LowRank, Rank, add_change, changes, merge
from ofasys.train.callbacks import EMA
from tests.train import tiny

LORA = {"match": "engine.*", "lora": 4, "lora_alpha": 8}
DORA = LORA | {"dora": True}


def fit(groups, out=None, max_steps=6, model=None, tasks=None, **settings):
    settings = {"live": False, "decay": "constant", "warmup": 0, "precision": "float32", "lr": 1e-2} | settings
    trainer = Trainer(groups=groups, out=out, max_steps=max_steps, **settings)
    return trainer.fit(model=model or tiny.model(), tasks=tasks or [tiny.label_task(), tiny.box_task()])


class Seen(Callback):
    """Keeps what the model is before the first step, and the changes it has after the last."""

    def before_fit(self, run):
        self.before = tiny.weights(run.model)

    def after_fit(self, run):
        self.changes, self.after = changes(run.model), tiny.weights(run.model)


@pytest.mark.parametrize("rule", [LORA, DORA], ids=["lora", "dora"])
def test_matrices_move_by_a_small_rank_and_all_else_of_the_group_stays(rule):
    seen = Seen()
    model = fit([rule], callbacks=[seen])
    assert set(seen.changes) == {name for name in tiny.weights(model) if name in LINEAR}
    moved = 0
    for name, weight in tiny.weights(model).items():
        if name in LINEAR:
            original = seen.before[f"{name.removesuffix('.weight')}.parametrizations.weight.original"]
            assert torch.equal(seen.after[f"{name.removesuffix('.weight')}.parametrizations.weight.original"], original)
            moved += not torch.equal(weight, original)
            if not rule.get("dora"):
                assert torch.linalg.matrix_rank(weight.double() - original.double(), rtol=1e-3) <= 4
        elif name.startswith("engine."):
            assert torch.equal(weight, seen.before[name]), name
    assert moved == len(LINEAR)
    assert not torch.equal(model.table, seen.before["adaptors.tokens.weight"])
    assert not changes(model)


BLOCKS = ("encoder.blocks.0.self_attention.qkv", "encoder.blocks.0.self_attention.out.project")
BLOCKS += tuple(f"{side}.blocks.0.ffn.{part}" for side in ("encoder", "decoder") for part in ("up", "down"))
BLOCKS += tuple(f"decoder.blocks.0.self_attention.{part}" for part in ("qkv", "out.project"))
BLOCKS += tuple(f"decoder.blocks.0.cross_attention.{part}" for part in ("query", "kv", "out.project"))
LINEAR = {f"engine.{name}.weight" for name in BLOCKS}


@pytest.mark.parametrize("rule", [LORA, DORA], ids=["lora", "dora"])
def test_before_the_first_step_a_change_changes_nothing(rule):
    model, twin = tiny.model(), tiny.model()
    weights = tiny.weights(model)
    add_change(model, "engine.encoder.blocks.0.ffn.up.weight", Rank(rule["lora"], 8.0, "dora" in rule))
    merge(model)
    for name, weight in tiny.weights(model).items():
        torch.testing.assert_close(weight, weights[name], rtol=1e-6, atol=0)
    assert [name for name, _ in twin.named_parameters() if name not in dict(model.named_parameters())] == []


@pytest.mark.parametrize("rule", [LORA, DORA], ids=["lora", "dora"])
def test_a_run_goes_on_bit_for_bit_and_what_it_saved_answers_as_it_did(tmp_path, rule):
    straight = fit([rule], tmp_path / "straight")
    fit([rule], tmp_path / "parted", max_steps=3)
    resumed = fit([rule], tmp_path / "parted", max_steps=6)
    assert tiny.same_weights(tiny.weights(straight), tiny.weights(resumed))
    loaded = OFASys.from_pretrained(tmp_path / "parted", which="last").model
    assert tiny.same_weights(tiny.weights(straight), tiny.weights(loaded))
    again = fit([rule], tmp_path / "parted", max_steps=6, model=resumed)  # nothing is left to train
    assert tiny.same_weights(tiny.weights(straight), tiny.weights(again))


def test_a_checkpoint_keeps_moments_of_what_was_trained_alone(tmp_path):
    fit([{"match": "*", "freeze": True}, LORA], tmp_path, save_every=6)
    files = read_folder(tmp_path / "checkpoints" / "step-00000006")
    kept = tensors(files["optimizer.safetensors"])
    assert {name.rpartition(".")[2] for name in kept} == {"a", "b"}
    numbers = sum(tensor.numel() for name, tensor in kept.items() if name.startswith("exp_avg/"))
    model = OFASys.from_pretrained(tmp_path).model
    sizes = dict(model.named_parameters())
    assert numbers == sum(4 * sum(sizes[name].shape) for name in LINEAR)


def test_figures_seen_in_training_are_those_of_what_is_loaded(tmp_path):
    trainer = Trainer(groups=[LORA], out=tmp_path, max_steps=5, live=False, precision="bfloat16", lr=1e-2)
    trainer.fit(model=tiny.model(), tasks=tiny.label_task())
    told = [line for line in trainer.history if line["kind"] == "valid"][-1]
    found = Trainer().evaluate(model=OFASys.from_pretrained(tmp_path), tasks=tiny.label_task(), split="valid")
    assert found["label"]["loss"] == told["loss"]


def test_an_average_of_changes_is_merged_as_it_answered(tmp_path):
    average = EMA(decay=0.5)
    trainer = Trainer(groups=[LORA], out=tmp_path, max_steps=5, live=False, precision="float32", callbacks=[average])
    model = trainer.fit(model=tiny.model(), tasks=tiny.label_task())
    told = [line for line in trainer.history if line["kind"] == "valid"][-1]
    found = Trainer().evaluate(model=OFASys.from_pretrained(tmp_path), tasks=tiny.label_task(), split="valid")
    assert found["label"]["loss"] == told["loss"]
    with pytest.raises(ConfigError, match="EMA has no average of engine"), average.averaged(model):
        pass


def test_a_model_is_whole_again_where_a_run_fails_and_where_it_is_only_checked():
    class Fails(Callback):
        def after_step(self, run):
            assert changes(run.model)
            raise ValueError("no")

    model = tiny.model()
    with pytest.raises(PluginError):
        fit([LORA], model=model, callbacks=[Fails()])
    assert not changes(model)
    fresh = tiny.model()
    Trainer(groups=[LORA]).check(model=fresh, tasks=tiny.label_task())
    assert not changes(fresh)
    assert sorted(fresh.engine.state_dict()) == sorted(tiny.model().engine.state_dict())


def test_first_values_depend_on_the_matrix_alone():
    wide, narrow = Seen(), Seen()
    fit([LORA], max_steps=1, callbacks=[wide])
    fit([LORA | {"match": "engine.decoder.*"}], max_steps=1, callbacks=[narrow])
    name = "engine.decoder.blocks.0.ffn.up.parametrizations.weight.0.a"
    assert torch.equal(wide.before[name], narrow.before[name])
    other = "engine.encoder.blocks.0.ffn.up.parametrizations.weight.0.a"
    assert not torch.equal(wide.before[name], wide.before[other])


@pytest.mark.parametrize("groups", [[LORA | {"lora": 2}], [LORA | {"match": "engine.encoder.*"}], []])
def test_a_run_whose_changes_were_others_is_refused(tmp_path, groups):
    fit([LORA], tmp_path, max_steps=1)
    with pytest.raises(ConfigError, match="the run was trained with a change of engine"):
        fit(groups, tmp_path, max_steps=2)


def test_a_task_that_comes_later_has_changes_of_its_own(tmp_path):
    rule = LORA | {"match": "*"}
    fit([rule], tmp_path, max_steps=2, tasks=[tiny.label_task()])
    model = fit([rule], tmp_path, max_steps=5)
    assert any(name.startswith("adaptors.image") for name, _ in model.named_parameters())
    assert tiny.same_weights(tiny.weights(model), tiny.weights(OFASys.from_pretrained(tmp_path, which="last").model))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"match": "*", "lora": -1}, "lora of group '.' is -1; it is a rank"),
        ({"match": "*", "lora": True}, "lora of group '.' is True"),
        ({"match": "*", "lora": 4, "lora_alpha": 0}, "lora_alpha of group '.' is 0; it is a number above 0"),
        ({"match": "*", "dora": True}, "group '.' has dora and no lora"),
        ({"match": "*", "lora_alpha": 2}, "group '.' has lora_alpha and no lora"),
        ({"match": "*", "lora": 4, "dora": "yes"}, "dora of group '.' is 'yes'"),
        ({"match": "*.bias", "lora": 4}, r"'\*.bias' has lora 4 and holds no weight of a linear layer"),
        ({"match": "adaptors.tokens.*", "lora": 4}, "holds no weight of a linear layer"),
    ],
)
def test_what_is_no_change_is_refused(rule, message):
    with pytest.raises(ConfigError, match=message):
        fit([rule], max_steps=1)


@pytest.mark.parametrize("odd", [[], {"engine.x.weight": {"rank": 2, "alpha": 1.0, "dora": False}}, {"a": {"rank": 2}}])
def test_a_saved_model_of_odd_changes_is_refused(tmp_path, odd):
    fit([LORA], tmp_path / "run", max_steps=1)
    folder = tmp_path / "run" / "checkpoints" / "step-00000001"
    files = {}
    for name, data in read_folder(folder).items():
        files[name] = tensors(data) if name.endswith(".safetensors") else json.loads(data)
    files["model.json"]["lora"] = odd
    write_folder(tmp_path / "odd", files)
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "odd")


def test_muon_leaves_the_factors_to_adamw(tmp_path):
    fit([LORA], tmp_path, max_steps=2, optimizer="muon")
    kept = tensors(read_folder(tmp_path / "checkpoints" / "step-00000002")["optimizer.safetensors"])
    assert not any(name.startswith("momentum_buffer/") for name in kept)
    assert "exp_avg/engine.encoder.blocks.0.ffn.up.parametrizations.weight.0.a" in kept


def test_an_evaluation_computes_each_matrix_once(monkeypatch):
    calls = []
    forward = LowRank.forward
    monkeypatch.setattr(LowRank, "forward", lambda self, weight: calls.append(id(self)) or forward(self, weight))

    class Counts(Callback):
        def before_evaluation(self, run):
            calls.clear()

        def after_evaluation(self, run):
            self.seen = list(calls)

    counts = Counts()
    fit(
        [LORA],
        callbacks=[counts],
        max_steps=1,
        tasks=[tiny.fill_task(valid=tiny.label_rows(6), metrics=["exact_match"])],
    )
    assert len(counts.seen) == len(set(counts.seen)) == len(LINEAR)
