"""Runs on backbones: every kind of target, what is saved, resuming, changes of low rank, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders
from transformers import AutoTokenizer

from ofasys import AnswerSession, GeneralistModel, OFASys, Task, Trainer, flow, plan
from ofasys.errors import CheckpointError, ConfigError
from ofasys.generator.options import SearchOptions
from tests.engine.huggingface.backbones import CHAT, tokenizer_of, write
from tests.engine.test_engines import KINDS, ROWS, same
from tests.parallel.processes import on_ranks
from tests.parallel.test_laws import together

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*does not give every text back")
LINE, CHOICE = "[TEXT:q] -> [TEXT:a]", "[TEXT:q] of what kind -> [CATEGORY:kind]"
LABELS = {"kind": ["some", "none at all"]}
LOW_RANK = [{"match": "engine.*", "lora": 2}, {"match": "adaptors.*", "lr": 1e-2}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of an encoder-decoder and one of a decoder alone."""
    found = {family: tmp_path_factory.mktemp(family) for family in ("t5", "qwen3")}
    for family, folder in found.items():
        write(family, folder)
    return found


def trained(folder: Path, out: Path, line: str = LINE, steps: int = 3, **settings: Any) -> tuple[GeneralistModel, Task]:
    """A model of a backbone after a few steps."""
    model = GeneralistModel(engine=f"hf:{folder}")
    task = Task("t", line, train=ROWS, micro_batch_size=4)
    given = {"lr": 1e-3, "warmup": 1, "precision": "float32", "live": False, "out": out, "log_every": 1}
    Trainer(max_steps=steps, **{**given, **settings}).fit(model=model, tasks=task)
    return model, task


@pytest.mark.parametrize(("number", "kind"), list(enumerate(KINDS)), ids=list(KINDS))
def test_every_kind_trains_answers_is_saved_and_loaded(
    number: int, kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """By turns with an encoder-decoder and a decoder alone; one without a source needs the latter."""
    line = KINDS[kind]
    family = "t5" if number % 2 and not line.startswith("->") else "qwen3"
    model, task = trained(folders[family], tmp_path, line)
    loaded = OFASys.from_pretrained(tmp_path)
    program = loaded.program(flow.parse(line))
    samples = [flow.preprocess(program, row) for row in ROWS]
    options = SearchOptions(max_length=6)
    together = flow.generate(loaded.model, program, samples, options)
    before = flow.generate(model, flow.bind(model, program.plan, task.labels), samples, options)
    for i, (one, other) in enumerate(zip(together, before, strict=True)):
        same(one[0], other[0])
        same(one[0], flow.generate(loaded.model, program, [samples[i]], options, seeds=[i])[0][0])


@pytest.mark.parametrize("family", ["t5", "qwen3"])
def test_a_session_answers_as_inference_does(family: str, folders: dict[str, Path]) -> None:
    """Greedy, drawn, by beams and with labels, all at once."""
    model = GeneralistModel(engine=f"hf:{folders[family]}")
    model.grow([(flow.plan(flow.parse(line)), LABELS) for line in (LINE, CHOICE)], list)
    served = OFASys(model.eval())
    drawn = {"sampling": True, "temperature": 0.5}
    asked: list[tuple[str, dict[str, Any]]] = [
        (LINE, {}),
        (LINE, drawn),
        (LINE, {"beam_size": 2}),
        (LINE, {"min_length": 3}),
    ]
    asked = [(line, {"max_length": 5, **more}) for line, more in asked] + [(CHOICE, {"closed_set": LABELS})]
    rows = [{"q": f"{n} and {n}"} for n in range(3)]
    with AnswerSession(served, rows=9) as session:
        given = [(line, row, {**more, "first": n}) for n, row in enumerate(rows) for line, more in asked]
        pending = [session.submit(line, row, **more) for line, row, more in given]
        found = [one.result(60) for one in pending]
    assert found == [served.inference(line, row, **more) for line, row, more in given]


def weights(out: Path) -> dict[str, torch.Tensor]:
    """What the last checkpoint of a run holds."""
    return load_file(next(iter(sorted(out.rglob("last/model.safetensors")) or sorted(out.rglob("model.safetensors")))))


def test_what_was_not_trained_is_saved_by_reference(folders: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    model, _ = trained(folders["qwen3"], out, groups=[{"match": "engine.*", "freeze": True}])
    assert not [name for name in weights(out) if name.startswith("engine.")]
    loaded = OFASys.from_pretrained(out).model
    for (name, one), other in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_all_is_saved_where_all_is_trained(tmp_path: Path) -> None:
    """Then the backbone's folder is not needed any more."""
    folder, out = tmp_path / "backbone", tmp_path / "run"
    folder.mkdir()
    write("bart", folder)
    model, _ = trained(folder, out)
    assert [name for name in weights(out) if name == "engine.embedding.weight"]
    folder.rename(tmp_path / "away")
    loaded = OFASys.from_pretrained(out).model
    for (name, one), other in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_a_backbone_that_is_referred_to_has_to_be_there(tmp_path: Path) -> None:
    folder, out = tmp_path / "backbone", tmp_path / "run"
    folder.mkdir()
    write("llama", folder)
    trained(folder, out, groups=[{"match": "engine.*", "freeze": True}])
    write("llama", folder, seed=1)
    with pytest.raises(CheckpointError, match=r"by reference, and .*backbone is not there, or holds others; put the"):
        OFASys.from_pretrained(out)
    write("llama", folder, seed=0)
    OFASys.from_pretrained(out)


@pytest.mark.parametrize("family", ["t5", "qwen3"])
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(
    family: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    whole, _ = trained(folders[family], tmp_path / "whole", steps=4, groups=LOW_RANK, decay="constant")
    trained(folders[family], tmp_path / "half", steps=2, groups=LOW_RANK, decay="constant")
    half, _ = trained(folders[family], tmp_path / "half", steps=4, groups=LOW_RANK, decay="constant")
    for (name, one), other in zip(whole.state_dict().items(), half.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def in_pieces(rank: int, folder: Path, out: Path, shard: bool) -> dict[str, Any]:
    """A run that learns one side of a backbone, as it was saved."""
    rules = [{"match": "engine.encoder.*", "freeze": True}]
    trained(folder, out, shard=shard, groups=rules)
    saved = OFASys.from_pretrained(out).model
    return {name: weight.numpy() for name, weight in saved.state_dict().items()}


def test_weights_in_pieces_are_saved_as_whole_ones_are(folders: dict[str, Path], tmp_path: Path) -> None:
    """What was not learned by reference, of which each process has a part."""
    whole = in_pieces(0, folders["t5"], tmp_path / "one", False)
    two = together(on_ranks(2, in_pieces, folders["t5"], tmp_path / "two", True))
    names = [json.loads(next((tmp_path / out).rglob("model.json")).read_text())["reference"] for out in ("one", "two")]
    assert names[0] == names[1] != []
    for found in two:
        assert {name: weight.shape for name, weight in found.items()} == {n: w.shape for n, w in whole.items()}
        for name, weight in whole.items():
            np.testing.assert_allclose(found[name], weight, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("family", ["t5", "qwen3"])
def test_changes_of_low_rank_are_merged_right(
    family: str, dora: bool, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Rows of tokens, which are tied, have none: merging them would move scores twice."""
    before = GeneralistModel(engine=f"hf:{folders[family]}").state_dict()
    rules = [{"match": "engine.*", "lora": 2, "dora": dora}]
    model, task = trained(folders[family], tmp_path, groups=rules)
    saved = json.loads(next(iter(sorted(tmp_path.rglob("model.json")))).read_text())
    assert saved["lora"]
    assert not [name for name in saved["lora"] if "embedding" in name]
    held = weights(tmp_path)
    assert not [name for name in held if name.endswith("original")]
    assert len([name for name in held if name.endswith(".a")]) == len(saved["lora"])
    after = model.state_dict()
    assert torch.equal(before["engine.embedding.weight"], after["engine.embedding.weight"])
    moved = [name for name in before if name.startswith("engine.") and not torch.equal(before[name], after[name])]
    assert set(moved) == set(saved["lora"])
    loaded = OFASys.from_pretrained(tmp_path).model
    program = flow.bind(loaded, task.plans[0], task.labels)
    samples = [flow.preprocess(program, row) for row in ROWS]
    mine = flow.generate(model, program, samples, SearchOptions(max_length=6))
    for one, other in zip(mine, flow.generate(loaded, program, samples, SearchOptions(max_length=6)), strict=True):
        same(one[0], other[0])


# --- what a backbone brings ------------------------------------------------------------------------------------------


def test_marks_are_those_of_the_chat_template(tmp_path: Path) -> None:
    """Turns as the template writes them; its end of a turn ends a target."""
    write("qwen2", tmp_path)
    tokenizer = tokenizer_of("qwen2")
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT, "eos_token": "<|im_end|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
    model = GeneralistModel(engine=f"hf:{tmp_path}", config={"chat": True})
    given = tokenizer.encode("<|im_start|>user\n").ids, tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n").ids
    assert list(model.config.before) == given[0]
    assert [*model.config.after, model.foreign.begin] == given[1]
    assert model.foreign.end == tokenizer.token_to_id("<|im_end|>")


def test_a_turn_is_what_the_template_makes_of_it_where_texts_begin_with_a_blank(tmp_path: Path) -> None:
    """As of Llama 2, whose template has the blank already: there is one, not two."""
    write("llama", tmp_path)
    template = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}"
    template += " {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**about, "bos_token": "<s>", "eos_token": "</s>"}))
    model = GeneralistModel(engine=f"hf:{tmp_path}", config={"chat": True})
    task = Task("t", LINE, train=ROWS)
    model.grow([(one, task.labels) for one in task.plans], list)
    program = flow.bind(model, task.plans[0], task.labels)
    sample = flow.preprocess(program, {"q": "the cat sat", "a": "yes"})
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "the cat sat"}, {"role": "assistant", "content": "yes"}]
    wanted = theirs.encode(theirs.apply_chat_template(messages, tokenize=False), add_special_tokens=False)
    (_, features), *_ = sample.source
    source = [*model.config.before, *features.tensors["tokens"].tolist(), *model.config.after]
    assert sample.run.tokens is not None
    ours = [*source, *sample.run.prefix.tolist(), *sample.run.tokens.tolist()]
    space = theirs.convert_tokens_to_ids("▁")  # before its end mark
    assert [one for one in ours if one != space] == [one for one in wanted if one != space]
    assert ours[: len(source)] == wanted[: len(source)]


@pytest.mark.parametrize("bytewise", [True, False])
def test_a_target_goes_on_after_the_end_of_a_line_where_there_is_one(bytewise: bool, tmp_path: Path) -> None:
    """SentencePiece writes it as a byte after a blank, or does not know it: then the mark of the beginning stands."""
    write("llama", tmp_path)
    about = json.loads(tokenizer_of("llama").to_str())
    if bytewise:
        about["model"]["vocab"] += [[f"<0x{number:02X}>", -20.0] for number in range(256)]
        about["model"]["byte_fallback"] = True
        about["decoder"] = json.loads(decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]).__getstate__())
    tokenizer = Tokenizer.from_str(json.dumps(about))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    begin = GeneralistModel(engine=f"hf:{tmp_path}").foreign.begin
    assert tokenizer.id_to_token(begin) == ("<0x0A>" if bytewise else "<s>")


def test_the_rows_of_a_backbone_are_not_copied(folders: dict[str, Path]) -> None:
    """Ours stand in a table of their own, as large as those of the backbone are."""
    model = GeneralistModel(engine=f"hf:{folders['t5']}")
    rows = model.engine.input_rows
    task = Task("t", LINE, train=ROWS)
    model.grow([(plan, task.labels) for plan in task.plans], lambda: [])
    assert model.table.first is rows
    assert len(model.tokens.weight) == model.symbols.vocabulary.size - len(rows)
    assert model.symbols.vocabulary.span("special")[0] == len(rows)
    assert float(model.tokens.weight.std() / rows.std()) == pytest.approx(1.0, abs=0.3)


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(folder: Path, match: str, config: Any = None) -> None:
    with pytest.raises(ConfigError, match=match):
        GeneralistModel(engine=f"hf:{folder}", config=config)


def test_what_does_not_belong_together_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("gpt2", tmp_path)
    GeneralistModel(engine=f"hf:{tmp_path}")
    refused(tmp_path, "no option 'prefiks'; did you mean prefix", {"prefiks": True})
    refused(tmp_path, "prefix is 1; give true or false", {"prefix": 1})
    refused(tmp_path, "has no chat template that can be used", {"chat": True})
    refused(tmp_path / "nothing", "there is no folder")
    whole = json.loads((tmp_path / "config.json").read_text())
    for change, why in (
        ({"model_type": "rwkv"}, "architecture 'rwkv', which is not supported; take one of bart"),
        ({"final_logit_softcapping": 30.0}, "its scores are no products of states and rows"),
        ({"rope_scaling": {"type": "longrope"}}, "rope_type='longrope': where one row of a batch is long all of"),
        ({"rope_parameters": {"full_attention": {"rope_type": "longrope"}}}, "rope_type='longrope'"),
        ({"eos_token_id": None}, "eos_token_id=None; write the id of the mark there"),
        ({"vocab_size": 100}, "and the weights have rows for 100: it is not theirs"),
        ({"n_layer": 3}, "lack transformer.h.2"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(whole | change))
        refused(tmp_path, why)
    (tmp_path / "config.json").write_text(json.dumps(whole))
    (tmp_path / "tokenizer.json").rename(tmp_path / "kept.json")
    refused(tmp_path, "has no tokenizer.json; write it with")
    (tmp_path / "tokenizer.json").write_text("{}")
    refused(tmp_path, r"is not a tokenizer.json \(.*; take a whole copy of the backbone")
    (tmp_path / "kept.json").rename(tmp_path / "tokenizer.json")
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:1000])
    refused(tmp_path, r"the weights of .* cannot be read \(.*; take a whole copy of the backbone")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    refused(tmp_path, "has no model.safetensors; other kinds of weights may hold code")
    index = {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(tmp_path, "lacks model-00001-of-00002.safetensors, a part of its weights")
    for text, why in (("{", "cannot be read"), ("[]", "is no JSON object"), ("{}", "has no weight_map")):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        refused(tmp_path, f"model.safetensors.index.json {why}.*take a whole copy of the backbone")
    (tmp_path / "config.json").unlink()
    refused(tmp_path, "has no config.json; give a folder as save_pretrained of transformers writes it")


def test_a_name_of_the_hub_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"'google/flan-t5-base' is no folder here, and was not got from the Hugging"):
        GeneralistModel(engine="hf:google/flan-t5-base")
    with pytest.raises(ConfigError, match="engine 'transformer' is read from no place"):
        GeneralistModel(engine="transformer:somewhere")
    with pytest.raises(ConfigError, match="brings its tokenizer and vocabulary; leave yours out"):
        GeneralistModel(engine="hf:google/flan-t5-base", tokenizer="tokenizer.json")


def test_what_an_encoder_and_decoder_cannot_do_is_refused(folders: dict[str, Path]) -> None:
    refused(folders["t5"], "an encoder and a decoder, which has no turns; leave chat out", {"chat": True})
    model = GeneralistModel(engine=f"hf:{folders['t5']}")
    task = Task("t", "-> [TEXT:a]", train=ROWS)
    model.grow([(one, task.labels) for one in task.plans], lambda: [])
    with pytest.raises(ConfigError, match="has no source, and engine 'hf' makes no target without one"):
        flow.bind(model, task.plans[0], task.labels)
    for engine in (model, f"hf:{folders['t5']}"):
        with pytest.raises(ConfigError, match="has no source, and engine 'hf' makes no target without one"):
            plan("-> [TEXT:a]", engine=engine)
        assert plan("[TEXT:q] -> [TEXT:a]", engine=engine).engine.place.startswith("hf")
    assert plan("-> [TEXT:a]", engine=f"hf:{folders['qwen3']}").engine is not None
