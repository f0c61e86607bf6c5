"""Checkpoints of OFASys as models of ours: opened, written, fine-tuned; and what is refused, with nothing run."""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from ofa_cases import CHECKPOINT, NAMES, hugging_face
from safetensors.torch import load_file
from typer.testing import CliRunner

from ofasys import OFASys, Task, Trainer, flow
from ofasys.cli.main import app
from ofasys.errors import CheckpointError, DataError
from ofasys.hub.ofa.container import OriginalTask, read_file
from ofasys.hub.ofa.convert import Original
from ofasys.hub.ofa.huggingface import name_of
from ofasys.hub.ofa.names import BUFFERS
from ofasys.hub.ofa.open import cards_of
from ofasys.hub.ofa.open import opened as open_original
from ofasys.hub.ofa.reading import ASKED
from ofasys.hub.ofa.words import Dictionary
from ofasys.language import Instruction
from ofasys.modality import default_registry
from ofasys.modality.vocabulary import Vocabulary
from ofasys.planner import explain, plan
from tests.hub.fake_hub import Repository, hub_of_a_test

LINE = "[TEXT:src] -> [TEXT:tgt]"


@pytest.fixture(scope="module")
def opened() -> OFASys:
    return OFASys.from_pretrained(CHECKPOINT)


def altered(folder: Path, change: object = None, **parts: object) -> Path:
    """A copy of the checkpoint with its BPE beside it, `change` made to what it holds."""
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copy(CHECKPOINT.parent / name, folder)
    found = read_file(CHECKPOINT)
    found = {name: found[name] for name in ("configstore", "model", "global_dict_indices")}
    found["configstore"]["model"]["unify"].pop("extra_models")
    if change is not None:
        change(found)  # type: ignore[operator]
    torch.save(found | parts, folder / "model.pt")
    return folder / "model.pt"


# --- what it is ------------------------------------------------------------------------------------------------------


def test_ids_are_the_original_s(opened: OFASys) -> None:
    case = json.loads((CHECKPOINT.parent / "case.json").read_text())
    tensors = load_file(CHECKPOINT.parent / "case.safetensors")
    program, _ = opened.programs.of(Instruction(case["template"]))
    for row, source, target in zip(case["rows"], tensors["slot_0"], tensors["target"], strict=True):
        sample = flow.preprocess(program, row)
        ids = [int(one) for _, features in sample.source for one in features.tensors["tokens"]]
        assert ids == source[source != 1].tolist()
        assert sample.run.tokens is not None
        assert sample.run.tokens.tolist() == target[target != 1].tolist()


def test_texts_come_back(opened: OFASys) -> None:
    symbols = opened.model.symbols
    assert symbols is not None
    assert symbols.decode(symbols.encode("  a red dog ")) == "a red dog"


def test_its_tasks_come_with_it(opened: OFASys) -> None:
    lines = {card.name: card.instructions for card in opened.cards}
    assert lines == {"gigaword": ("please summarize: [TEXT:src] -> [TEXT:tgt]",), "text_infilling": (LINE,)}


def test_imported_it_answers_alike(opened: OFASys, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["import", str(CHECKPOINT), str(tmp_path / "ours")])
    assert said.exit_code == 0, said.output
    assert "left out  decoder.adaptor.text.type_embedding.weight: only sources have a type" in said.output
    assert "2 tasks written" in said.output
    assert f"brought by {CHECKPOINT}: 52,644 numbers, with rows for 77 tokens" in said.output
    again = OFASys.from_pretrained(tmp_path / "ours")
    for name, tensor in opened.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    row = {"src": "a red dog"}
    for line in (LINE, "[TEXT:src] -> [TEXT:tgt,generator=fairseq]"):
        first, second = (one.inference(line, data=row, max_length=6) for one in (opened, again))
        assert (first.text, first.score) == (second.text, second.score)


def test_it_goes_on_with_a_new_task(tmp_path: Path) -> None:
    model = OFASys.from_pretrained(CHECKPOINT)
    before = model.model.table.detach().clone()
    line = "what is the color of [TEXT:what] -> [TEXT:colour,closed_set]"
    rows = [{"what": what, "colour": colour} for what, colour in [("the sky", "blue"), ("the red dog", "red")] * 4]
    trainer = Trainer(max_steps=60, lr=3e-3, warmup=10, out=tmp_path / "run", live=False, precision="float32")
    trainer.fit(model=model, tasks=Task("colours", line, train=rows, micro_batch_size=4))
    again = OFASys.from_pretrained(tmp_path / "run")
    assert not torch.equal(before, again.model.table)
    said = f"brought by {CHECKPOINT}: 52,644 numbers, with rows for 77 tokens\nnew: 4 rows of tokens, 0"
    assert again.model.origins().startswith(said)
    assert [again.inference(line, data={"what": what}).text for what in ("the sky", "the red dog")] == ["blue", "red"]


def test_a_plan_is_that_of_any_model(opened: OFASys) -> None:
    said = explain(plan("[IMAGE:img,preprocess=bicubic] what is it? -> [TEXT:t]"))
    assert "ofa_resnet" in said


# --- how its tasks' values are read ----------------------------------------------------------------------------------

SEES = {  # names of weights are enough to know what a checkpoint reads
    "encoder.adaptor.image_resnet.image_proj.weight": torch.zeros(1),
    "encoder.adaptor.video_image_sequence.embed_frame_positions.weight": torch.zeros(1),
}
LOOK, WHERE, WATCH = "[IMAGE:img] -> [TEXT:cap]", "[IMAGE:img] where? -> [BOX:box]", "[VIDEO:clip] -> [TEXT:cap]"


def cards_with(line: str, **read: object) -> tuple[dict[str, dict[str, object]], str]:
    """Settings of each card of a checkpoint with one more task, and why that was left out."""
    original = Original({}, SEES, Dictionary(MARKS + BINS))
    cards, left = cards_of(original, {"mine": OriginalTask(line, read)}, default_registry())
    return {card.name: dict(card.settings) for card in cards}, left.get("task mine", "")


def slot_read(line: str, settings: dict[str, object], number: int = 0) -> dict[str, object]:
    """The attributes of a slot of a line."""
    return dict(plan(line, settings=settings).slots[number].values)


def test_boxes_lie_on_marks_of_the_picture_as_the_task_read_it() -> None:
    cards, _ = cards_with(WHERE, box={"patch_image_size": 384, "max_image_size": 640})
    picture, box = (slot_read(WHERE, cards["mine"], number) for number in range(2))
    assert (picture["size"], box["extent"]) == (384, 640)
    assert "BOX.preprocess" in cards["mine"]
    usual = plan(ASKED["BOX"], settings=cards["ofa_box"]).slots
    assert (usual[0].values["size"], usual[-1].values["extent"], usual[-1].preprocess.name) == (512, 512, "marks")


def test_pictures_are_resized_as_in_their_task() -> None:
    cards, _ = cards_with(LOOK, image={"patch_image_size": 256, "imagenet_default_mean_and_std": True})
    mine, usual = slot_read(LOOK, cards["mine"]), slot_read(ASKED["IMAGE"], cards["ofa_image"])
    assert (mine["size"], mine["colours"]) == (256, "imagenet")
    assert (usual["size"], usual["colours"]) == (480, "half")


def test_what_is_usual_reaches_lines_of_no_task() -> None:
    """Though one task reads pictures of another size: what tasks do not agree on goes by column."""
    cards, _ = cards_with(LOOK, image={"patch_image_size": 256})
    assert {settings["IMAGE.size"] for name, settings in cards.items() if name != "ofa_video"} == {480}


def test_frames_are_those_of_the_original() -> None:
    cards, _ = cards_with(WATCH)
    assert slot_read(WATCH, cards["mine"]).items() >= {"frames": 16, "size": 256, "colours": "imagenet"}.items()
    cards, why = cards_with(WATCH, video={"sampling_rate": 4, "test_crop_size": 256})
    assert "mine" not in cards
    assert "sampling_rate=4" in why


MARKS = ("<s>", "<pad>", "</s>", "<unk>", "<text>_7", "<text>_3", "<mask>")
CODES, BINS = (tuple(f"<{name}>_{i}" for i in range(count)) for name, count in (("code", 20), ("bin", 1000)))


def test_ranges_are_those_of_the_dictionary() -> None:
    """Bins before codes, or after, as tasks came in."""
    for symbols, named in (
        (MARKS + CODES + BINS, (("ofa.codes", 7, 20), ("bins", 27, 1000))),
        (MARKS + BINS + CODES, (("bins", 7, 1000), ("ofa.codes", 1007, 20))),
        (MARKS + BINS[:32], (("ofa.bins", 7, 32),)),
        (MARKS, ()),
    ):
        found = Dictionary(symbols).vocabulary()
        assert (found.text, found.mask, found.named) == ((4, 6), 6, named)
        assert Vocabulary.assemble({}, found).size == len(symbols) + 4


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (MARKS[1:], "begins with <pad>"),
        (MARKS[:4], "no <text>_"),
        ((*MARKS, "<text>_8"), "do not stand together"),
    ],
)
def test_a_dictionary_that_is_none(symbols: tuple[str, ...], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        Dictionary(symbols).vocabulary()


# --- the form of Hugging Face ----------------------------------------------------------------------------------------


def test_names_of_hugging_face() -> None:
    for ours, theirs in NAMES.items():
        if isinstance(theirs, str) and not BUFFERS.search(ours):
            assert name_of(theirs) == ours


@pytest.mark.parametrize("shards", [1, 3])
def test_hugging_face_s_form_is_the_same_model(opened: OFASys, tmp_path: Path, shards: int) -> None:
    theirs = OFASys.from_pretrained(hugging_face(tmp_path / "ofa", shards))
    for name, tensor in opened.model.state_dict().items():
        assert torch.equal(tensor, theirs.model.state_dict()[name]), name


def test_hugging_face_s_form_answers_alike(opened: OFASys, tmp_path: Path) -> None:
    """Its vocabulary lacks most letters, of which the pieces it has are joined."""
    theirs = OFASys.from_pretrained(hugging_face(tmp_path / "ofa"))
    first, second = (one.inference(LINE, data={"src": "a red dog"}, max_length=4) for one in (opened, theirs))
    assert (first.text, first.score) == (second.text, second.score)
    with pytest.raises(DataError, match="no piece of text"):
        theirs.inference(LINE, data={"src": "a red dxg"})


@pytest.mark.parametrize("shards", [1, 2])
def test_its_name_on_the_hub_is_as_good_as_its_folder(
    opened: OFASys, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of its files those that are needed are fetched; without the hub what was brought is used."""
    files = {path.name: path.read_bytes() for path in hugging_face(tmp_path / "ofa", shards).iterdir()}
    line, row = "[TEXT:src] -> [TEXT:tgt]", {"src": "a red dog"}
    with hub_of_a_test(monkeypatch, tmp_path) as hub:
        theirs = hub.repositories["OFA-Sys/ofa-tiny"] = Repository()
        theirs.add("main", {**files, "evil.py": b"raise SystemExit(1)", "pytorch_model.bin": b"code"}, "theirs")
        found = OFASys.from_pretrained("OFA-Sys/ofa-tiny")
        assert found.origin.startswith("OFA-Sys/ofa-tiny (commit ")
        assert found.inference(line, data=row, max_length=6).text == opened.inference(line, data=row, max_length=6).text
        assert hub.fetched() == set(files)
        said = CliRunner().invoke(app, ["import", "OFA-Sys/ofa-tiny", str(tmp_path / "ours")])
        assert said.exit_code == 0, said.output
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
        with caplog.at_level(logging.WARNING, "ofasys"):
            OFASys.from_pretrained("OFA-Sys/ofa-tiny")
        assert "so OFA-Sys/ofa-tiny is what was brought from it before" in caplog.text


def test_an_index_that_is_none(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path / "ofa", 2)
    for said in ("[]", "{}", '{"weight_map": []}'):
        (folder / "model.safetensors.index.json").write_text(said)
        with pytest.raises(CheckpointError, match=r"model.safetensors.index.json has no weight_map; fetch it again"):
            OFASys.from_pretrained(folder)


def test_a_missing_shard(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path / "ofa", 3)
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"lacks model-1\.safetensors, which model\.safetensors\.index\.json names"
    ):
        OFASys.from_pretrained(folder)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "model.safetensors"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    folder = hugging_face(tmp_path / "ofa")
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        OFASys.from_pretrained(folder)


def test_a_vocabulary_of_another_size(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path / "ofa")
    vocab = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(dict(list(vocab.items())[:-1])))
    with pytest.raises(CheckpointError, match="76 pieces and the model 77 tokens"):
        OFASys.from_pretrained(folder)


def without(*names: str) -> object:
    """Forget weights whose name holds one of these."""

    def change(found: dict) -> None:
        found["model"] = OrderedDict((k, v) for k, v in found["model"].items() if not any(n in k for n in names))

    return change


def configured(**values: object) -> object:
    """Other values in the model's configuration."""
    return lambda found: found["configstore"]["model"]["unify"].update(values)


# --- its switches --------------------------------------------------------------------------------------------------


def untied(found: dict) -> None:
    """Output rows of their own."""
    found["model"]["decoder.adaptor.text.output_projection.weight"] = torch.randn(77, 32)


def one_table(found: dict) -> None:
    """All layers share the biases of the first."""
    found["configstore"]["model"]["unify"]["share_attn_bias"] = True
    without("rel_pos_table_list.1")(found)  # type: ignore[operator]


def entangled(found: dict) -> None:
    """Positions are added to embeddings, and scores know their distances alone."""
    config = found["configstore"]["model"]["unify"]
    config["entangle_position_embedding"] = config["adaptor"]["text"]["entangle_position_embedding"] = True
    without("pos_q_linear", "pos_k_linear")(found)  # type: ignore[operator]


def residual_factors(found: dict) -> None:
    """A factor of each channel on what the feed-forward branch is added to."""
    found["configstore"]["model"]["unify"]["scale_resids"] = True
    for side in ("encoder", "decoder"):
        for layer in range(2):
            found["model"][f"{side}.layers.{layer}.w_resid"] = torch.rand(32) + 0.5


def post_norm(found: dict) -> None:
    """Norms after residuals, and none at the end."""
    for side in ("encoder", "decoder"):
        found["configstore"]["model"]["unify"][side]["normalize_before"] = False
    found["model"] = OrderedDict((k, v) for k, v in found["model"].items() if not k.startswith(NORMS))


NORMS = ("encoder.layer_norm", "decoder.layer_norm")


def bare(found: dict) -> None:
    """None of the norms and factors inside a layer."""
    found["configstore"]["model"]["unify"].update(scale_attn=False, scale_fc=False, scale_heads=False)
    inner = ("attn_ln", "cross_attn_ln", "ffn_layernorm", "c_attn")
    without(*inner)(found)  # type: ignore[operator]


def plain_embedding(found: dict) -> None:
    """Embeddings scaled by the width, without norms or a type."""
    found["configstore"]["model"]["unify"]["adaptor"]["text"]["no_scale_embedding"] = False
    without("layernorm_embedding", "layernorm_position", "type_embedding")(found)  # type: ignore[operator]


SWITCHES = {
    "untied": untied,
    "one table": one_table,
    "entangled": entangled,
    "residual factors": residual_factors,
    "post-norm": post_norm,
    "bare": bare,
    "plain embedding": plain_embedding,
    "relu": configured(activation_fn="relu"),
    "another factor": configured(attn_scale_factor=1),
}


@pytest.mark.parametrize("what", SWITCHES)
def test_each_switch_makes_another_model(opened: OFASys, what: str, tmp_path: Path) -> None:
    """Its numbers are compared in tests/parity, where there are cases of them; here, that it is heeded and kept."""
    model = OFASys.from_pretrained(altered(tmp_path, SWITCHES[what]))
    row, line = {"src": "a red dog"}, "[TEXT:src] -> [TEXT:tgt,closed_set]"
    labels = ["a cat", "two dogs"]
    ours, theirs = (one.inference(line, data=row, closed_set=labels).score for one in (opened, model))
    assert ours != theirs
    model.save_pretrained(tmp_path / "saved")
    again = OFASys.from_pretrained(tmp_path / "saved")
    assert again.model.config == model.model.config
    assert again.inference(line, data=row, closed_set=labels).score == theirs


# --- what is refused -------------------------------------------------------------------------------------------------


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    path = altered(tmp_path, args=Bomb(tmp_path / "ran"))
    with pytest.raises(CheckpointError, match=r"names posix.mkdir, .*nothing of the\s+file was read"):
        OFASys.from_pretrained(path)
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"model": Bomb(tmp_path / "ran")}))
    with pytest.raises(CheckpointError, match=r"model\.pt"):
        OFASys.from_pretrained(tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()


def test_settings_in_objects_are_read(tmp_path: Path) -> None:
    """An argparse.Namespace, a defaultdict of one's own: containers, of which nothing is run."""
    path = altered(tmp_path, args=argparse.Namespace(arch="ofa", seed=1))
    assert OFASys.from_pretrained(path).model.engine_spec.name == "ofa"


def test_a_torn_file(tmp_path: Path) -> None:
    path = altered(tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint of torch"):
        OFASys.from_pretrained(path)


def renumbered(found: dict) -> None:
    """A dictionary of another model: as many text pieces, other ones."""
    indices = found["global_dict_indices"]
    found["global_dict_indices"] = {s.replace("<text>_", "<text>_9") if i > 5 else s: i for s, i in indices.items()}


def shorter(found: dict) -> None:
    """A dictionary with one symbol less."""
    indices = found["global_dict_indices"]
    found["global_dict_indices"] = {symbol: i for symbol, i in indices.items() if i < len(indices) - 1}


REFUSED = {
    "a layer is missing": (without("encoder.layers.1."), "2 layers of the encoder and the weights have 1"),
    "a weight is missing": (without("decoder.layers.0.fc2.bias"), "nothing for engine.decoder.blocks.0.ffn.down.bias"),
    "another architecture": (without("adaptor"), "no encoder.adaptor.text"),
    "no table": (without("embed_tokens"), "no encoder.adaptor.embed_tokens.weight"),
    "another width": (configured(arch="tiny"), "width 256 and the weights have 32"),
    "an unknown arch": (configured(arch="enormous"), "arch='enormous'"),
    "no biases": (configured(use_self_attn_bias=False), "use_self_attn_bias=False, attention without biases"),
    "experts": (configured(modal_ffn=True), "modal_ffn=True, a feed-forward branch of each modality"),
    "an activation": (configured(activation_fn="tanh"), "activation_fn='tanh'"),
    "another dictionary": (renumbered, "does not belong"),
    "a shorter dictionary": (shorter, "should have"),
    "no configuration": (lambda found: found.pop("configstore"), "no configstore"),
    "no dictionary": (lambda found: found.pop("global_dict_indices"), "no global_dict_indices"),
    "a shard": (lambda found: found.update(fsdp_metadata={"rank": 0}), "one shard of a checkpoint"),
    "no weights": (lambda found: found.update(model={}), "no 'model' of tensors"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused(what: str, tmp_path: Path) -> None:
    change, message = REFUSED[what]
    with pytest.raises(CheckpointError, match=message):
        OFASys.from_pretrained(altered(tmp_path, change))


def test_the_unaltered_one_is_read(tmp_path: Path) -> None:
    OFASys.from_pretrained(altered(tmp_path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "modle.pt",
            "modle.pt is not there; did you mean model.pt[?] give a .pt file of OFASys, or a folder of OFA",
        ),
        (".", "has no config.json; did you mean .*model.pt[?] give a .pt file of OFASys"),
        ("empty", ".*empty has no config.json; give a .pt file of OFASys"),
        ("ours", "ours holds a model of ours already, which needs no import"),
        ("text", "text cannot be read as a checkpoint of torch .*; give a .pt file of OFASys"),
    ],
)
def test_what_is_no_checkpoint_says_what_to_give(tmp_path: Path, name: str, said: str) -> None:
    altered(tmp_path)
    for folder in ("empty", "ours/checkpoints"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "text").write_text("plain")
    with pytest.raises(CheckpointError, match=said):
        open_original(tmp_path / name)


def test_commands_take_it_as_it_is(tmp_path: Path) -> None:
    """A file of answers is gone on with as that of any model."""
    (tmp_path / "rows.csv").write_text("src\na red dog\nthe sky\n")
    asked = ["infer", str(CHECKPOINT), "gigaword", "--data", str(tmp_path / "rows.csv"), "--max-length", "3"]
    done = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "answers.csv")])
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 3
    told = CliRunner().invoke(app, ["tasks", str(CHECKPOINT)])
    assert told.exit_code == 0, told.output
    assert "gigaword" in told.stdout
    assert "please summarize: [TEXT:src] -> [TEXT:tgt]" in told.stdout


def test_a_place_that_is_taken_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("dear")
    said = CliRunner().invoke(app, ["import", "nothing.pt", str(tmp_path / "letters")])
    assert said.exit_code == 2
    assert "holds 'mine.txt', which is not of a saved model and would be lost; give a new folder" in said.output


def test_without_byte_pairs(tmp_path: Path) -> None:
    shutil.copy(CHECKPOINT, tmp_path / "alone.pt")
    with pytest.raises(CheckpointError, match=r"put encoder\.json and vocab\.bpe or .* beside it"):
        OFASys.from_pretrained(tmp_path / "alone.pt")
