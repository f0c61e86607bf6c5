"""A backbone whose weights are held in few bits: how far it is off, what is learned on top, and what is saved."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ofasys import GeneralistModel, OFASys, Trainer, flow
from ofasys.errors import ConfigError
from ofasys.model.low_rank import Rank, add_change, changes, merge, merged_weights
from ofasys.model.quantized import BLOCK, FORMATS, Quantized, quantize, quantized_layers
from ofasys.testing.questions import questions
from ofasys.train.groups import give_changes, read_rules
from tests.engine.huggingface.backbones import write
from tests.engine.huggingface.test_merged import grown, scores, task
from tests.engine.test_engines import ROWS

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*does not give every text back")
MISSING = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="int4 needs it: pip install ofasys[quantize]")
KINDS = ["int8", pytest.param("int4", marks=[MISSING, pytest.mark.slow])]  # slow: it is imported for seconds
LOW_RANK = [{"match": "*"}, {"match": "engine.*", "lora": 2}]


def layer(kind: str, out: int = 12, inside: int = 130, seed: int = 0) -> tuple[nn.Linear, Quantized]:
    torch.manual_seed(seed)
    plain = nn.Linear(inside, out)
    held = nn.Sequential(nn.Linear(inside, out))
    held.load_state_dict({f"0.{name}": weight for name, weight in plain.state_dict().items()})
    assert quantize(held, kind) == 1
    return plain, held[0]  # type: ignore[return-value]


# --- a layer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_no_number_is_off_by_more_than_half_a_step(seed: int) -> None:
    plain, held = layer("int8", seed=seed)
    step = plain.weight.abs().amax(1, keepdim=True) / 127
    assert bool(((held.weight - plain.weight).abs() <= step / 2 * 1.0001).all())
    assert held.codes.dtype == torch.int8
    assert held.codes.numel() + 4 * held.scale.numel() < plain.weight.numel() * 4 / 3.8


@MISSING
@pytest.mark.slow
def test_in_four_bits_no_number_is_off_by_more_than_half_the_widest_gap() -> None:
    """Of the levels of NF4, which are -1 and -0.6962 of the largest number of a block; and it is an eighth as large."""
    plain, held = layer("int4", 64, 256)
    blocks = (held.weight - plain.weight).abs().reshape(-1, BLOCK).amax(1)
    largest = plain.weight.detach().abs().reshape(-1, BLOCK).amax(1)
    assert bool((blocks <= largest * 0.1520).all())
    assert held.codes.numel() + 4 * held.scale.numel() == plain.weight.numel() * (1 / 2 + 4 / BLOCK)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dora", [False, True, None], ids=["lora", "dora", "none"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_it_computes_and_learns_as_a_layer_with_its_weights(kind: str, dora: bool | None, half: bool) -> None:
    """Gradients of what is put in and of the change are those of the same matrix held whole."""
    _, held = layer(kind)
    whole = nn.Linear(130, 12)
    whole.load_state_dict({"weight": held.weight.detach(), "bias": held.bias.detach()})
    ours, theirs = nn.ModuleDict({"one": held}), nn.ModuleDict({"one": whole})
    if dora is not None:
        for module in (ours, theirs):
            torch.manual_seed(1)
            add_change(module, "one.weight", Rank(3, 6.0, dora))
        factors = whole.parametrizations.weight[0]
        with torch.no_grad():
            for mine, other in zip(held.change.parameters(), factors.parameters(), strict=True):
                other.add_(torch.randn_like(other) * 0.1)
                mine.copy_(other)
    given = torch.randn(2, 5, 130)
    found = []
    for module in (ours, theirs):
        x = given.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made = module["one"](x)
        made.float().square().sum().backward()
        grads = {name.rpartition(".")[2]: p.grad for name, p in module.named_parameters() if p.grad is not None}
        grads.pop("original", None)
        grads.pop("weight", None)
        found.append((made.dtype, made.float(), x.grad, grads))
    close = {"rtol": 0.05, "atol": 0.3} if half else {"rtol": 1e-4, "atol": 1e-4}
    assert found[0][0] == found[1][0]
    torch.testing.assert_close(found[0][1], found[1][1], **close)
    torch.testing.assert_close(found[0][2], found[1][2], **close)
    assert found[0][3].keys() == found[1][3].keys()
    for name, grad in found[0][3].items():
        torch.testing.assert_close(grad, found[1][3][name], **({"rtol": 0.05, "atol": 3.0} if half else close))
    merge(ours)
    assert (dora is None) == (not changes(ours))  # few bits would not hold it
    torch.testing.assert_close(merged_weights(ours)["one.weight"], whole.weight.detach(), rtol=1e-6, atol=1e-6)


def test_no_whole_matrix_is_kept_for_the_gradient() -> None:
    """Of what a product keeps until then, nothing is as large as the weight in float32."""
    _, held = layer("int8", 64, 96)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel() * tensor.element_size()) or tensor, lambda tensor: tensor
    ):
        held(torch.randn(2, 96, requires_grad=True)).sum()
    assert max(kept) == 64 * 96


def test_rows_of_zeros_stay_and_numbers_that_are_none_are_refused() -> None:
    plain = nn.Sequential(nn.Linear(4, 3))
    nn.init.zeros_(plain[0].weight)  # type: ignore[arg-type]
    quantize(plain, "int8")
    assert torch.equal(plain[0].weight, torch.zeros(3, 4))
    broken = nn.Sequential(nn.Linear(4, 3))
    with torch.no_grad():
        broken[0].weight[1, 2] = torch.nan  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"0\.weight holds numbers that are not finite"):
        quantize(broken, "int8")


# --- a backbone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["t5", "qwen3"])
def test_its_scores_are_near_those_of_the_whole(family: str, kind: str, tmp_path: Path) -> None:
    write(family, tmp_path)
    whole = scores(grown(f"hf:{tmp_path}"))
    model = grown(f"hf:{tmp_path}", {"quantize": kind})
    off = (scores(model) - whole).norm() / whole.norm()
    # Weights are random, and pieces of T5 others each time: of 4 bits 0.5 to 0.9, where unrelated scores have 1.4.
    assert 0 < float(off) < {"int8": 0.3, "int4": 1.2}[kind]
    names = quantized_layers(model)
    assert model.parameters_count == grown(f"hf:{tmp_path}").parameters_count
    count = sum(weight.weight.numel() for weight in names.values())
    assert f"{count:,} of them in few bits, with rows for" in model.origins()
    assert all(name.startswith(("engine.encoder.", "engine.decoder.")) for name in names)
    linear = [m for m in grown(f"hf:{tmp_path}").engine.modules() if isinstance(m, nn.Linear)]
    assert len(names) == len(linear) - (model.engine.head is not None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["t5", "qwen3"])
def test_a_change_is_learned_on_it_and_it_stays(family: str, kind: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "backbone", tmp_path / "run"
    folder.mkdir()
    write(family, folder)
    before = {n: w.clone() for n, w in grown(f"hf:{folder}", {"quantize": kind}).engine.state_dict().items()}
    model = fit(folder, out, kind, steps=6)
    state = model.engine.state_dict()
    for name, weight in before.items():
        assert torch.equal(state[name], weight) == (name != "head.weight"), name  # which is held whole, so it is merged
    assert changes(model).keys() >= quantized_layers(model).keys()
    moved = [one.change.b for one in quantized_layers(model).values()]
    assert all(float(b.detach().abs().max()) > 0 for b in moved)
    history = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in history if line["kind"] == "train"]
    assert losses[-1] < losses[0]
    loaded = OFASys.from_pretrained(out)
    torch.testing.assert_close(scores(loaded.model), scores(model), rtol=0, atol=1e-5)
    held = load_file(next(iter(sorted(out.rglob("model.safetensors")))))
    assert not [name for name in held if name.endswith(("codes", "scale"))]  # they are made of the backbone again
    assert [name for name in held if name.endswith("change.a")]


def fit(folder: Path, out: Path | None, kind: str, steps: int, **asked: Any) -> GeneralistModel:
    given = {"lr": 2e-2, "warmup": 1, "precision": "float32", "live": False, "log_every": 1, "decay": "constant"}
    model = GeneralistModel(engine=f"hf:{folder}", config={"quantize": kind})
    Trainer(max_steps=steps, out=out, groups=LOW_RANK, **{**given, **asked}).fit(model=model, tasks=task())
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(kind: str, tmp_path: Path) -> None:
    write("qwen3", tmp_path / "backbone")
    whole = fit(tmp_path / "backbone", tmp_path / "whole", kind, 4)
    fit(tmp_path / "backbone", tmp_path / "half", kind, 2)
    half = fit(tmp_path / "backbone", tmp_path / "half", kind, 4)
    for (name, one), other in zip(whole.state_dict().items(), half.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    again = Trainer(max_steps=1, live=False, precision="float32", groups=LOW_RANK)
    before = {name: weight.clone() for name, weight in half.state_dict().items() if name.endswith("change.b")}
    again.fit(model=half, tasks=task())  # its change is gone on with
    assert any(not torch.equal(half.state_dict()[name], weight) for name, weight in before.items())


def test_merged_it_is_whole_and_needs_neither_backbone_nor_bits(tmp_path: Path) -> None:
    write("qwen3", tmp_path / "backbone")
    model = fit(tmp_path / "backbone", tmp_path / "run", "int8", 3)
    loaded = OFASys.from_pretrained(tmp_path / "run")
    loaded.save_pretrained(tmp_path / "whole", merge=True)
    shutil.rmtree(tmp_path / "backbone")
    whole = OFASys.from_pretrained(tmp_path / "whole").model
    assert not quantized_layers(whole)
    assert not changes(whole)
    torch.testing.assert_close(scores(whole), scores(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_asks_its_device_for_nothing(kind: str, tmp_path: Path) -> None:
    write("qwen3", tmp_path)
    model, mine = grown(f"hf:{tmp_path}", {"quantize": kind}), task()
    give_changes(model, read_rules(LOW_RANK), 0)
    program = flow.bind(model, mine.plan, mine.labels)
    batch = flow.collate(program, [flow.preprocess(program, row) for row in ROWS])
    model(program, batch).total.backward()  # what is made once is made
    found: Counter[str] = Counter()
    with questions(found):
        model(program, batch).total.backward()
    assert not found


def test_in_bfloat16_it_answers_as_it_was_evaluated(tmp_path: Path) -> None:
    write("t5", tmp_path / "backbone")
    fit(tmp_path / "backbone", tmp_path / "run", "int8", 3, precision="bfloat16")
    history = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    told = [line["loss"] for line in history if line["kind"] == "valid"][-1]
    found = Trainer().evaluate(model=OFASys.from_pretrained(tmp_path / "run"), tasks=task(), split="valid")
    assert found["t"]["loss"] == pytest.approx(told, rel=1e-6)
    assert np.isfinite(told)


def test_what_cannot_be_held_so_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("gpt2", tmp_path)
    with pytest.raises(ConfigError, match=r"has no linear layers to hold in int8; leave quantize out, or take another"):
        GeneralistModel(engine=f"hf:{tmp_path}", config={"quantize": "int8"})
    with pytest.raises(
        ConfigError, match=r"quantize is 'int2'; did you mean int8[?] give int8 or int4, or leave it out"
    ):
        GeneralistModel(engine=f"hf:{tmp_path}", config={"quantize": "int2"})
    write("qwen3", tmp_path / "other")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match=r"4 bits need the library bitsandbytes .*ofasys\[quantize\]'.*give int8"):
        GeneralistModel(engine=f"hf:{tmp_path / 'other'}", config={"quantize": "int4"})


def test_the_formats_are_those_that_a_backbone_takes() -> None:
    from ofasys.engine.huggingface.config import QUANTIZE

    assert tuple(FORMATS) == QUANTIZE
