"""Tiny fronts with random weights, written as the library writes them: config, safetensors, processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURE = {"image_size": 32, "patch_size": 8}
TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
TEXT |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WHISPER = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "vocab_size": 60,
    "num_mel_bins": 16,
    "max_source_positions": 50,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 1,
    "decoder_start_token_id": 4,
    "begin_suppress_tokens": None,
}
WAV2VEC2 = {**VISION, "conv_dim": (8,) * 7, "vocab_size": 30}
WAV2VEC2 |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
PICTURES = ("siglip", "clip", "dinov2", "dinov2_with_registers")
SOUNDS = ("whisper", "wav2vec2", "wav2vec2_layer", "hubert", "hubert_layer", "hubert_batch")


def model_of(name: str, whole: bool, seed: int = 0, **changes: Any) -> Any:
    """The library's model. whole: with what stands beside the encoder in a checkpoint, as a decoder or a head."""
    import transformers as t

    vision, wav = {**VISION, **PICTURE, **changes}, {**WAV2VEC2, **changes}
    if name in ("wav2vec2_layer", "hubert_layer"):
        wav |= {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
    if name == "hubert_batch":
        wav |= {"conv_pos_batch_norm": True, "feat_proj_layer_norm": False}
    made = {
        "siglip": lambda: (
            t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=vision))
            if whole
            else t.SiglipVisionModel(t.SiglipVisionConfig(**vision))
        ),
        "clip": lambda: (
            t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config=vision))
            if whole
            else t.CLIPVisionModel(t.CLIPVisionConfig(**vision))
        ),
        "dinov2": lambda: (t.Dinov2ForImageClassification if whole else t.Dinov2Model)(t.Dinov2Config(**vision)),
        "dinov2_with_registers": lambda: t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**vision)),
        "whisper": lambda: (t.WhisperForConditionalGeneration if whole else t.WhisperModel)(
            t.WhisperConfig(**{**WHISPER, **changes})
        ),
        "wav2vec2": lambda: (t.Wav2Vec2ForCTC if whole else t.Wav2Vec2Model)(t.Wav2Vec2Config(**wav)),
        "hubert": lambda: (t.HubertForCTC if whole else t.HubertModel)(t.HubertConfig(**wav)),
    }
    torch.manual_seed(seed)
    model = made[name.removesuffix("_layer").removesuffix("_batch")]()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "norm" not in key and weight.dim() > 1:
                weight.normal_(0.0, 0.2)
    return model.eval()


def processor_of(name: str, **changes: Any) -> Any:
    """The library's processor, that needs no torchvision."""
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    square = {"height": 32, "width": 32}
    if name == "siglip":
        return SiglipImageProcessorPil(**{"size": square, **changes})
    if name == "clip":
        return CLIPImageProcessorPil(**{"size": {"shortest_edge": 32}, "crop_size": square, **changes})
    if name.startswith("dinov2"):
        return BitImageProcessorPil(**{"size": {"shortest_edge": 36}, "crop_size": square, **changes})
    if name == "whisper":
        return WhisperFeatureExtractor(**{"feature_size": 16, "chunk_length": 1, **changes})
    return Wav2Vec2FeatureExtractor(**changes)


def write(name: str, folder: Path, whole: bool = False, processing: Any = None, **changes: Any) -> tuple[Any, Any]:
    """A folder of one -> (the library's encoder, its processor)."""
    model, processor = model_of(name, whole, **changes), processor_of(name, **(processing or {}))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    inner = ("vision_model", "dinov2", "wav2vec2", "hubert") if whole else ()
    if name == "whisper":
        return model.get_encoder(), processor
    return next((getattr(model, one) for one in inner if hasattr(model, one)), model), processor
