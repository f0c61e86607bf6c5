"""A change of low rank on a backbone, apart and merged: the same scores, with and without the backbone's folder."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from ofasys import GeneralistModel, OFASys, Task, Trainer, flow
from ofasys.cli.main import app
from ofasys.engine.huggingface.places import Places
from ofasys.errors import CheckpointError, ConfigError
from ofasys.model.low_rank import changes
from tests.engine.huggingface.backbones import library_model, write
from tests.engine.test_engines import ROWS
from tests.hub.fake_hub import FakeHub, Repository, hub_of_a_test

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*does not give every text back")
LINE = "[TEXT:q] -> [TEXT:a]"


def task() -> Task:
    return Task("t", LINE, train=ROWS, valid=ROWS, micro_batch_size=4, generate={"max_length": 6})


def trained(engine: str, out: Path, steps: int = 3, **rule: Any) -> GeneralistModel:
    """A run that learns changes of low rank, and nothing else of the backbone."""
    given = {"lr": 2e-2, "warmup": 1, "precision": "float32", "live": False, "eval_every": 0}
    rules = [{"match": "*"}, {"match": "engine.*", "lora": 2, **rule}]
    model = GeneralistModel(engine=engine)
    Trainer(max_steps=steps, out=out, groups=rules, **given).fit(model=model, tasks=task())
    return model


def scores(model: GeneralistModel) -> torch.Tensor:
    """Of every token of the answers."""
    mine = task()
    program = flow.bind(model, mine.plan, mine.labels)
    batch = flow.collate(program, [flow.preprocess(program, row) for row in ROWS])
    with torch.inference_mode(), model.answering():
        states = flow.compute(model, flow.adapt(model, batch))
        (made,) = flow.emit(model, program, states, batch)
        return made.hidden @ made.candidates.T


KINDS = [("t5", {}), ("qwen3", {"tie_word_embeddings": True}), ("qwen3", {"tie_word_embeddings": False})]


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize(("family", "changed"), KINDS, ids=["t5", "tied", "untied"])
def test_merged_it_computes_what_it_did_apart(family: str, changed: dict[str, Any], dora: bool, tmp_path: Path) -> None:
    """Also where the output rows have a change of their own, because they are no table of the input."""
    (tmp_path / "backbone").mkdir()
    write(family, tmp_path / "backbone", **changed)
    plain = scores(grown(f"hf:{tmp_path / 'backbone'}"))
    trained(f"hf:{tmp_path / 'backbone'}", tmp_path / "run", dora=dora)
    apart = OFASys.from_pretrained(tmp_path / "run", merge=False)
    merged = OFASys.from_pretrained(tmp_path / "run")
    assert changes(apart.model)
    assert not changes(merged.model)
    assert ("engine.head.weight" in changes(apart.model)) == (changed == {"tie_word_embeddings": False})
    before = scores(apart.model)
    torch.testing.assert_close(scores(merged.model), before, rtol=0, atol=1e-5)
    assert float((before - plain).abs().max()) > 1e-2  # something was learned, or nothing was compared
    apart.save_pretrained(tmp_path / "whole", merge=True)
    torch.testing.assert_close(scores(apart.model), before, rtol=0, atol=0)  # saving changed nothing
    again = OFASys.from_pretrained(apart.save_pretrained(tmp_path / "apart"), merge=False)
    torch.testing.assert_close(scores(again.model), before, rtol=0, atol=0)
    shutil.rmtree(tmp_path / "backbone")
    whole = OFASys.from_pretrained(tmp_path / "whole")
    torch.testing.assert_close(scores(whole.model), before, rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"by reference, and .*backbone is not there.*or give its folder as back"):
        OFASys.from_pretrained(tmp_path / "apart")


def grown(engine: str, config: Any = None) -> GeneralistModel:
    model, mine = GeneralistModel(engine=engine, config=config), task()
    model.grow([(plan, mine.labels) for plan in mine.plans], lambda: [])
    return model


def test_tables_of_tokens_have_no_change_where_peft_gives_them_one_and_moves_scores(tmp_path: Path) -> None:
    """A change of a table that is also the output rows counts for both once it is merged."""
    peft = pytest.importorskip("peft")
    write("qwen3", tmp_path, tie_word_embeddings=True)
    theirs = copy.deepcopy(library_model("qwen3", tie_word_embeddings=True))
    config = peft.LoraConfig(r=2, target_modules=["embed_tokens"], lora_alpha=2)
    changed = peft.get_peft_model(theirs, config)
    torch.manual_seed(0)
    for name, weight in changed.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        before = changed(input_ids=ids).logits
        after = changed.merge_and_unload()(input_ids=ids).logits
    assert float((after - before).abs().max()) > 1.0
    with pytest.raises(ConfigError, match=r"'engine.embedding.\*' has lora 2 and holds no weight of a linear layer"):
        Trainer(max_steps=1, live=False, groups=[{"match": "engine.embedding.*", "lora": 2}]).fit(
            model=GeneralistModel(engine=f"hf:{tmp_path}"), tasks=task()
        )


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_a_backbone_with_changes_computes_as_with_those_of_peft(dora: bool, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    theirs = write("qwen3", tmp_path / "backbone", tie_word_embeddings=True)
    trained(f"hf:{tmp_path / 'backbone'}", tmp_path / "run", dora=dora)
    ours = OFASys.from_pretrained(tmp_path / "run", merge=False).model.engine
    names = sorted({name.split(".")[-2] for name in changes(ours)})
    config = peft.LoraConfig(r=2, lora_alpha=2, target_modules=names, use_dora=dora, lora_dropout=0.0)
    changed = peft.get_peft_model(theirs, config)
    for name in changes(ours):
        path = name.removesuffix(".weight")
        mine = ours.get_submodule(path).parametrizations.weight[0]
        layer = changed.base_model.model.model.get_submodule(path.removeprefix("decoder."))
        with torch.no_grad():
            layer.lora_A["default"].weight.copy_(mine.a)
            layer.lora_B["default"].weight.copy_(mine.b)
            if dora:
                layer.lora_magnitude_vector["default"].weight.copy_(mine.length)
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        at = torch.arange(10)[None]
        mine = ours.run(ours.embedding(ids), None, Places(at, at, counted=True), None, None)
        expected = changed(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        merged = changed.merge_and_unload()(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mine, merged, rtol=1e-4, atol=1e-4)


def test_a_saved_model_is_loaded_with_its_backbone_from_elsewhere(tmp_path: Path) -> None:
    write("llama", tmp_path / "backbone")
    model = trained(f"hf:{tmp_path / 'backbone'}", tmp_path / "run")
    (tmp_path / "backbone").rename(tmp_path / "moved")
    loaded = OFASys.from_pretrained(tmp_path / "run", backbone=tmp_path / "moved")
    torch.testing.assert_close(scores(loaded.model), scores(model), rtol=0, atol=1e-5)
    write("llama", tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match=r"by reference, and .*other is not there, or holds others"):
        OFASys.from_pretrained(tmp_path / "run", backbone=tmp_path / "other")
    loaded.save_pretrained(tmp_path / "whole", merge=True)
    with pytest.raises(CheckpointError, match=r"it has all its weights itself, and backbone is .*leave it out"):
        OFASys.from_pretrained(tmp_path / "whole", backbone=tmp_path / "moved")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    pytest.importorskip("huggingface_hub")
    with hub_of_a_test(monkeypatch, tmp_path) as found:
        yield found


def test_what_was_trained_is_pushed_apart_from_a_backbone_of_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    """Who pulls it gets the backbone at the commit it was trained on, whatever stands there since."""
    folder = tmp_path / "backbone"
    write("qwen3", folder)
    backbone = hub.repositories["them/qwen"] = Repository()
    backbone.add("main", {path.name: path.read_bytes() for path in folder.iterdir()}, "theirs")
    model = trained("hf:them/qwen", tmp_path / "run")
    OFASys.from_pretrained(tmp_path / "run", merge=False).push_to_hub("me/tuned")
    held = hub.repositories["me/tuned"]
    files = held.commits[held.branches["main"]]
    about = json.loads(files["model.json"])
    assert about["config"]["source"] == f"them/qwen@{backbone.branches['main']}"
    assert about["config"]["folder"] == ""
    assert "base_model: them/qwen\n" in files["README.md"].decode()
    backbone.add("main", {"config.json": b"{}"}, "another")
    shutil.rmtree(tmp_path / "cache")
    before = scores(model)
    torch.testing.assert_close(scores(OFASys.from_pretrained("me/tuned").model), before, rtol=0, atol=1e-5)
    OFASys.from_pretrained("me/tuned", merge=False).push_to_hub("me/whole", merge=True)
    shutil.rmtree(tmp_path / "cache")
    del hub.repositories["them/qwen"]
    torch.testing.assert_close(scores(OFASys.from_pretrained("me/whole").model), before, rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"its backbone: 'them/qwen' is no folder here, and was not got from the"):
        OFASys.from_pretrained("me/tuned")


def test_what_leans_on_a_folder_of_this_machine_is_pushed_whole_or_not(hub: FakeHub, tmp_path: Path) -> None:
    write("t5", tmp_path / "backbone")
    model = trained(f"hf:{tmp_path / 'backbone'}", tmp_path / "run")
    refused = CliRunner().invoke(app, ["push", str(tmp_path / "run"), "me/tuned"], catch_exceptions=False)
    assert refused.exit_code == 2
    assert "weights of the model are those of its backbone in " in refused.stderr
    assert "give merge=True (--merge), which writes all weights" in refused.stderr
    assert not hub.repositories
    done = CliRunner().invoke(app, ["push", str(tmp_path / "run"), "me/tuned", "--merge"], catch_exceptions=False)
    assert done.exit_code == 0
    shutil.rmtree(tmp_path / "backbone")
    torch.testing.assert_close(scores(OFASys.from_pretrained("me/tuned").model), scores(model), rtol=0, atol=1e-5)
