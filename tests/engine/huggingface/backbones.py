"""Tiny backbones with random weights, written as the library writes them: config, safetensors, tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SIZE = 400  # ids of each
WIDE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
HEADS = {"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 512}
BART = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 256,
    "scale_embedding": True,
    "dropout": 0.0,
}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 512}
GPT2 |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
SLIDES = ["sliding_attention", "full_attention"]
GEMMA3 = {"sliding_window": 4, "layer_types": SLIDES, "query_pre_attn_scalar": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "t5": T5,
    "mt5": T5,
    "bart": BART,
    "mbart": BART,
    "pegasus": BART,
    "bert": WIDE | {"max_position_embeddings": 256, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "gpt2": GPT2,
    "llama": WIDE | HEADS,
    "qwen2": WIDE | HEADS,
    "qwen3": WIDE | HEADS,
    "mistral": WIDE | HEADS | {"sliding_window": 6},
    "olmo2": WIDE | HEADS,
    "olmo3": WIDE | HEADS | {"sliding_window": 5, "layer_types": SLIDES},
    "phi3": WIDE | HEADS | {"sliding_window": 7, "partial_rotary_factor": 0.5},
    "smollm3": WIDE
    | HEADS
    | {"use_sliding_window": True, "sliding_window": 4, "layer_types": SLIDES}
    | {"no_rope_layers": [1, 0]},
    "gemma": WIDE | HEADS,
    "gemma3_text": WIDE | HEADS | GEMMA3,
}
PIECES = ("t5", "mt5", "pegasus", "gemma", "gemma3_text", "llama", "mistral", "mbart", "phi3")  # SentencePiece
MARKS: dict[str, list[str]] = {
    "t5": ["<pad>", "</s>", "<unk>"],
    "bart": ["<s>", "<pad>", "</s>", "<unk>"],
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "gpt2": ["<|endoftext|>"],
    "qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama": ["<unk>", "<s>", "</s>"],
    "gemma": ["<pad>", "<eos>", "<bos>", "<unk>"],
}
KIN = {"mt5": "t5", "pegasus": "t5", "mbart": "bart", "qwen2": "qwen", "qwen3": "qwen", "mistral": "llama"}
KIN |= {"gemma3_text": "gemma", "phi3": "llama", "olmo2": "gpt2", "olmo3": "gpt2", "smollm3": "qwen"}
TEXTS = ["what is a and b?", "yes", "no", "maybe", "the cat sat on the mat", "x and y", "red green blue", "1 2 3 4"] * 4
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_of(family: str) -> Tokenizer:
    """Pieces with a blank before words, within words, or of bytes; marks around them as the family has them."""
    marks = MARKS[KIN.get(family, family)]
    special = [AddedToken(one, special=True) for one in marks]
    if family == "bert":
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        letters = [chr(code) for code in range(33, 127)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=special, initial_alphabet=letters, show_progress=False
        )
    elif family in PIECES:
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        letters = [chr(code) for code in range(32, 127)]
        trainer = trainers.UnigramTrainer(
            vocab_size=200,
            special_tokens=special,
            unk_token="<unk>",
            initial_alphabet=letters,
            show_progress=False,
        )
    else:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=special if family == "bart" else [],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
    made.train_from_iterator(TEXTS, trainer)
    made.add_special_tokens(special)
    wrap = {"t5": "$A </s>", "bart": "<s> $A </s>", "llama": "<s> $A", "gemma": "<bos> $A"}
    wrap = (wrap | {"bert": "[CLS] $A [SEP]"}).get(KIN.get(family, family))
    if wrap is not None:
        used = [(one, made.token_to_id(one)) for one in marks if one in wrap]
        made.post_processor = processors.TemplateProcessing(single=wrap, special_tokens=used)
    return made


def shape_of(family: str, **changes: Any) -> Any:
    """The library's configuration of a tiny one."""
    tokenizer = tokenizer_of(family)
    names = {"eos_token_id": ("</s>", "<eos>", "<|im_end|>", "<|endoftext|>"), "bos_token_id": ("<s>", "<bos>")}
    ids: dict[str, Any] = {
        key: next((tokenizer.token_to_id(one) for one in own if tokenizer.token_to_id(one) is not None), None)
        for key, own in names.items()
    }
    ids["pad_token_id"] = next((i for one in ("<pad>",) if (i := tokenizer.token_to_id(one)) is not None), 0)
    if family in ("t5", "mt5", "pegasus"):
        ids["decoder_start_token_id"] = 0
    if family in ("bart", "mbart"):
        ids |= {"decoder_start_token_id": 2, "forced_bos_token_id": 0 if family == "bart" else None}
    made = transformers.AutoConfig.for_model(family, vocab_size=SIZE, **SHAPES[family], **ids)
    for name, value in changes.items():
        setattr(made, name, value)  # T5 changes what it is constructed with
    return made


def library_model(family: str, seed: int = 0, **changes: Any) -> Any:
    """The library's model, in evaluation mode, its weights large enough to tell answers apart."""
    torch.manual_seed(seed)
    shape = shape_of(family, **changes)
    kind = "AutoModelForSeq2SeqLM" if shape.is_encoder_decoder else "AutoModelForCausalLM"
    kind = "AutoModel" if family == "bert" else kind
    model = getattr(transformers, kind).from_config(shape, attn_implementation="eager", dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name and weight.dim() > 1 and "embed_positions" not in name:
                weight.normal_(0.0, 0.35)
    return model.eval()


def write(family: str, folder: Path, seed: int = 0, **changes: Any) -> Any:
    """A folder of a tiny one -> the library's model."""
    model = library_model(family, seed, **changes)
    model.save_pretrained(folder)
    tokenizer_of(family).save(str(folder / "tokenizer.json"))
    return model
