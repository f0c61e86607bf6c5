"""OFA in the form of Hugging Face (`OFA-Sys/ofa-*`): a folder of config.json, weights, vocab.json and merges.txt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from ofasys.errors import CheckpointError
from ofasys.hub.ofa.container import json_of, read_file
from ofasys.hub.ofa.convert import Original
from ofasys.hub.ofa.words import MARKS, MASK, Dictionary, completed, pairs_in

CODES, BINS = 8192, 1000  # appended to the pieces, where the vocabulary is as much larger
FAR = 1024  # distances of text, whatever the longest one is
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PIECES = ("vocab.json", "merges.txt")

_PICTURE = "embed_images|image_proj|embed_image_positions|image_rel_pos_table_list"
RULES: tuple[tuple[str, str], ...] = (
    (r"^(encoder|decoder)\.embed_tokens\.", r"\1.adaptor.embed_tokens."),
    (r"^(encoder|decoder)\.(layernorm_embedding|embed_positions|token_rel_pos_table_list)\.", r"\1.adaptor.text.\2."),
    (r"^(encoder|decoder)\.pos_ln\.", r"\1.adaptor.text.layernorm_position."),
    (rf"^encoder\.({_PICTURE})\.", r"encoder.adaptor.image_resnet.\1."),
    (r"^encoder\.patch_layernorm_embedding\.", "encoder.adaptor.image_resnet.layernorm_embedding."),
    (r"^encoder\.image_pos_ln\.", "encoder.adaptor.image_resnet.layernorm_position."),
    (r"^decoder\.code_layernorm_embedding\.", "decoder.adaptor.image_vqgan.layernorm_embedding."),
    (r"^decoder\.image_pos_ln\.", "decoder.adaptor.image_vqgan.layernorm_position."),
    (r"^decoder\.embed_image_positions\.", "decoder.adaptor.image_vqgan.embed_code_positions."),
    (r"^decoder\.image_rel_pos_table_list\.", "decoder.adaptor.image_vqgan.code_rel_pos_table_list."),
    (r"^encoder\.pos_(q|k)_linear\.", r"encoder.adaptor.pos_\1_linear."),
    (r"^decoder\.self_pos_(q|k)_linear\.", r"decoder.adaptor.pos_\1_linear."),
    (r"^(encoder\.layers\.\d+)\.self_attn_mid_layer_norm\.", r"\1.attn_ln."),
    (r"^(decoder\.layers\.\d+)\.self_attn_mid_layer_norm\.", r"\1.self_attn_ln."),
    (r"^(decoder\.layers\.\d+)\.cross_attn_mid_layer_norm\.", r"\1.cross_attn_ln."),
    (r"^(decoder\.layers\.\d+)\.cross_attn_layer_norm\.", r"\1.encoder_attn_layer_norm."),
    (r"^(decoder\.layers\.\d+)\.cross_attn\.", r"\1.encoder_attn."),
    (r"^((?:en|de)coder\.layers\.\d+)\.ffn_layer_norm\.", r"\1.ffn_layernorm."),
)
"""Names there -> names in OFASys; the first that fits. What none fits is called alike."""


def is_hugging_face(folder: Path) -> bool:
    """Whether a folder holds OFA in this form."""
    if not (folder / "config.json").is_file():
        return False
    try:
        found = json_of(folder / "config.json")
    except CheckpointError:  # said where the folder is opened as what it is
        return False
    return isinstance(found, dict) and found.get("model_type") == "ofa"


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under their names in OFASys."""
    found: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        if key == "decoder.output_projection.weight":  # the embedding again
            continue
        if key == "encoder.type_embedding.weight":
            for name, row in zip(("text", "image_resnet"), tensor, strict=False):
                found[f"encoder.adaptor.{name}.type_embedding.weight"] = row[None]
            continue
        found[name_of(key)] = tensor
    return found


def name_of(key: str) -> str:
    """The name of one weight in OFASys."""
    for pattern, there in RULES:
        if re.search(pattern, key):
            return re.sub(pattern, there, key)
    return key


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as OFASys writes it. Errors: CheckpointError for what is missing."""

    def side(name: str) -> dict[str, Any]:
        return {
            "embed_dim": wanted("d_model"),
            "ffn_embed_dim": wanted(f"{name}_ffn_dim"),
            "layers": wanted(f"{name}_layers"),
            "attention_heads": wanted(f"{name}_attention_heads"),
            "normalize_before": config.get(f"{name}_normalize_before", config.get("normalize_before", True)),
        }

    def wanted(name: str) -> Any:
        if name not in config:
            raise CheckpointError(f"config.json has no {name!r}; it is not the one of the model")
        return config[name]

    normed, longest = config.get("normformer", True), config.get("max_position_embeddings", 1024)
    scaled, entangled = not config.get("scale_embedding", False), config.get("entangle_position_embedding", False)
    each = {"no_scale_embedding": scaled, "entangle_position_embedding": entangled}
    return {
        "encoder": side("encoder"),
        "decoder": side("decoder"),
        "activation_fn": config.get("activation_function", "gelu"),
        "dropout": config.get("dropout", 0.1),
        "max_source_positions": longest,
        "attn_scale_factor": config.get("attn_scale_factor", 2),
        "scale_attn": normed,
        "scale_fc": normed,
        "scale_heads": True,
        "entangle_position_embedding": entangled,
        "adaptor": {
            "text": {**each, "max_position": FAR},
            "image_resnet": {**each, "resnet_type": config.get("resnet_type", "resnet101")},
            "image_vqgan": each,
        },
    }


def shards_of(index: Path) -> list[str]:
    """The names of the files that an index says weights lie in. Errors: CheckpointError for an index that is none."""
    said = json_of(index)
    listed = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(listed, dict):
        raise CheckpointError(f"{index} has no weight_map; fetch it again")
    return sorted({Path(str(shard)).name for shard in listed.values()})


def weights_in(folder: Path) -> dict[str, Tensor]:
    """All weights. Errors: CheckpointError for none, and for a shard that is not there."""
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if index.is_file():
            found: dict[str, Tensor] = {}
            for shard in shards_of(index):
                if not (folder / shard).is_file():
                    raise CheckpointError(f"{folder} lacks {shard}, which {index.name} names; fetch it too")
                found |= _tensors(folder / shard)
            return found
        if (folder / name).is_file():
            return _tensors(folder / name)
    raise CheckpointError(f"{folder} has no {' or '.join(WEIGHTS)}; fetch the weights too")


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return {key: value for key, value in read_file(path).items() if isinstance(value, Tensor)}
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({error}); fetch it again") from None


def original_of(folder: Path) -> tuple[Original, Tokenizer, int]:
    """The model of a folder, its tokenizer, and how many of its pieces have no id.

    Errors: CheckpointError for what is missing or does not belong.
    """
    config = settings_of(json_of(folder / "config.json"))
    weights = renamed(weights_in(folder))
    table = weights.get("encoder.adaptor.embed_tokens.weight")
    if table is None:
        raise CheckpointError(f"{folder} has no encoder.embed_tokens.weight: it holds a part of a model")
    for name in PIECES:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} has no {name}, so which token is which is not known; fetch it too")
    pieces = json_of(folder / "vocab.json")
    dictionary = _dictionary(pieces, len(table))
    plain = {
        piece: number for piece, number in pieces.items() if piece not in (*MARKS, MASK) and "<text>_" not in piece
    }
    known = {piece: number for piece, number in plain.items() if dictionary.symbols[number].startswith("<text>_")}
    tokenizer, beyond = completed(known, len(dictionary.symbols), pairs_in(folder / "merges.txt"))
    return Original(config, weights, dictionary), tokenizer, beyond


def _dictionary(pieces: Mapping[str, int], size: int) -> Dictionary:
    """Its symbols as OFASys calls them. Errors: CheckpointError for a vocabulary of another size than the weights."""
    order = sorted(pieces, key=lambda piece: pieces[piece])
    more = size - len(order)
    if [pieces[piece] for piece in order] != list(range(len(order))) or more not in (0, CODES + BINS):
        raise CheckpointError(
            f"vocab.json has {len(order)} pieces and the model {size} tokens, which may be as many or {CODES + BINS} "
            "more; give the vocab.json that goes with it"
        )
    rename = {
        f"<{kind}_{i}>": f"<{kind}>_{i}" for kind, count in (("code", CODES), ("bin", BINS)) for i in range(count)
    }
    symbols = [piece if piece in (*MARKS, MASK) else rename.get(piece, f"<text>_{piece}") for piece in order]
    if more:
        symbols += [f"<code>_{i}" for i in range(CODES)] + [f"<bin>_{i}" for i in range(BINS)]
    return Dictionary(tuple(symbols))
