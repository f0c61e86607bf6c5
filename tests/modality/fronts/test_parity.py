"""A front through our flow, from row to stream, is the library's own processor and encoder."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch

from ofasys import GeneralistModel, Task, flow, plan
from ofasys.modality.shared.front import front_of
from ofasys.modality.shared.front_family import FAMILIES, PROCESSORS
from ofasys.packages import loaded
from ofasys.program.program import Program
from ofasys.testing.questions import questions
from ofasys.types import AdaptorInput
from tests.modality.fronts.folders import PICTURES, SOUNDS, write

pytest.importorskip("transformers")
SIZES = ((40, 50), (31, 32), (64, 20))
LENGTHS = (3000, 15000, 7777)  # samples


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZES[number], 3), dtype=np.uint8)


def sound(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=LENGTHS[number]).astype(np.float32) * 0.1


def line_of(name: str, folder: Path, more: str = "") -> str:
    tag = "IMAGE" if name in PICTURES else "AUDIO"
    return f"[{tag}:x,adaptor=hf:{folder}{more}] what is it? -> [TEXT:cap]"


def rows_of(name: str) -> list[dict[str, Any]]:
    values = [picture(i) if name in PICTURES else (sound(i), 16000) for i in range(3)]
    return [{"x": value, "cap": cap} for value, cap in zip(values, ("a cat", "what is it", "a"), strict=True)]


def grown(line: str, rows: list[dict[str, Any]]) -> tuple[GeneralistModel, Program]:
    task = Task("t", line, train=rows)
    model = GeneralistModel("tiny")
    model.grow([(one, task.labels) for one in task.plans], lambda: ["a cat what is it"])
    return model.eval(), flow.bind(model, task.plans[0], task.labels)


@cache
def case(name: str) -> tuple[GeneralistModel, Program, Any, Any]:
    """(our model, a program, the library's encoder, its processor)."""
    folder = Path(mkdtemp())
    library, processor = write(name, folder, whole=True)
    model, program = grown(line_of(name, folder), rows_of(name))
    for file in folder.iterdir():  # nothing of it is needed any more
        file.unlink()
    folder.rmdir()
    return model, program, library, processor


@torch.no_grad()
def expected(name: str, library: Any, processor: Any, number: int) -> torch.Tensor:
    """The library's own states of one value (m, W)."""
    if name in PICTURES:
        return library(**processor(picture(number), return_tensors="pt")).last_hidden_state[0]
    given = processor(sound(number), sampling_rate=16000, return_tensors="pt")
    states = library(given.get("input_features", given.get("input_values"))).last_hidden_state[0]
    return states[: -(-LENGTHS[number] // 320)] if name == "whisper" else states


def own(entries: tuple[AdaptorInput, ...], key: str) -> AdaptorInput:
    return next(entry for entry in entries if entry.adaptor == key)


@pytest.mark.parametrize("name", PICTURES + SOUNDS)
def test_states_are_the_librarys_own(name: str) -> None:
    """Of a batch of values of different shapes and lengths, each as if it were alone."""
    model, program, library, processor = case(name)
    slot = program.plan.slots[0]
    batch = flow.collate(program, [flow.preprocess(program, row) for row in rows_of(name)])
    entry = own(batch.source.inputs, slot.key)
    found = model.adaptors[slot.key].states(entry.tensors)
    wanted = torch.cat([expected(name, library, processor, number) for number in range(3)])
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    stream, _ = flow.adapt(model, batch)
    projected = model.adaptors[slot.key].embed(entry.tensors)
    torch.testing.assert_close(stream.embedding[entry.rows], projected)
    assert torch.isfinite(flow.compute(model, flow.adapt(model, batch)).target.states).all()


def test_sound_longer_than_the_window_is_heard_window_after_window() -> None:
    """Each as the library hears it, among values of other lengths; a window lasts a second here."""
    model, program, library, processor = case("whisper")
    counts = (5000, 40000, 16000, 32000, 33000, 16000)  # samples
    sounds = [np.random.default_rng(count).normal(size=count).astype(np.float32) * 0.1 for count in counts]
    rows = [{"x": (one, 16000), "cap": "a"} for one in sounds]
    batch = flow.collate(program, [flow.preprocess(program, row) for row in rows])
    key = program.plan.slots[0].key
    wanted = []
    with torch.no_grad():
        for one in sounds:
            end = 32000 if len(one) == 33000 else len(one)  # a sixteenth of a second is what a decoder leaves behind
            for begin in range(0, end, 16000):
                part = one[begin : min(begin + 16000, end)]
                given = processor(part, sampling_rate=16000, return_tensors="pt").input_features
                wanted.append(library(given).last_hidden_state[0][: -(-len(part) // 320)])
    found = model.adaptors[key].states(own(batch.source.inputs, key).tensors)
    torch.testing.assert_close(found, torch.cat(wanted), atol=1e-5, rtol=1e-5)
    assert torch.isfinite(flow.compute(model, flow.adapt(model, batch)).target.states).all()


def test_long_sound_that_is_cut_by_max_length_ends_within_its_window(tmp_path: Path) -> None:
    write("whisper", tmp_path)
    _, program = grown(line_of("whisper", tmp_path, ",max_length=60"), rows_of("whisper"))
    sample = flow.preprocess(program, {"x": (np.ones(40000, np.float32), 16000), "cap": "a"})
    features = next(one for key, one in sample.source if key == program.plan.slots[0].key)
    assert (features.length, len(features.tensors["heard"])) == (60, 2)


@pytest.mark.parametrize("name", [*PICTURES, "whisper", "wav2vec2"])
def test_a_front_asks_its_device_for_nothing(name: str) -> None:
    """One of padded values does: the library looks at its mask."""
    model, program, _, _ = case(name)
    batch = flow.collate(program, [flow.preprocess(program, row) for row in rows_of(name)])
    entry = own(batch.source.inputs, program.plan.slots[0].key)
    with questions() as asked:
        model.adaptors[entry.adaptor].embed(entry.tensors)
    assert asked == {}


@pytest.mark.parametrize("name", PICTURES + SOUNDS)
def test_a_plan_says_what_stands_before_the_model(name: str) -> None:
    """Its numbers are counted, not looked at, and are those that are there."""
    model, program, _, _ = case(name)
    slot = program.plan.slots[0]
    known, adaptor = front_of(slot.values), model.adaptors[slot.key]
    assert known.numbers == adaptor.numbers
    part = model.modalities.spec(slot.modality).adaptor["hf"]
    assert part.cost(slot.values, model.engine.width)[0] == sum(weight.numel() for weight in adaptor.parameters())
    told = str(program.plan)
    assert f"{known.family.about} of /" in told
    assert f"{known.numbers:,} numbers, frozen" in told
    often = f"{slot.expected} positions a picture of 32 x 32" if name in PICTURES else "50 positions a second"
    assert often in told
    assert "brought by" not in model.origins().splitlines()[-1]
    assert f": {adaptor.numbers:,} numbers of a front" in model.origins()


def test_patches_have_a_place_in_the_grid_and_marks_have_none() -> None:
    _, program, _, _ = case("dinov2_with_registers")
    (_, features), *_ = flow.preprocess(program, rows_of("dinov2")[0]).source
    assert features.length == 21
    assert features.orders == 1
    assert features.grid.tolist() == [[-1, -1]] * 5 + [[y, x] for y in range(4) for x in range(4)]


@pytest.mark.parametrize("name", ["siglip", "clip", "dinov2"])
def test_pictures_of_another_size_stretch_the_positions(name: str, tmp_path: Path) -> None:
    """As the library's own do; at its own size nothing is stretched."""
    library, _ = write(name, tmp_path)
    model, program = grown(line_of(name, tmp_path, ",size=48"), rows_of(name))
    slot = program.plan.slots[0]
    assert slot.expected == 36 + (name != "siglip")
    batch = flow.collate(program, [flow.preprocess(program, row) for row in rows_of(name)])
    entry = own(batch.source.inputs, slot.key)
    assert entry.tensors["pixels"].shape == (3, 3, 48, 48)
    stretched = {} if name == "dinov2" else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        wanted = library(entry.tensors["pixels"], **stretched).last_hidden_state.flatten(0, 1)
    torch.testing.assert_close(model.adaptors[slot.key].states(entry.tensors), wanted, atol=1e-5, rtol=1e-5)


def test_sound_behind_the_last_position_is_cut_by_max_length(tmp_path: Path) -> None:
    write("wav2vec2", tmp_path)
    _, program = grown(line_of("wav2vec2", tmp_path, ",max_length=5"), rows_of("wav2vec2"))
    (_, features), *_ = flow.preprocess(program, rows_of("wav2vec2")[1]).source
    assert features.length == 5
    assert features.tensors["heard"].shape == (1, 4 * 320 + 400)


@pytest.mark.parametrize("name", ["siglip", "clip"])
def test_frames_of_a_clip_go_through_a_front_of_pictures(name: str) -> None:
    """It is the front of IMAGE: both slots have one encoder."""
    folder = Path(mkdtemp())
    library, processor = write(name, folder)
    line = f"[VIDEO:v,adaptor=hf:{folder},frames=3] [IMAGE:x,adaptor=hf:{folder}] what is it? -> [TEXT:cap]"
    frames = [np.full((20, 30, 3), 80 * i, dtype=np.uint8) for i in range(3)]
    row = {"v": frames, "x": picture(0), "cap": "a cat"}
    model, program = grown(line, [row])
    clip, still, *_ = program.plan.slots
    assert clip.key == still.key
    assert len([key for key in model.adaptors if "hf" in key]) == 1
    batch = flow.collate(program, [flow.preprocess(program, row)])
    entry = own(batch.source.inputs, clip.key)
    with torch.no_grad():
        pixels = [processor(image, return_tensors="pt").pixel_values for image in (*frames, picture(0))]
        wanted = library(torch.cat(pixels)).last_hidden_state.flatten(0, 1)
    torch.testing.assert_close(model.adaptors[clip.key].states(entry.tensors), wanted, atol=1e-5, rtol=1e-5)
    assert (clip.positions, clip.expected) == ("3-D", 3 * still.expected)


def test_what_files_leave_out_is_as_the_library_has_it() -> None:
    for family in FAMILIES.values():
        library = loaded("a front", "load", family.shape)().to_dict()
        for name, value in family.defaults.items():
            assert library[name] == (list(value) if isinstance(library[name], list) else value), (family.about, name)
        assert set(family.fixed) <= set(library)
    for name, record in PROCESSORS.items():
        told = loaded("a front", "load", record.load)().to_dict()
        for field, value in record.defaults.items():
            assert {**value} == {**told[field]} if isinstance(value, dict) else told[field] == value, (name, field)


def test_a_plan_reads_no_weights_and_loads_no_library(tmp_path: Path) -> None:
    write("clip", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    code = (
        "import sys; from ofasys.planner import plan; "
        f"print(plan({line_of('clip', tmp_path)!r}).slots[0].expected, 'torch' in sys.modules, "
        "'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["17", "False", "False"]


def test_a_plan_with_a_front_is_a_value(tmp_path: Path) -> None:
    write("siglip", tmp_path)
    one, other = plan(line_of("siglip", tmp_path)), plan(line_of("siglip", tmp_path))
    assert one == other
    assert hash(one) == hash(other)
    assert one.fingerprint == other.fingerprint
    assert str(flow.parse(one.instruction)) == one.instruction
    larger = plan(line_of("siglip", tmp_path), settings={"x.size": 64})
    assert larger.slots[0].expected == 64
    assert larger.slots[0].key == one.slots[0].key
