"""What a run changed of a saved model is a small folder, and with the model it is the run's model again."""

from __future__ import annotations

import pytest
import torch

from ofasys import CheckpointError, OFASys, Trainer
from ofasys.hub import load_change, save_change
from ofasys.hub.store import read_folder, tensors
from ofasys.train.callbacks import EMA
from tests.train import tiny

LORA = [{"match": "*", "freeze": True}, {"match": "engine.*", "lora": 2}]


def fit(out, model=None, groups=(), tasks=None, **settings):
    trainer = Trainer(out=out, groups=groups, max_steps=3, live=False, lr=1e-2, precision="float32", **settings)
    trainer.fit(model=model or tiny.model(), tasks=tasks or tiny.label_task())
    return out


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("base") / "run")


def same(one, other):
    return tiny.same_weights(tiny.weights(one.model), tiny.weights(other.model))


def test_a_change_of_low_rank_is_saved_as_such_and_comes_back_to_the_bit(base, tmp_path):
    run = fit(tmp_path / "run", OFASys.from_pretrained(base), LORA)
    out = save_change(run, base, tmp_path / "change")
    kept = tensors(read_folder(out)["change.safetensors"])
    assert kept
    assert {name.rpartition(".")[2] for name in kept} == {"a", "b"}
    again = load_change(out, base)
    assert same(again, OFASys.from_pretrained(run))
    assert not same(again, OFASys.from_pretrained(base))
    assert again.inference(tiny.LABEL, data={"text": "red fish"}).text in tiny.COLOURS


def test_so_do_weights_that_are_others_or_new(base, tmp_path):
    groups = [{"match": "engine.*", "freeze": True}]
    tasks = [tiny.label_task(), tiny.box_task()]
    run = fit(tmp_path / "run", OFASys.from_pretrained(base), groups, tasks, callbacks=[EMA(0.5)])
    out = save_change(run, base, tmp_path / "change")
    kept = tensors(read_folder(out)["change.safetensors"])
    assert {name.split(".")[0] for name in kept} == {"adaptors"}
    assert same(load_change(out, base), OFASys.from_pretrained(run))


def test_another_model_than_it_began_with_is_refused(base, tmp_path):
    run = fit(tmp_path / "run", OFASys.from_pretrained(base), LORA)
    out = save_change(run, base, tmp_path / "change")
    with pytest.raises(CheckpointError, match=r"is a change of .*, and .* holds other weights; give that one"):
        load_change(out, run)
    with pytest.raises(CheckpointError, match="holds no change of a model"):
        load_change(base / "checkpoints" / "step-00000003", base)
    assert torch.equal(load_change(out, base).model.table, OFASys.from_pretrained(base).model.table)
