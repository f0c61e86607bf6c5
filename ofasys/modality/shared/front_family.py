"""The families of pretrained encoders that may stand before the model, as records. No torch here.

What the library's configurations have where a file leaves it out is said again, so that a plan is made without the
library (transformers 5.23.0; a test compares both).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from ofasys.modality.modality import Options

_MODELS = "transformers.models."


@dataclass(frozen=True, kw_only=True)
class Processor:
    """What makes an encoder's input, numpy or Pillow alone."""

    load: str
    """ "module:class" of the library."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What the library has where a file says nothing, as far as it is read here."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of encoder."""

    about: str
    """Its name, for people."""
    takes: str
    """ "pictures" or "sound"."""
    encoder: str
    """ "module:class" of the library."""
    shape: str
    """ "module:class" of its configuration."""
    processor: str
    """The name of its processor, where a folder names none."""
    numbers: Callable[[Options], int]
    """Its configuration -> how many numbers it has."""
    block: Callable[[Options], int]
    """The same -> how many of them a position is multiplied with."""
    width: str = "hidden_size"
    """The field of its configuration that is the width of its states."""
    defaults: Mapping[str, Any]
    """Fields of its configuration that are read here, as the library has them."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are set, whatever the file says."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Patterns of names of weights in files -> what they become."""
    marks: Callable[[Options], int] = lambda shape: 0
    """Its configuration -> states that stand before those of the patches."""
    stretches: bool = False
    """It has to be told to stretch its positions to pictures of another size."""


def _layer(width: int, inside: int) -> int:
    """Numbers of a layer: attention and two products with biases, and two norms."""
    return 4 * width * (width + 1) + 2 * width * inside + width + inside + 4 * width


def _patches(shape: Options) -> int:
    return int((shape["image_size"] // shape["patch_size"]) ** 2)


def _siglip(shape: Options) -> int:
    width = shape["hidden_size"]
    first = 3 * shape["patch_size"] ** 2 * width + width + _patches(shape) * width
    return int(first + _vision_block(shape) + 2 * width)


def _clip(shape: Options) -> int:
    width = shape["hidden_size"]
    first = 3 * shape["patch_size"] ** 2 * width + width + (_patches(shape) + 1) * width
    return int(first + _vision_block(shape) + 4 * width)


def _vision_block(shape: Options) -> int:
    return int(shape["num_hidden_layers"] * _layer(shape["hidden_size"], shape["intermediate_size"]))


def _dinov2(shape: Options) -> int:
    width = shape["hidden_size"]
    marks = 2 + shape.get("num_register_tokens", 0)
    first = 3 * shape["patch_size"] ** 2 * width + width + (_patches(shape) + 1) * width + marks * width
    return int(first + _dinov2_block(shape) + 2 * width)


def _dinov2_block(shape: Options) -> int:
    width = shape["hidden_size"]
    inside = int(width * shape["mlp_ratio"])
    products = 2 * width * inside + width + inside
    if shape["use_swiglu_ffn"]:
        inside = (int(inside * 2 / 3) + 7) // 8 * 8
        products = 3 * width * inside + width + 2 * inside
    attention = 4 * width * width + (4 if shape["qkv_bias"] else 1) * width
    return int(shape["num_hidden_layers"] * (attention + products + 6 * width))


def _whisper(shape: Options) -> int:
    width = shape["d_model"]
    first = 3 * shape["num_mel_bins"] * width + 3 * width * width + 2 * width
    return int(first + shape["max_source_positions"] * width + _whisper_block(shape) + 2 * width)


def _whisper_block(shape: Options) -> int:
    width = shape["d_model"]
    return int(shape["encoder_layers"] * (_layer(width, shape["encoder_ffn_dim"]) - width))


def _wav2vec2(shape: Options) -> int:
    width, sizes = shape["hidden_size"], [1, *shape["conv_dim"]]
    listened = sum(k * a * b for k, a, b in zip(shape["conv_kernel"], sizes, sizes[1:], strict=False))
    listened += sum(sizes[1:]) if shape["conv_bias"] else 0
    listened += 2 * (sizes[1] if shape["feat_extract_norm"] == "group" else sum(sizes[1:]))
    kernel = shape["num_conv_pos_embeddings"]
    scaled = 2 * width if shape.get("conv_pos_batch_norm") else kernel
    places = scaled + width * (width // shape["num_conv_pos_embedding_groups"]) * kernel + width
    into = 2 * sizes[-1] * shape.get("feat_proj_layer_norm", True) + sizes[-1] * width + width
    return int(listened + into + places + _vision_block(shape) + 2 * width)


_VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "image_size": 224}
_DINO = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "mlp_ratio": 4,
    "image_size": 224,
    "patch_size": 14,
    "use_swiglu_ffn": False,
    "qkv_bias": True,
}
SIGLIP = Family(
    about="SigLIP",
    takes="pictures",
    encoder=f"{_MODELS}siglip.modeling_siglip:SiglipVisionModel",
    shape=f"{_MODELS}siglip.configuration_siglip:SiglipVisionConfig",
    processor="SiglipImageProcessor",
    numbers=_siglip,
    block=_vision_block,
    defaults={**_VISION, "patch_size": 16},
    fixed={"vision_use_head": False},  # what pools its states is not used
    stretches=True,
)
CLIP = Family(
    about="CLIP",
    takes="pictures",
    encoder=f"{_MODELS}clip.modeling_clip:CLIPVisionModel",
    shape=f"{_MODELS}clip.configuration_clip:CLIPVisionConfig",
    processor="CLIPImageProcessor",
    numbers=_clip,
    block=_vision_block,
    defaults={**_VISION, "patch_size": 32},
    marks=lambda shape: 1,
    stretches=True,
)
DINOV2 = Family(
    about="DINOv2",
    takes="pictures",
    encoder=f"{_MODELS}dinov2.modeling_dinov2:Dinov2Model",
    shape=f"{_MODELS}dinov2.configuration_dinov2:Dinov2Config",
    processor="BitImageProcessor",
    numbers=_dinov2,
    block=_dinov2_block,
    defaults=_DINO,
    marks=lambda shape: 1,
)
DINOV2_REGISTERS = Family(
    about="DINOv2 with registers",
    takes="pictures",
    encoder=f"{_MODELS}dinov2_with_registers.modeling_dinov2_with_registers:Dinov2WithRegistersModel",
    shape=f"{_MODELS}dinov2_with_registers.configuration_dinov2_with_registers:Dinov2WithRegistersConfig",
    processor="BitImageProcessor",
    numbers=_dinov2,
    block=_dinov2_block,
    defaults={**_DINO, "patch_size": 16, "num_register_tokens": 4},
    marks=lambda shape: 1 + int(shape["num_register_tokens"]),
)
WHISPER = Family(
    about="Whisper",
    takes="sound",
    encoder=f"{_MODELS}whisper.modeling_whisper:WhisperEncoder",
    shape=f"{_MODELS}whisper.configuration_whisper:WhisperConfig",
    processor="WhisperFeatureExtractor",
    numbers=_whisper,
    block=_whisper_block,
    width="d_model",
    defaults={
        "d_model": 384,
        "encoder_layers": 4,
        "encoder_ffn_dim": 1536,
        "num_mel_bins": 80,
        "max_source_positions": 1500,
    },
    renamed={r"^(model\.)?encoder\.": ""},
)
_HEARD = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "conv_dim": (512,) * 7,
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_bias": False,
    "feat_extract_norm": "group",
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
WAV2VEC2 = Family(
    about="Wav2Vec2",
    takes="sound",
    encoder=f"{_MODELS}wav2vec2.modeling_wav2vec2:Wav2Vec2Model",
    shape=f"{_MODELS}wav2vec2.configuration_wav2vec2:Wav2Vec2Config",
    processor="Wav2Vec2FeatureExtractor",
    numbers=_wav2vec2,
    block=_vision_block,
    defaults={**_HEARD, "add_adapter": False},
    fixed={"mask_time_prob": 0.0, "mask_feature_prob": 0.0},  # it hides nothing of itself
)
HUBERT = replace(
    WAV2VEC2,
    about="HuBERT",
    encoder=f"{_MODELS}hubert.modeling_hubert:HubertModel",
    shape=f"{_MODELS}hubert.configuration_hubert:HubertConfig",
    defaults={**_HEARD, "conv_pos_batch_norm": False, "feat_proj_layer_norm": True},
)
FAMILIES: Mapping[str, Family] = {
    "clip": CLIP,
    "clip_vision_model": CLIP,
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2_REGISTERS,
    "hubert": HUBERT,
    "siglip": SIGLIP,
    "siglip_vision_model": SIGLIP,
    "wav2vec2": WAV2VEC2,
    "whisper": WHISPER,
}
"""The library's name of an architecture -> its family."""

_CUT = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}
PROCESSORS: Mapping[str, Processor] = {
    "BitImageProcessor": Processor(load=f"{_MODELS}bit.image_processing_pil_bit:BitImageProcessorPil", defaults=_CUT),
    "CLIPImageProcessor": Processor(
        load=f"{_MODELS}clip.image_processing_pil_clip:CLIPImageProcessorPil", defaults=_CUT
    ),
    "SiglipImageProcessor": Processor(
        load=f"{_MODELS}siglip.image_processing_pil_siglip:SiglipImageProcessorPil",
        defaults={"size": {"height": 224, "width": 224}},
    ),
    "ViTImageProcessor": Processor(
        load=f"{_MODELS}vit.image_processing_pil_vit:ViTImageProcessorPil",
        defaults={"size": {"height": 224, "width": 224}},
    ),
    "Wav2Vec2FeatureExtractor": Processor(
        load=f"{_MODELS}wav2vec2.feature_extraction_wav2vec2:Wav2Vec2FeatureExtractor",
        defaults={"sampling_rate": 16000},
    ),
    "WhisperFeatureExtractor": Processor(
        load=f"{_MODELS}whisper.feature_extraction_whisper:WhisperFeatureExtractor",
        defaults={"sampling_rate": 16000, "feature_size": 80, "hop_length": 160, "chunk_length": 30},
    ),
}
"""The processors that a folder may name: of these the library has one that needs no torchvision."""


def samples_a_position(shape: Options) -> int:
    """Of an encoder of samples, from position to position."""
    return prod(shape["conv_stride"])
