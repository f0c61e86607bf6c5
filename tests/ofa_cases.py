"""What the original OFASys computed, folder by folder: weights, configuration, inputs and the numbers that came out.

Folders are those below the path in OFASYS_FIXTURES, or beside the checkout in shared/fixtures, and a small one here.
"""

import gzip
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, load_file, save_file
from tokenizers import Tokenizer, models

from ofasys.hub.ofa.container import original_in
from ofasys.hub.ofa.convert import Original, converted
from ofasys.hub.ofa.words import Dictionary

OWN = Path(__file__).parent / "parity" / "ofa"
OUTSIDE = Path(os.environ.get("OFASYS_FIXTURES") or Path(__file__).parents[2] / "shared" / "fixtures")
CHECKPOINT = OWN / "checkpoint" / "multitask.pt"
NAMES = json.loads((OWN / "hugging_face_names.json").read_text())
PAD = 1


@dataclass(frozen=True)
class Case:
    """One set of inputs and what a model made of it. name: of `<name>.safetensors` beside its model."""

    folder: Path
    name: str

    @property
    def about(self):
        """Its JSON: slots, generations, losses."""
        alone = self.folder / f"{self.name}.json"
        if alone.is_file():
            return json.loads(alone.read_text())
        return json.loads((self.folder / "cases.json").read_text())[self.name]

    @property
    def tensors(self):
        """Inputs and outputs, by name."""
        return load_file(self.folder / f"{self.name}.safetensors")

    def __str__(self):
        return "-".join([*self.folder.parts[-2:], self.name])


def weights_of(folder):
    """The weights of a folder's model, in float32; None where it has none."""
    if (folder / "weights.safetensors").is_file():
        return load_file(folder / "weights.safetensors")
    if (folder / "weights.safetensors.gz").is_file():
        return load(gzip.decompress((folder / "weights.safetensors.gz").read_bytes()))
    return None


def checkpoint_in(folder):
    """A checkpoint that the original wrote; None where there is none."""
    files = sorted(folder.glob("*.pt"), key=lambda path: (path.name != "checkpoint_last.pt", path.name))
    return files[0] if files else None


def cases_in(folder):
    """The cases of a folder that has a model."""
    found = [Case(folder, "case")] if (folder / "case.safetensors").is_file() else []
    if (folder / "cases.json").is_file():
        names = json.loads((folder / "cases.json").read_text())
        found += [Case(folder, name) for name in names if (folder / f"{name}.safetensors").is_file()]
    return found


def cases_below(root):
    """Every case of the folders below a root that have a model."""
    folders = sorted({path.parent for name in ("case.safetensors", "cases.json") for path in root.rglob(name)})
    return [case for folder in folders if has_weights(folder) for case in cases_in(folder)]


def has_weights(folder):
    """Whether a folder has weights."""
    names = ("weights.safetensors", "weights.safetensors.gz")
    return checkpoint_in(folder) is not None or any((folder / name).is_file() for name in names)


def original_of(folder):
    """A folder's model as the original has it."""
    if (path := checkpoint_in(folder)) is not None:
        return original_in(path)[0]
    config = json.loads((folder / "config.json").read_text())
    front = (config.get("model", config).get("adaptor") or {}).get("image_vit")
    if front is not None and (heads := heads_said(folder)) is not None:
        front["vit_heads"] = heads
    symbols = json.loads((folder / "dictionary.json").read_text())["symbols"]
    return Original(config.get("model", config), weights_of(folder), Dictionary(tuple(symbols)))


def heads_said(folder):
    """How many heads the vision transformer of a folder has, where one of its files says so; weights do not."""
    for path in sorted(folder.glob("*.json")):
        if (found := _heads_in(json.loads(path.read_text()), "vit" in str(path.stem).lower())) is not None:
            return found
    return None


def _heads_in(value, of_vit):
    if isinstance(value, list):
        return next((found for one in value if (found := _heads_in(one, of_vit)) is not None), None)
    for key, one in value.items() if isinstance(value, dict) else ():
        if of_vit and key.lower().endswith(("heads", "head")) and key != "num_attention_heads" and type(one) is int:
            return one
        if (found := _heads_in(one, of_vit or "vit" in key.lower())) is not None:
            return found
    return None


def plain_tokenizer(dictionary):
    """A tokenizer whose pieces are the dictionary's symbols of text: numbers are ids."""
    pieces = {symbol: number for number, symbol in enumerate(dictionary.symbols) if symbol.startswith("<text>")}
    return Tokenizer(models.BPE(vocab=pieces, merges=[]))


_MODELS = {}


def model_of(folder):
    """A folder's model as ours; made once."""
    if folder not in _MODELS:
        _MODELS.clear()  # one at a time
        original = original_of(folder)
        _MODELS[folder] = converted(original, plain_tokenizer(original.dictionary))
    return _MODELS[folder].model


def close(got, want, what):
    """Errors: AssertionError where numbers differ by more than 1e-4."""
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4, msg=lambda text: f"{what}: {text}")


def hugging_face(folder, shards=1):
    """The checkpoint as Hugging Face has it, in so many files."""
    folder.mkdir()
    original, _ = original_in(CHECKPOINT)
    weights = {
        theirs: original.weights[ours].clone()
        for ours, theirs in NAMES.items()
        if isinstance(theirs, str) and ours in original.weights
    }
    weights["encoder.type_embedding.weight"] = original.weights["encoder.adaptor.text.type_embedding.weight"].clone()
    del weights["decoder.embed_tokens.weight"]
    names = sorted(weights)
    if shards == 1:
        save_file(weights, folder / "model.safetensors")
    else:
        where = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(names)}
        for shard in set(where.values()):
            save_file({name: weights[name] for name in names if where[name] == shard}, folder / shard)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    config = {"model_type": "ofa", "d_model": 32, "resnet_type": "resnet50", "max_position_embeddings": 32}
    for side in ("encoder", "decoder"):
        config |= {f"{side}_layers": 2, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 64}
    (folder / "config.json").write_text(json.dumps(config))
    pieces = {number: piece for piece, number in json.loads((CHECKPOINT.parent / "encoder.json").read_text()).items()}
    vocab = {}
    for number, symbol in enumerate(original.dictionary.symbols):
        name = symbol.removeprefix("<text>_")
        vocab[pieces[int(name)] if name.isdecimal() else name] = number
    (folder / "vocab.json").write_text(json.dumps(vocab))
    shutil.copy(CHECKPOINT.parent / "vocab.bpe", folder / "merges.txt")
    return folder


def checkpoints(folder):
    """The checkpoint in both forms, in a folder."""
    for name in (CHECKPOINT.name, "encoder.json", "vocab.bpe"):
        shutil.copy(CHECKPOINT.parent / name, folder)
    hugging_face(folder / "OFA-tiny")
