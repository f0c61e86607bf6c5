"""What the original OFASys computed, folder by folder: weights, configuration, inputs and the numbers that came out.

Folders are those below the path in OFASYS_FIXTURES, or beside the checkout in shared/fixtures, and a small one here.
"""

import gzip
import json
import os
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, load_file, save_file
from tokenizers import Tokenizer, models

from ofasys.hub.ofa.container import original_in, read_file
from ofasys.hub.ofa.convert import Original, converted
from ofasys.hub.ofa.words import Dictionary
from ofasys.modality.audio.ofa_conv import OFAConvAdaptor
from ofasys.modality.shared.ofa_resnet import ResNet

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


ASKED = {
    "caption": "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    "vqa": "[IMAGE:img] [TEXT:question] -> [TEXT:answer,closed_set]",
    "refcoco": '[IMAGE:img] which region does the text " [TEXT:what] " describe? -> [BOX:region]',
    "gigaword": "please summarize: [TEXT:src] -> [TEXT:tgt]",
    "asr": "[AUDIO:wav] what is the text? -> [TEXT:text]",
    "video_caption": "[VIDEO:clip] what does the video describe? -> [TEXT:cap]",
}
"""The tasks of the checkpoint that sees and hears: name -> line."""
SEEN = 96  # pixels of a side of its pictures and of its frames, of which there are two


def generalist(folder):
    """A checkpoint as OFASys writes it, with random weights, that reads texts, pictures, sound, clips and boxes."""
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copy(CHECKPOINT.parent / name, folder)
    random = torch.Generator().manual_seed(0)
    old = read_file(CHECKPOINT)
    config, tasks = old["configstore"]["model"]["unify"], old["configstore"]["task"]
    weights = {name: weight for name, weight in old["model"].items() if not name.endswith("_rp_bucket")}
    indices = {**old["global_dict_indices"]}
    indices |= {f"<bin>_{i}": len(indices) + i for i in range(1000)}
    D, H = config["encoder"]["embed_dim"], config["encoder"]["attention_heads"]

    def drawn(*shape, scale=0.1):
        return torch.randn(shape, generator=random) * scale

    table = torch.cat([weights["encoder.adaptor.embed_tokens.weight"], drawn(1000, D)])
    for side in ("encoder", "decoder"):
        weights[f"{side}.adaptor.embed_tokens.weight"] = table
        weights[f"{side}.adaptor.text.embed_positions.weight"] = drawn(130, D)
    config |= {"max_source_positions": 128, "extra_models": None}
    config["adaptor"]["text"]["max_position"] = 128
    config["adaptor"]["image_resnet"]["resnet_type"] = "resnet50"
    for kind, places, distances, tables in (
        ("image_resnet", ("image", 42**2 + 1), ("image", 83**2 + 3), ResNet(50, 1e-5).state_dict()),
        ("audio_fbank", ("audio", 1024), ("audio", 2047), {}),
        ("video_image_sequence", ("frame", 1025), ("video", 511), {}),
    ):
        at = f"encoder.adaptor.{kind}"
        weights[f"{at}.embed_{places[0]}_positions.weight"] = drawn(places[1], D)
        for layer in range(2):
            weights[f"{at}.{distances[0]}_rel_pos_table_list.{layer}.weight"] = drawn(distances[1], H)
        for norm in ("layernorm_embedding", "layernorm_position"):
            weights |= {f"{at}.{norm}.weight": 1 + drawn(D), f"{at}.{norm}.bias": drawn(D)}
        weights[f"{at}.type_embedding.weight"] = drawn(1, D)
        for name, tensor in tables.items():
            weights[f"{at}.embed_images.{name}"] = drawn(*tensor.shape) if tensor.dim() > 1 else tensor
    at = "encoder.adaptor.image_resnet.image_proj"
    weights |= {f"{at}.weight": drawn(D, 1024, scale=0.01), f"{at}.bias": drawn(D)}
    for name, tensor in OFAConvAdaptor({"mels": 80}, D).state_dict().items():
        weights[f"encoder.adaptor.audio_fbank.{name}"] = drawn(*tensor.shape)
    read = tasks["gigaword"]["preprocess"]
    for part in ("image", "box"):
        read[part] |= {"patch_image_size": SEEN}
    read["box"]["max_image_size"] = SEEN
    read["video"] |= {"num_frames": 2, "test_crop_size": SEEN, "train_jitter_scales_min": SEEN}
    for name, line in ASKED.items():
        tasks[name] = {"instruction": {"template": line}, "preprocess": read}
    del tasks["text_infilling"]
    store = {"model": {"unify": config}, "task": tasks}
    found = {"configstore": store, "model": OrderedDict(weights), "global_dict_indices": indices}
    torch.save(found, folder / "generalist.pt")
