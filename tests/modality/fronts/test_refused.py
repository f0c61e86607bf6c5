"""What no front can be made of, and what a front does not take: said before anything is computed, with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofasys import flow, plan
from ofasys.errors import ConfigError, DataError, PlanError
from tests.modality.fronts.folders import PICTURES, write
from tests.modality.fronts.test_parity import grown, line_of, own, rows_of, sound

pytest.importorskip("transformers")


def written(folder: Path, name: str, **changes: Any) -> None:
    """Change fields of a JSON file; None takes one away."""
    path = folder / name
    found = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({field: value for field, value in found.items() if value is not None}))


def refused(line: str, match: str) -> None:
    with pytest.raises(PlanError, match=match):
        plan(line)


def test_a_folder_that_is_no_front_is_refused_by_the_plan(tmp_path: Path) -> None:
    line = line_of("siglip", tmp_path / "front")
    refused(line, "IMAGE:x.*there is no folder .*front'; give hf:FOLDER, or hf:OWNER/NAME")
    write("siglip", tmp_path / "front")
    plan(line)
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("config.json", {"model_type": "bert"}, "architecture 'bert', which is no front that is known; take one of"),
        ("config.json", {"hidden_size": "wide"}, "hidden_size='wide', and a front has a whole number there"),
        ("config.json", {"quantization_config": {"bits": 4}}, "are quantized, and no front is; take one with float"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 32}}, "makes pictures of any shape; give its prep"),
        ("preprocessor_config.json", {"image_processor_type": "Siglip2ImageProcessorFast"}, "'Siglip2ImageProcessor'"),
        ("preprocessor_config.json", {"size": {"height": 50, "width": 32}}, "50 x 32 pixels are no whole.*write size="),
    ]
    for name, changes, match in cases:
        whole = (tmp_path / "front" / name).read_text()
        written(tmp_path / "front", name, **changes)
        refused(line, match)
        (tmp_path / "front" / name).write_text(whole)
    (tmp_path / "front" / "preprocessor_config.json").rename(tmp_path / "kept.json")
    refused(line, "has no preprocessor_config.json, which says how its input is made; save the front's processor")
    (tmp_path / "front" / "config.json").write_text("{")
    refused(line, "cannot be read .*take a whole copy of the front")


def test_a_front_of_other_data_is_refused(tmp_path: Path) -> None:
    write("whisper", tmp_path / "w")
    write("clip", tmp_path / "c")
    refused(f"[IMAGE:x,adaptor=hf:{tmp_path}/w] -> [TEXT:cap]", "Whisper takes sound; for IMAGE name a folder of.*CLIP")
    refused(f"[VIDEO:x,adaptor=hf:{tmp_path}/w] -> [TEXT:cap]", "Whisper takes sound; for VIDEO name")
    refused(f"[AUDIO:x,adaptor=hf:{tmp_path}/c] -> [TEXT:cap]", "CLIP takes pictures; for AUDIO name a folder of.*Wav2")


def test_a_slot_says_one_front_and_its_place(tmp_path: Path) -> None:
    write("siglip", tmp_path)
    place = f"hf:{tmp_path}"
    refused("[IMAGE:x,adaptor=hf] -> [TEXT:cap]", "adaptor=hf is read from a place; write adaptor=hf:FOLDER")
    refused("[IMAGE:x,adaptor=patch:here] -> [TEXT:cap]", "adaptor=patch is read from no place; write it without :here")
    refused("[IMAGE:x,adaptor=hg:here] -> [TEXT:cap]", "no adaptor 'hg:here' for IMAGE; .*there are hf:FOLDER, ofa")
    refused("[IMAGE:x,preprocess=hf] -> [TEXT:cap]", "adaptor=hf is read from a place")
    refused(f"[IMAGE:x,preprocess=pixels,adaptor={place}] -> [TEXT:cap]", "preprocess=hf and adaptor=hf:FOLDER go tog")
    refused(f"[TEXT:cap] -> [IMAGE:x,adaptor={place}]", "is for the source alone")
    refused(f"[IMAGE:x,adaptor={place},patch=8] -> [TEXT:cap]", "patch does not reach this slot")
    refused("[IMAGE:x,front=trained] -> [TEXT:cap]", "front does not reach this slot")


def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    line = "[IMAGE:x,adaptor=hf:google/siglip-base-patch16-224] -> [TEXT:cap]"
    refused(
        line, "'google/siglip-base-patch16-224' is no folder here, and was not got from.*copy the front to a folder"
    )


def test_weights_that_are_not_those_of_the_settings_are_refused(tmp_path: Path) -> None:
    line, rows = line_of("siglip", tmp_path), rows_of("siglip")
    write("siglip", tmp_path)

    def made(match: str) -> None:
        with pytest.raises(ConfigError, match=match):
            grown(line, rows)

    for changes, match in (
        ({"num_hidden_layers": 3}, r"lack encoder\.layers\.2.*take a whole copy"),
        ({"intermediate_size": 40}, r"have another shape: .*mlp\.fc.*take a whole copy"),
    ):
        whole = (tmp_path / "config.json").read_text()
        written(tmp_path, "config.json", **changes)
        made(match)
        (tmp_path / "config.json").write_text(whole)
    weights = tmp_path / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1000])
    made("weights of .* cannot be read .*take a whole copy of the front")
    weights.rename(tmp_path / "pytorch_model.bin")
    made("has no model.safetensors; other kinds of weights may hold code and are not read")
    index = {"weight_map": {"post_layernorm.weight": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    made("lacks model-00001-of-00002.safetensors, a part of its weights")
    (tmp_path / "pytorch_model.bin").unlink()
    (tmp_path / "model.safetensors.index.json").unlink()
    weights.write_bytes(data)
    grown(line, rows)


def test_a_library_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan needs none."""
    import sys

    write("siglip", tmp_path)
    line, rows = line_of("siglip", tmp_path), rows_of("siglip")
    monkeypatch.setitem(sys.modules, "transformers", None)
    plan(line)
    with pytest.raises(ConfigError, match=r"needs the library transformers; pip install 'ofasys\[hf\]'"):
        grown(line, rows)


def test_a_picture_that_is_too_long_and_narrow_is_a_bad_row(tmp_path: Path) -> None:
    """The library makes its shorter side as long as the front wants it, and cuts the middle out of that."""
    write("clip", tmp_path / "c")
    write("siglip", tmp_path / "s")
    narrow = np.zeros((1, 120_000, 3), dtype=np.uint8)
    for folder, bad in (("c", True), ("s", False)):
        _, program = grown(line_of("clip", tmp_path / folder), rows_of("clip"))
        if not bad:
            flow.preprocess(program, {"x": narrow, "cap": "a"})
            continue
        with pytest.raises(DataError, match="120000 x 1 pixels, of which the front's processor makes 122,880,000 bef"):
            flow.preprocess(program, {"x": narrow, "cap": "a"})


# --- where the library's way is not ours -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["siglip", "clip", "dinov2"])
def test_the_library_cuts_pictures_off_in_silence_and_we_do_not(name: str, tmp_path: Path) -> None:
    library, _ = write(name, tmp_path)
    stretched = {} if name == "dinov2" else {"interpolate_pos_encoding": True}
    states = [library(torch.zeros(1, 3, size, 32), **stretched).last_hidden_state.shape for size in (48, 50)]
    assert states[0] == states[1]
    refused(line_of(name, tmp_path, ",size=50"), "50 x 50 pixels are no whole number of the front's patches of 8.*=48")


def test_whisper_takes_a_whole_window_alone_and_we_any_sound_that_fits(tmp_path: Path) -> None:
    """Of a window of 30 s, what stands for the sound is kept: its encoder makes states of the silence behind it too."""
    settings: dict[str, Any] = {"num_mel_bins": 80, "max_source_positions": 1500}
    library, processor = write("whisper", tmp_path, processing={"feature_size": 80, "chunk_length": 30}, **settings)
    with pytest.raises(ValueError, match="3000"):
        library(torch.zeros(1, 80, 2999))
    model, program = grown(line_of("whisper", tmp_path), rows_of("whisper"))
    batch = flow.collate(program, [flow.preprocess(program, row) for row in rows_of("whisper")])
    key = program.plan.slots[0].key
    entry = own(batch.source.inputs, key)
    assert entry.tensors["heard 3000"].shape == (3, 80, 3000)
    with torch.no_grad():
        given = processor([sound(i) for i in range(3)], sampling_rate=16000, return_tensors="pt").input_features
        states = library(given).last_hidden_state
    wanted = torch.cat([states[i, : -(-len(sound(i)) // 320)] for i in range(3)])
    torch.testing.assert_close(model.adaptors[key].states(entry.tensors), wanted, atol=1e-5, rtol=1e-5)
    assert "in windows of 30 s" in str(program.plan)


def test_sound_that_is_too_long_or_too_short_is_a_bad_row(tmp_path: Path) -> None:
    write("whisper", tmp_path / "w")
    write("wav2vec2", tmp_path / "v")
    for name, folder, samples, match in (
        ("whisper", "w", 16000 * 61, "longer than 60 s"),
        ("whisper", "w", 0, "holds no samples"),
        ("wav2vec2", "v", 399, "too short: 399 samples at 16000 Hz.*at least 400"),
        ("wav2vec2", "v", 16000 * 61, "longer than 60 s"),
    ):
        _, program = grown(line_of(name, tmp_path / folder), rows_of(name))
        with pytest.raises(DataError, match=match):
            flow.preprocess(program, {"x": (np.zeros(samples, np.float32), 16000), "cap": "a"})


def test_a_processor_of_another_whisper_is_refused(tmp_path: Path) -> None:
    write("whisper", tmp_path, processing={"feature_size": 20})
    refused(line_of("whisper", tmp_path), "makes 100 frames of 20 bands, and its encoder takes 100 of 16: they are not")
    write("whisper", tmp_path, processing={"chunk_length": 2})
    refused(line_of("whisper", tmp_path), "makes 200 frames of 16 bands, and its encoder takes 100 of 16")


def test_padding_changes_a_wav2vec2_with_a_group_norm_so_it_has_none(tmp_path: Path) -> None:
    """With a layer norm it does not, where the encoder is told what is there."""
    grouped, _ = write("wav2vec2", tmp_path / "group")
    layered, _ = write("wav2vec2_layer", tmp_path / "layer")
    alone = torch.from_numpy(sound(0))[None]
    padded = torch.nn.functional.pad(alone, (0, 5000))
    mask = (torch.arange(padded.shape[1]) < alone.shape[1])[None].long()

    def moved(model: Callable[..., Any]) -> float:
        with torch.no_grad():
            own = model(alone).last_hidden_state
            other = model(padded, attention_mask=mask).last_hidden_state[:, : own.shape[1]]
        return float((own - other).abs().max())

    assert moved(grouped) > 1e-2
    assert moved(layered) < 1e-5
    for name, groups in (("group", 3), ("layer", 1)):
        kind = "wav2vec2" if name == "group" else "wav2vec2_layer"
        _, program = grown(line_of(kind, tmp_path / name), rows_of(kind))
        batch = flow.collate(program, [flow.preprocess(program, row) for row in rows_of(kind)])
        entry = own(batch.source.inputs, program.plan.slots[0].key)
        assert len([one for one in entry.tensors if one.startswith("heard")]) == groups


@pytest.mark.parametrize("name", PICTURES)
def test_a_processor_that_was_saved_with_others_is_read(name: str, tmp_path: Path) -> None:
    """The library writes one file of all processors of a model (transformers 5.23.0)."""
    write(name, tmp_path)
    line = line_of(name, tmp_path)
    one = plan(line)
    path = tmp_path / "preprocessor_config.json"
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": json.loads(path.read_text())}))
    path.unlink()
    assert plan(line).slots[0].values == one.slots[0].values
