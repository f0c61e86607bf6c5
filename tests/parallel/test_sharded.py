"""Two processes with the weights in pieces learn what one alone learns, save it, and go on from it."""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.tensor import DTensor

from ofasys import Callback, GeneralistModel, OFASys, Task, Trainer
from ofasys.engine.ofa.config import Kind, OFAConfig
from ofasys.errors import ConfigError, OfasysError
from ofasys.modality.audio import adaptor as audio_adaptor
from ofasys.modality.registry import BUILT_IN
from ofasys.model.universal import UniversalModel
from ofasys.parallel.placed import gathered_whole, local
from ofasys.train import engine_modes
from ofasys.train.callback import RunView
from ofasys.train.callbacks import EMA, Conflict
from ofasys.train.optimizers.spec import OptimizerSpec, for_torch
from tests.laws import test_accumulate as kinds
from tests.parallel.processes import on_ranks
from tests.parallel.test_ends import each
from tests.parallel.test_laws import At, alike, mixed_tasks, same_weights, terminated, together
from tests.train import tiny

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
from patterns import CHOICE


class Seen(Callback):
    """Of what a process holds: numbers of its weights, its gradients and its moments."""

    def after_fit(self, run: RunView) -> None:
        weights = list(run.model.parameters())
        gradients = [one.grad for one in weights if one.grad is not None]
        moments = [one for kept in run.optimizer.state.values() for one in kept.values() if one.ndim]
        assert all(isinstance(one, DTensor) for one in (*weights, *gradients, *moments) if one.ndim)
        self.held = [sum(local(one).numel() for one in own) for own in (weights, gradients, moments)]


def train(rank: int, out: Path | None, shard: bool = True, stop: int = 0, **changes: Any) -> dict[str, Any]:
    """A run of tasks of many kinds, and what came of it. stop: the step after which the first process is signalled."""
    settings = {"max_steps": 8, "warmup": 2, "lr": 2e-3, "log_every": 4, "accumulate": 2} | changes
    seen, given = Seen(), settings.pop("callbacks", ())
    callbacks = [*given, *([seen] if shard else []), At(stop, terminated if rank == 0 else None)]
    trainer = Trainer(out=out, shard=shard, live=False, callbacks=callbacks, **settings)
    model = tiny.model(dropout=0.0)
    trainer.fit(model=model, tasks=mixed_tasks())
    assert type(model) is GeneralistModel
    assert tiny.same_weights(tiny.weights(copy.deepcopy(model)), tiny.weights(model))
    history = [{k: v for k, v in line.items() if k not in tiny.TIMES} for line in trainer.history]
    weights = {k: v.numpy() for k, v in tiny.weights(model).items()}
    averages = {k: v.numpy() for one in given for k, v in one.average.items()}
    return {"history": history, "weights": weights, "held": getattr(seen, "held", None), "average": averages}


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return train(0, None, shard=False)


def test_two_in_pieces_are_one(tmp_path: Path) -> None:
    """The same rows, figures and weights, and each holds about half of weights, gradients and moments."""
    whole = train(0, tmp_path / "one", shard=False, eval_every=4)
    first, second = together(on_ranks(2, train, tmp_path / "two", eval_every=4))
    alike(whole, first)
    assert first["history"] == second["history"]
    assert all(np.array_equal(value, second["weights"][name]) for name, value in first["weights"].items())
    leaves_an_ordinary_model(tmp_path / "two", first["weights"])
    numbers = sum(value.size for value in whole["weights"].values())
    for held in (first["held"], second["held"]):
        assert held[0] < 0.6 * numbers
        assert held[1] <= held[0]
        assert held[2] <= 2 * held[0]
    assert first["held"][0] + second["held"][0] <= numbers + 8
    logs = [tiny.lines(tmp_path / name / "quarantine.jsonl") for name in ("one", "two")]
    assert logs[0] == logs[1] != []
    (told,) = [line for line in tiny.lines(tmp_path / "two" / "metrics.jsonl") if line["kind"] == "shards"]
    assert told["weights"] == numbers
    assert told["weights_here"] == first["held"][0]
    assert told["processes"] == 2


def leaves_an_ordinary_model(out: Path, weights: dict[str, np.ndarray]) -> None:
    """The weights to the bit, in a file that answers; moments in a file of each process; nothing half written."""
    folder = out / "checkpoints/step-00000008"
    saved = load_file(folder / "model.safetensors")
    assert saved.keys() == weights.keys()
    assert all(np.array_equal(value, saved[name].numpy()) for name, value in weights.items())
    assert {path.name for path in folder.glob("optimizer*")} == {
        f"optimizer-0000{i}-of-00002.safetensors" for i in "12"
    }
    assert not list(folder.parent.glob(".*"))
    assert len(OFASys.from_pretrained(out).inference(tiny.LABEL, data=tiny.label_rows(3))) == 3


@pytest.mark.parametrize(("begun", "went_on"), [((3, True), (1, False)), ((1, False), (2, True))])
def test_saved_by_some_gone_on_with_by_others(
    begun: tuple[int, bool], went_on: tuple[int, bool], alone: dict[str, Any], tmp_path: Path
) -> None:
    """In pieces or not, the weights are those of a run that was never stopped."""
    out = tmp_path / "out"
    assert each(on_ranks(begun[0], train, out, begun[1], 5)) == ["Terminated: 143"] * begun[0]
    for found in together(on_ranks(went_on[0], train, out, went_on[1])):
        same_weights(alone["weights"], found["weights"])


def runs(rank: int, shard: bool, settings: list[dict[str, Any]]) -> list[dict[str, np.ndarray]]:
    """The weights of several runs, one after the other in the same processes."""
    return [train(rank, None, shard, **one)["weights"] for one in settings]


def test_every_way_to_learn_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes of low rank, parameters that are frozen, blocks that are computed again or compiled."""
    monkeypatch.setattr(engine_modes, "BACKEND", "eager")
    settings: list[dict[str, Any]] = [
        {"groups": [{"match": "engine.*", "lora": 4, "dora": True}]},
        {"groups": [{"match": "engine.encoder.*", "freeze": 2}], "recompute": True},
        {"groups": [{"match": "engine.*", "freeze": True}]},
        {"compile": True},
    ]
    settings = [{"max_steps": 3} | one for one in settings]
    whole = runs(0, False, settings)
    for found in together(on_ranks(2, runs, True, settings)):
        for one, other in zip(whole, found, strict=True):
            same_weights(one, other)


def test_the_engine_of_ofa_lies_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks have a parameter more, which is read within them, compiled or not; its places are read outside."""
    monkeypatch.setattr(engine_modes, "BACKEND", "eager")
    line = Kind(rows=34, near=8, far=32)
    shape = {name: getattr(tiny.CONFIG, name) for name in ("width", "heads", "ffn", "encoder_layers", "decoder_layers")}
    config = OFAConfig(**shape, dropout=0.0, residual_scale=True, source={"line": line}, target={"line": line})

    def learn(rank: int, shard: bool) -> list[dict[str, np.ndarray]]:
        found = []
        for compiled in (False, True):
            model = GeneralistModel(engine="ofa", config=config, text_pieces=300)
            trainer = Trainer(max_steps=3, precision="float32", live=False, shard=shard, compile=compiled)
            trainer.fit(model=model, tasks=tiny.fill_task())
            found.append({name: value.numpy() for name, value in tiny.weights(model).items()})
        return found

    whole = learn(0, False)
    for found in together(on_ranks(2, learn, True)):
        for one, other in zip(whole, found, strict=True):
            same_weights(one, other)


def test_an_engine_that_names_no_units_and_an_optimizer_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is one group; the optimizer says that it goes with pieces."""

    def sgd(model: Any, groups: Any, lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
        return torch.optim.SGD(for_torch(groups), lr=lr, momentum=betas[0])

    monkeypatch.delattr(UniversalModel, "shard_units")
    settings = [{"max_steps": 3, "optimizer": OptimizerSpec("sgd", "SGD.", sgd, lr=0.05, shards=True), "lr": 0.05}]
    (whole,) = runs(0, False, settings)
    for (found,) in together(on_ranks(2, runs, True, settings)):
        same_weights(whole, found)


def test_what_rounds_is_near() -> None:
    """Muon makes matrices orthogonal in bfloat16; halves of a sum are rounded apart."""
    settings: list[dict[str, Any]] = [{"optimizer": "muon"}, {"precision": "float16"}, {"precision": "bfloat16"}]
    settings = [{"max_steps": 2} | one for one in settings]
    whole = runs(0, False, settings)
    for found in together(on_ranks(2, runs, True, settings)):
        for how, one, other in zip(settings, whole, found, strict=True):
            for name in one:
                if not name.endswith(("qkv.bias", "kv.bias")):
                    assert np.abs(other[name] - one[name]).mean() < 3e-4, (how, name)


def test_an_average_is_kept_evaluated_and_gone_on_with(tmp_path: Path) -> None:
    """The one of the whole run, where two in pieces began and two go on, and what its saved model answers with."""
    whole = train(0, tmp_path / "one", shard=False, callbacks=[EMA(0.5)])
    out = tmp_path / "out"
    assert each(on_ranks(2, train, out, stop=5, callbacks=[EMA(0.5)])) == ["Terminated: 143"] * 2
    for found in together(on_ranks(2, train, out, callbacks=[EMA(0.5)])):
        same_weights(whole["average"], found["average"])
    models = [OFASys.from_pretrained(tmp_path / name).model.state_dict() for name in ("one", "out")]
    same_weights(*({name: value.numpy() for name, value in one.items()} for one in models))


class Gradient(Callback):
    """The gradient of the only update, by name."""

    def after_step(self, run: RunView) -> None:
        named = run.model.named_parameters()
        self.found = {n: None if p.grad is None else gathered_whole(p.grad).numpy().copy() for n, p in named}


def gradient(model: GeneralistModel, task: Task, shard: bool, **settings: Any) -> dict[str, Any]:
    torch.set_num_threads(1)
    seen = Gradient()
    Trainer(max_steps=1, live=False, callbacks=[seen], shard=shard, **settings).fit(model=model, tasks=task)
    return seen.found


def same_gradient(whole: dict[str, Any], found: dict[str, Any]) -> None:
    """Within rounding; None where nobody learned."""
    most = max(np.abs(value).max() for value in whole.values() if value is not None)
    for name, value in whole.items():
        assert (value is None) == (found[name] is None), name
        if value is not None:
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5 * most, err_msg=name)


def test_every_kind_of_target_has_the_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    some = ("two slots", "repetition", "frames", "gaussian", "huber", "both sides", "classify")
    lines = {name: kinds.LINES[name] for name in some} | {
        "contrast": "[TEXT:q|TEXT:a] ->",
        "reward": "[TEXT:q] -> [TEXT:b,criterion=reward,reward=cer]",
    }
    monkeypatch.setattr(audio_adaptor, "DROPOUT", 0.0)

    def gradients(rank: int, shard: bool) -> dict[str, dict[str, Any]]:
        found = {}
        for name, line in lines.items():
            model = GeneralistModel(config=kinds.CONFIG, text_pieces=300)
            task = kinds.task(line, 4, generate={"max_length": 4} if name == "reward" else {})
            found[name] = gradient(model, task, shard)
        return found

    whole = gradients(0, False)
    for found in together(on_ranks(2, gradients, True)):
        for name, own in whole.items():
            same_gradient(own, found[name])


HEADS = "{[NUMBER:a]|[NUMBER:b]} and {[NUMBER:c]|[TEXT:d]} -> [TEXT:y]"
NUMBERS = [
    {("a", "b")[i % 2]: float(i), ("c", "d")[i % 2]: (float(i), "some text")[i % 2], "y": "yes no"[: 3 - i % 2]}
    for i in range(8)
]


def test_heads_of_equal_shape_keep_their_own_gradients() -> None:
    """Process 0 has the even rows, with heads that process 1 has not: FSDP2 by itself gives one the other's gradient.

    So too where nothing but heads is learned, and the gradient of one process alone runs through the encoder.
    """
    frozen = [{"match": "*", "freeze": True}, {"match": "adaptors.number*"}]

    def gradients(rank: int, shard: bool) -> list[dict[str, Any]]:
        found = []
        for groups in ([], frozen):
            model = GeneralistModel(config=kinds.CONFIG, text_pieces=300, modalities=REGISTRY)
            task = Task(
                "t", HEADS, train=NUMBERS, micro_batch_size=4, shuffle=False, buckets=False, modalities=REGISTRY
            )
            found.append(gradient(model, task, shard, groups=groups))
        return found

    whole = gradients(0, False)
    heads = {name.split(".")[1] for name, own in whole[1].items() if own is not None}
    assert len(heads) == 3
    assert all("number" in name for name in heads)
    for found in together(on_ranks(2, gradients, True)):
        for one, other in zip(whole, found, strict=True):
            same_gradient(one, other)


REGISTRY = BUILT_IN.with_(CHOICE)


def test_three_of_which_some_have_bad_rows_alone(tmp_path: Path) -> None:
    """Four rows a micro-batch: those who have none to learn from take a part in the passes of the others."""

    def run(rank: int, shard: bool) -> dict[str, Any]:
        label = tiny.label_task(train=tiny.label_rows(12, bad=(0, 1, 2, 5, 6, 9)), bad_limit=9, valid=None)
        pairs = [{"left": None if i % 3 else f"{word} {i}", "right": f"is {word}"} for i, word in enumerate(tiny.WORDS)]
        contrast = Task("pairs", "[TEXT:left|TEXT:right] ->", train=pairs, micro_batch_size=4, bad_limit=9)
        model = tiny.model(dropout=0.0)
        trainer = Trainer(max_steps=8, lr=2e-3, live=False, shard=shard, log_every=4)
        trainer.fit(model=model, tasks=[label, contrast])
        history = [{k: v for k, v in line.items() if k not in tiny.TIMES} for line in trainer.history]
        return {"history": history, "weights": {k: v.numpy() for k, v in tiny.weights(model).items()}}

    whole = run(0, False)
    for found in together(on_ranks(3, run, True)):
        alike(whole, found)


def test_what_one_process_evaluates_alone_leaves_the_passes_of_all_alike(tmp_path: Path) -> None:
    """FSDP2 gathers ahead, in a backward, what the passes before it called: here one answers the only valid row, before
    the first update, to make up for an evaluation that failed.
    """

    def run(rank: int, out: Path, does: Any = None) -> dict[str, np.ndarray]:
        callbacks = [At(2, does, "before_evaluation")]
        model = tiny.model(dropout=0.0, encoder_layers=2)
        trainer = Trainer(max_steps=4, eval_every=2, out=out, live=False, shard=True, callbacks=callbacks)
        trainer.fit(model=model, tasks=tiny.label_task(valid=tiny.label_rows(1)))
        return {name: value.numpy() for name, value in tiny.weights(model).items()}

    whole = run(0, tmp_path / "whole")
    with pytest.raises(OfasysError, match="out of luck"):
        run(0, tmp_path / "out", fails)
    for found in together(on_ranks(2, run, tmp_path / "out")):
        same_weights(whole, found)


def label(rank: int, out: Path | None, *does: Any, steps: int = 4, **changes: Any) -> int:
    """A short run; the step it came to. does: what each process does after its second step."""
    settings = {"save_every": 2 if out else 0, "shard": True} | changes
    callbacks = [At(2, does[rank])] if does else []
    trainer = Trainer(max_steps=steps, out=out, live=False, callbacks=settings.pop("callbacks", callbacks), **settings)
    trainer.fit(model=tiny.model(dropout=0.0), tasks=tiny.label_task(valid=None))
    return trainer.history[-1]["step"]


def test_what_does_not_go_with_pieces_is_refused_by_all() -> None:
    def refused(rank: int) -> list[str]:
        said = []
        for settings in (
            {"optimizer": "adafactor"},
            {"callbacks": [Conflict()]},
            {"balance": "pcgrad"},
            {"shard": rank == 0},
        ):
            with pytest.raises(ConfigError) as error:
                label(rank, None, **settings)
            said.append(str(error.value))
        return said

    first, second = together(on_ranks(2, refused))
    assert first == second
    assert "optimizer 'adafactor' does not learn parameters that lie in pieces" in first[0]
    assert "callback 'Conflict' looks at each task's whole gradient" in first[1]
    assert "balance='pcgrad' looks at each task's whole gradient" in first[2]
    assert "trainer.shard is True on process 0 and False on process 1" in first[3]
    assert label(0, None, optimizer="adafactor") == 4  # alone nothing lies in pieces


def test_a_forecast_is_made_by_all_and_told_by_the_first() -> None:
    def told(rank: int) -> list[str]:
        found: list[str] = []
        trainer = Trainer(max_steps=2, live=False, shard=True)
        trainer.foretell = (lambda one: found.append(str(one))) if rank == 0 else None
        trainer.fit(model=tiny.model(dropout=0.0), tasks=tiny.label_task(valid=None))
        return found

    first, second = together(on_ranks(2, told))
    assert len(first) == 1
    assert "label" in first[0]
    assert second == []


def test_a_process_that_cannot_write_spoils_no_checkpoint(tmp_path: Path) -> None:
    """The one before stays, whole; the run ends by telling all."""

    def run(rank: int) -> None:
        write = HuggingFaceStorageWriter.write_data

        def full(self: Any, *plan: Any) -> Any:
            if rank == 1 and ".step-00000004" in str(self.path):
                raise OSError(28, "No space left on device")
            return write(self, *plan)

        HuggingFaceStorageWriter.write_data = full  # in this process, which ends with the run
        label(rank, tmp_path / "out")

    (tmp_path / "out/checkpoints/.step-00000009.pieces.new").mkdir(parents=True)  # as where a process was killed
    errors = each(on_ranks(2, run))
    assert "No space left on device" in errors[1]
    assert "the checkpoint of step 2 is whole" in errors[1]
    assert errors[0].startswith(("CheckpointError", "RankError"))
    place = tmp_path / "out/checkpoints"
    assert {path.name for path in place.iterdir()} == {"step-00000002", "last.json"}
    assert [one.value for one in on_ranks(2, label, tmp_path / "out")] == [4, 4]
    assert json.loads((place / "last.json").read_text()) == {"folder": "step-00000004"}


def test_a_torn_piece_is_named_and_the_one_before_gone_on_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    together(on_ranks(2, label, out))
    piece = out / "checkpoints/step-00000004/optimizer-00002-of-00002.safetensors"
    piece.write_bytes(piece.read_bytes()[:-9])
    assert label(0, out, steps=6) == 6
    assert "is torn: optimizer-00002-of-00002.safetensors" in caplog.text
    assert "going on from the checkpoint before it, of step 2" in caplog.text


def fails(run: Any) -> None:
    raise ValueError("out of luck")


def killed(run: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_end_of_one_is_heard_in_the_midst_of_a_pass() -> None:
    """What was in pieces has no weights then, and is a plain model all the same."""

    def ends(rank: int) -> tuple[str, str, str]:
        model = tiny.model(dropout=0.0)
        settings = {"callbacks": [At(2, fails if rank else None)], "groups": [{"match": "engine.*", "lora": 2}]}
        trainer = Trainer(max_steps=4, live=False, shard=True, **settings)
        with pytest.raises(OfasysError) as error:
            trainer.fit(model=model, tasks=tiny.label_task(valid=None))
        return f"{type(error.value).__name__}: {error.value}", type(model).__name__, model.table.device.type

    first, second = together(on_ranks(2, ends))
    assert first[0].startswith("RankError: process 1 of 2 ended by PluginError")
    assert second[0].startswith("PluginError")
    assert first[1:] == second[1:] == ("GeneralistModel", "meta")
    other, dead = on_ranks(2, label, None, None, killed)
    assert dead.code == -signal.SIGKILL
    assert other.error.startswith("RankError: another of the 2 processes has ended or cannot be reached")
