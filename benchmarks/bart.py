"""The peer and us with the same weights: a random Hugging Face BART, and the universal model holding a copy of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ofasys.generator.vocabulary import OutputRows
from ofasys.model import ModelConfig, UniversalModel
from ofasys.program.steps import Opening, StepDecoder
from ofasys.types import Layout, Stream

VOCABULARY, BOS, PAD, EOS = 50_265, 0, 1, 2


def peer(width: int = 256, layers: int = 4, heads: int = 4, ffn: int = 1024, init: float = 0.1) -> Any:
    """A BART for generation that starts from BOS and never says PAD or BOS."""
    import transformers

    config = transformers.BartConfig(
        vocab_size=VOCABULARY,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=ffn,
        decoder_ffn_dim=ffn,
        init_std=init,
        forced_eos_token_id=None,
        decoder_start_token_id=BOS,
    )
    model = transformers.BartForConditionalGeneration(config).eval()
    model.final_logits_bias[0, [BOS, PAD]] = -1e4  # a term it adds anyway: costs it nothing
    return model


def words() -> list[str]:
    """A name for each token."""
    return ["<s>", "<pad>", "</s>", "<unk>", *(f"t{token}" for token in range(4, VOCABULARY))]


def converted(theirs: Any, folder: str) -> None:
    """The same model for CTranslate2, in folders `float32` and `int8`."""
    from ctranslate2.converters import TransformersConverter
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    where = Path(folder) / "transformers"
    theirs.save_pretrained(where)
    config = where / "config.json"
    # what the converter reads, and transformers no longer writes
    about = json.loads(config.read_text()) | {"normalize_before": False, "normalize_embedding": True}
    config.write_text(json.dumps(about))
    names = {name: token for token, name in enumerate(words())}
    tokenizer = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(where)
    for kind in ("float32", "int8"):
        quantization = None if kind == "float32" else kind
        TransformersConverter(str(where)).convert(f"{folder}/{kind}", quantization=quantization)


def copy(theirs: Any) -> UniversalModel:
    """The universal model with the weights of a BART."""
    config = theirs.config
    ours = UniversalModel(
        ModelConfig(
            width=config.d_model,
            heads=config.decoder_attention_heads,
            ffn=config.decoder_ffn_dim,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            max_positions=config.max_position_embeddings,
            norm="post",
            attention_norm=False,
            ffn_norm=False,
            head_scale=False,
            final_norm=False,
        )
    ).eval()
    with torch.no_grad():
        _side(ours.encoder, theirs.model.encoder)
        _side(ours.decoder, theirs.model.decoder)
    return ours


def _load(target: nn.Module, *parts: nn.Module) -> None:
    for name in ("weight", "bias"):
        getattr(target, name).copy_(torch.cat([getattr(part, name) for part in parts]))


def _side(ours: Any, theirs: Any) -> None:
    ours.positions.order.weight.copy_(theirs.embed_positions.weight[2:])  # BART's positions begin at 2
    _load(ours.embed_norm, theirs.layernorm_embedding)
    for block, layer in zip(ours.blocks, theirs.layers, strict=True):
        other = layer.self_attn
        _load(block.self_attention.qkv, other.q_proj, other.k_proj, other.v_proj)
        _load(block.self_attention.out.project, other.out_proj)
        _load(block.self_norm, layer.self_attn_layer_norm)
        if hasattr(layer, "encoder_attn"):
            other = layer.encoder_attn
            _load(block.cross_attention.query, other.q_proj)
            _load(block.cross_attention.kv, other.k_proj, other.v_proj)
            _load(block.cross_attention.out.project, other.out_proj)
            _load(block.cross_norm, layer.encoder_attn_layer_norm)
        _load(block.ffn.up, layer.fc1)
        _load(block.ffn.down, layer.fc2)
        _load(block.ffn_norm, layer.final_layer_norm)


def layout(batch: int, length: int) -> Layout:
    """A rectangle without padding."""
    order = torch.arange(length).repeat(batch)
    positions = torch.stack([order, torch.full_like(order, -1), torch.full_like(order, -1)], 1)
    return Layout(batch, length, torch.arange(batch * length), positions, torch.full((batch,), length), True)


class Joined(StepDecoder):
    """Model, embedding, the same laid out, and sources (B, S) as the search wants them. Encodes when made."""

    def __init__(self, model: UniversalModel, table: Tensor, output: OutputRows | None, source: Tensor) -> None:
        with torch.inference_mode():
            memory = model.encode(Stream(table[source.flatten()], layout(*source.shape)), model.reduced)
        super().__init__(Opening(model, None, memory, len(source)), table, output=output)
