"""Runs with fronts: what stays, what is learned, what is saved, and what is refused when it is loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ofasys import GeneralistModel, OFASys, Task, Trainer, flow
from ofasys.errors import CheckpointError, ConfigError, PlanError
from ofasys.generator.options import SearchOptions
from ofasys.modality import Context
from tests.engine.huggingface.backbones import write as write_backbone
from tests.engine.test_engines import same
from tests.hub.fake_hub import hub_of_a_test
from tests.modality.fronts.folders import write
from tests.modality.fronts.test_parity import line_of, rows_of
from tests.parallel.processes import on_ranks

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*does not give every text back")


def trained(
    line: str, name: str, out: Path, steps: int = 2, engine: Path | None = None, **settings: Any
) -> tuple[GeneralistModel, Task]:
    """A model after a few steps."""
    model = GeneralistModel("tiny") if engine is None else GeneralistModel(engine=f"hf:{engine}")
    task = Task("t", line, train=rows_of(name), micro_batch_size=2)
    given = {"lr": 1e-2, "warmup": 1, "precision": "float32", "live": False, "out": out, "decay": "constant"}
    Trainer(max_steps=steps, **{**given, **settings}).fit(model=model, tasks=task)
    return model, task


def key_of(model: GeneralistModel) -> str:
    return next(key for key in model.adaptors if "_hf_" in key)


def held(out: Path) -> dict[str, torch.Tensor]:
    """What the last checkpoint of a run holds."""
    return load_file(next(iter(sorted(out.rglob("last/model.safetensors")) or sorted(out.rglob("model.safetensors")))))


def equal(one: GeneralistModel, other: GeneralistModel) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name, weight in mine.items():
        assert torch.equal(weight, theirs[name]), name


def answers_equal(model: GeneralistModel, task: Task, loaded: OFASys) -> None:
    program = loaded.program(flow.parse(str(task.instructions[0])))
    samples = [flow.preprocess(program, row) for row in task.source("train")]
    options = SearchOptions(max_length=6)
    before = flow.generate(model, flow.bind(model, task.plans[0], task.labels), samples, options)
    for one, other in zip(before, flow.generate(loaded.model, program, samples, options), strict=True):
        same(one[0], other[0])


@pytest.mark.parametrize("name", ["siglip", "clip", "dinov2", "whisper", "wav2vec2"])
def test_a_frozen_front_stays_and_what_projects_it_is_learned(name: str, tmp_path: Path) -> None:
    """A saved model refers to it, and answers the same; another's weights are refused."""
    folder, out = tmp_path / "front", tmp_path / "run"
    library, _ = write(name, folder, whole=True)
    model, task = trained(line_of(name, folder), name, out)
    adaptor = model.adaptors[key_of(model)]
    fresh = GeneralistModel("tiny")
    fresh.grow([(one, task.labels) for one in task.plans], lambda: ["a"])
    for own, weight in adaptor.front.state_dict().items():
        assert torch.equal(weight, library.state_dict()[own]), own
    for own, weight in fresh.adaptors[key_of(model)].project.named_parameters():
        assert not torch.equal(weight, adaptor.project.get_parameter(own)), own
    assert not [one for one in held(out) if ".front." in one]
    loaded = OFASys.from_pretrained(out)
    equal(model, loaded.model)
    answers_equal(model, task, loaded)
    write(name, folder, whole=True, seed=1)
    with pytest.raises(
        CheckpointError, match=r"weights of its front of (IMAGE|AUDIO) by reference, and .*front is not"
    ):
        OFASys.from_pretrained(out)


@pytest.mark.parametrize("family", ["t5", "qwen3"])
def test_a_front_stands_before_a_backbone(family: str, tmp_path: Path) -> None:
    folder, backbone, out = tmp_path / "front", tmp_path / "backbone", tmp_path / "run"
    write("siglip", folder)
    write_backbone(family, backbone)
    rules = [{"match": "engine.*", "lora": 2}, {"match": "engine.embedding.*", "freeze": True}]
    model, task = trained(line_of("siglip", folder), "siglip", out, engine=backbone, groups=rules)
    assert not [one for one in held(out) if ".front." in one]
    loaded = OFASys.from_pretrained(out)
    equal(model, loaded.model)
    answers_equal(model, task, loaded)
    told = loaded.model.origins()
    assert f"brought by hf:{backbone}: " in told
    assert f"brought by hf:{folder}: 7,296 numbers of a front" in told


@pytest.mark.parametrize("name", ["clip", "wav2vec2"])
def test_a_front_that_is_trained_is_saved_and_its_folder_is_not_needed(name: str, tmp_path: Path) -> None:
    """A plan of the saved model is made of what it remembers."""
    folder, out = tmp_path / "front", tmp_path / "run"
    library, _ = write(name, folder)
    model, task = trained(line_of(name, folder, ",front=trained"), name, out)
    front = model.adaptors[key_of(model)].front
    moved = {own for own, weight in front.named_parameters() if not torch.equal(weight, library.get_parameter(own))}
    assert len(moved) > 20
    assert {f"adaptors.{key_of(model)}.front.{own}" for own in front.state_dict()} <= set(held(out))
    folder.rename(tmp_path / "away")
    loaded = OFASys.from_pretrained(out)
    equal(model, loaded.model)
    answers_equal(model, task, loaded)
    answers_equal(model, task, pickle.loads(pickle.dumps(loaded)))


@pytest.mark.parametrize(("name", "front"), [("dinov2", "frozen"), ("wav2vec2_layer", "trained")])
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(name: str, front: str, tmp_path: Path) -> None:
    folder = tmp_path / "front"
    write(name, folder)
    line = line_of(name, folder, f",front={front}")
    whole, _ = trained(line, name, tmp_path / "whole", steps=4)
    trained(line, name, tmp_path / "half", steps=2)
    half, _ = trained(line, name, tmp_path / "half", steps=4)
    equal(whole, half)


def test_a_front_is_frozen_and_changed_by_patterns_too(tmp_path: Path) -> None:
    """As any other weights: for so many updates, or by a change of low rank on what stays as it is."""
    folder = tmp_path / "front"
    library, _ = write("siglip", folder)
    pattern = "adaptors.image_hf*.front.*"
    line = line_of("siglip", folder, ",front=trained")
    model, _ = trained(line, "siglip", tmp_path / "one", groups=[{"match": pattern, "freeze": True}])
    front = model.adaptors[key_of(model)].front
    assert all(torch.equal(weight, library.get_parameter(own)) for own, weight in front.named_parameters())
    line, out = line_of("siglip", folder), tmp_path / "two"
    model, task = trained(line, "siglip", out, groups=[{"match": pattern, "lora": 2}])
    saved = json.loads(next(iter(sorted(out.rglob("model.json")))).read_text())
    assert saved["lora"]
    front = model.adaptors[key_of(model)].front
    moved = {own for own, weight in front.named_parameters() if not torch.equal(weight, library.get_parameter(own))}
    assert {f"adaptors.{key_of(model)}.front.{own}" for own in moved} == set(saved["lora"])
    loaded = OFASys.from_pretrained(out)
    answers_equal(model, task, loaded)


def test_a_folder_that_moved_is_found_where_its_place_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative place is read from where the process is."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    write("siglip", here / "front")
    model, task = trained(line_of("siglip", Path("front")), "siglip", tmp_path / "run")
    assert key_of(model) == "image_hf_front_frozen"
    (here / "front").rename(there / "front")
    with pytest.raises(CheckpointError, match="by reference"):
        OFASys.from_pretrained(tmp_path / "run")
    monkeypatch.chdir(there)
    answers_equal(model, task, OFASys.from_pretrained(tmp_path / "run"))


def test_a_place_leads_to_one_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights or settings under the name of the model's own front are not taken for it in silence."""
    for name, changes in (("a", {}), ("b", {"seed": 1}), ("c", {"hidden_act": "relu"})):
        (tmp_path / name).mkdir()
        write("siglip", tmp_path / name / "front", **changes)
    monkeypatch.chdir(tmp_path / "a")
    line, rows, out = line_of("siglip", Path("front")), rows_of("siglip"), tmp_path / "run"
    model, _ = trained(line, "siglip", out)
    for name, match in (("b", "with other weights, whose SHA-256 is .*name this one by"), ("c", "with other settings")):
        monkeypatch.chdir(tmp_path / name)
        task = Task("t", line, train=rows, micro_batch_size=2)
        with pytest.raises(ConfigError, match=match):
            model.grow([(one, task.labels) for one in task.plans], lambda: [])
        with pytest.raises((ConfigError, CheckpointError), match=match):
            trained(line, "siglip", out, steps=4)


def test_slots_with_a_frozen_and_a_trained_front_have_one_each(tmp_path: Path) -> None:
    write("siglip", tmp_path)
    line = f"[IMAGE:a,adaptor=hf:{tmp_path}] [IMAGE:b,adaptor=hf:{tmp_path}] [IMAGE:c,adaptor=hf:{tmp_path},"
    plan = flow.plan(f"{line}front=trained] -> [TEXT:cap]")
    first, second, third, _ = (slot.key for slot in plan.slots)
    assert first == second
    assert third == first.removesuffix("frozen") + "trained"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("clip", "[IMAGE:x,{}|TEXT:cap] ->"),
        ("dinov2", "[IMAGE:x,{},criterion=classify,classify_target=cap] ->"),
        ("wav2vec2", "[AUDIO:x,{},criterion=ctc,ctc_target=cap] -> [TEXT:cap]"),
        ("whisper", "([AUDIO:x,{}])* -> [TEXT:cap]"),
    ],
)
def test_a_front_learns_in_every_place_of_a_source(name: str, line: str, tmp_path: Path) -> None:
    """A view of a contrast, what a criterion of the source is on, an element of a repetition."""
    write(name, tmp_path / "front")
    rows = rows_of(name)
    if "*" in line:
        rows = [{"x": [row["x"], rows[0]["x"]], "cap": row["cap"]} for row in rows]
    model = GeneralistModel("tiny")
    task = Task("t", line.format(f"adaptor=hf:{tmp_path / 'front'}"), train=rows, micro_batch_size=2)
    Trainer(max_steps=2, lr=1e-2, precision="bfloat16", live=False).fit(model=model, tasks=task)
    fresh = GeneralistModel("tiny")
    fresh.grow([(one, task.labels) for one in task.plans], lambda: ["a"])
    (first, learned) = (one.adaptors[key_of(model)].project[0].weight for one in (fresh, model))
    assert torch.isfinite(learned).all()
    assert not torch.equal(first, learned)


@pytest.mark.parametrize("name", ["siglip", "whisper"])
def test_workers_read_rows_for_a_front(name: str, tmp_path: Path) -> None:
    """What they are sent holds no processor that was made."""
    folder = tmp_path / "front"
    write(name, folder)
    alone, _ = trained(line_of(name, folder), name, tmp_path / "alone")
    together, task = trained(line_of(name, folder), name, tmp_path / "together", workers=1)
    equal(alone, together)
    program = flow.bind(alone, task.plans[0], task.labels)
    program.preprocessors[0].preprocess(rows_of(name)[0]["x"], Context())
    assert len(pickle.dumps(program.preprocessors[0])) < 10_000


def several(rank: int, line: str, out: Path, **settings: Any) -> dict[str, Any]:
    model, _ = trained(line, "clip", out, **settings)
    return {name: weight.numpy() for name, weight in model.state_dict().items()}


@pytest.mark.slow
def test_a_front_that_lies_in_pieces_is_referred_to_too(tmp_path: Path) -> None:
    """What two processes saved is what each has learned, and the frozen front is the library's."""
    folder, out = tmp_path / "front", tmp_path / "run"
    library, _ = write("clip", folder)
    ended = on_ranks(2, several, line_of("clip", folder), out, shard=True)
    assert [one.error for one in ended] == ["", ""]
    assert not [name for name in held(out) if ".front." in name]
    loaded = OFASys.from_pretrained(out).model
    for name, weight in loaded.state_dict().items():
        np.testing.assert_array_equal(ended[0].value[name], weight.numpy(), err_msg=name)
        np.testing.assert_array_equal(ended[1].value[name], weight.numpy(), err_msg=name)
    for name, weight in library.named_parameters():
        assert torch.equal(loaded.adaptors[key_of(loaded)].front.get_parameter(name), weight), name


def test_a_model_with_a_front_is_pushed_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who pulls it has all weights, and needs the front's folder no more."""
    pytest.importorskip("huggingface_hub")
    folder, out = tmp_path / "front", tmp_path / "run"
    write("siglip", folder)
    model, task = trained(line_of("siglip", folder), "siglip", out)
    with hub_of_a_test(monkeypatch, tmp_path) as hub:
        loaded = OFASys.from_pretrained(out)
        with pytest.raises(
            ConfigError, match=r"weights of the model are those of a front .* give merge=True \(--merge\)"
        ):
            loaded.push_to_hub("me/seeing")
        assert not hub.repositories
        loaded.push_to_hub("me/seeing", merge=True)
        shutil.rmtree(folder)
        pulled = OFASys.from_pretrained("me/seeing")
    equal(model, pulled.model)
    answers_equal(model, task, pulled)


def test_a_relative_folder_is_said_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match=rf"there is no folder './front' in {tmp_path}; give hf:FOLDER"):
        flow.plan("[IMAGE:img,adaptor=hf:./front] -> [TEXT:cap]")
