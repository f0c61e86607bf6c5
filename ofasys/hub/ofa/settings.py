"""The configuration of an OFASys model as the shape of ours; what it cannot take is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ofasys.engine.ofa.config import Kind, OFAConfig
from ofasys.errors import CheckpointError
from ofasys.hub.ofa.names import KIND_OF
from ofasys.modality.shared.ofa_resnet_part import BLOCKS, STRIDE

Values = Mapping[str, Any]

_ARCHITECTURES = {
    "tiny": (256, 4, 4, 4, "resnet50"),
    "medium": (512, 4, 4, 8, "resnet101"),
    "base": (768, 6, 6, 12, "resnet101"),
    "large": (1024, 12, 12, 16, "resnet152"),
    "huge": (1280, 24, 12, 16, "resnet152"),
    "asr_small": (256, 12, 6, 4, "resnet50"),
    "asr_base": (768, 12, 6, 12, "resnet101"),
    "6b": (2560, 36, 24, 32, "resnet152"),
    "8b": (2560, 48, 36, 32, "resnet152"),
    "10b": (2816, 48, 36, 32, "resnet152"),
}
"""Name of an architecture -> width, layers of both sides, heads, residual network: these win over the configuration."""

FRAMES_FAR = 1024  # of a video, whatever the configuration says
WAVE_FAR = 4096  # of sound, likewise
SIDE = 480  # pixels of a picture's side, as the original resized them

REFUSED = {
    "use_self_attn_bias": (True, "attention without biases"),
    "modal_ffn": (False, "a feed-forward branch of each modality"),
    "adaptive_input": (False, "adaptive inputs"),
    "adaptive_softmax_cutoff": (None, "an adaptive softmax"),
    "no_cross_attention": (False, "a decoder that sees no source"),
    "cross_self_attention": (False, "a decoder whose source is part of its own attention"),
    "char_inputs": (False, "characters as inputs"),
    "base_layers": (0, "BASE layers"),
    "no_token_positional_embeddings": (False, "text without positions"),
}
"""Switch -> (what it has to be, what it is else)."""

ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}


def shape_of(config: Values, weights: Mapping[str, Tensor]) -> OFAConfig:
    """The configuration of the engine. config: the model's, as OFASys writes it. weights: under their names there.

    Errors: CheckpointError for a switch that this engine has not, or that does not fit the weights.
    """
    _refuse(config)
    encoder, decoder = _side(config, "encoder"), _side(config, "decoder")
    name = str(config.get("arch") or "")
    if name and name not in _ARCHITECTURES:
        raise CheckpointError(f"the model is of arch={name!r}; there are {', '.join(_ARCHITECTURES)}")
    width, layers, heads, ffn = _sizes(name, encoder, decoder)
    bias_shared = bool(config.get("share_attn_bias"))
    entangled = bool(config.get("entangle_position_embedding"))
    made = OFAConfig(
        width=width,
        heads=heads,
        ffn=ffn,
        encoder_layers=layers[0],
        decoder_layers=layers[1],
        dropout=float(config.get("dropout") or 0.0),
        max_positions=whole(config, "max_source_positions", 1024),
        norm="pre" if _flag(encoder, "normalize_before", True) else "post",
        decoder_norm="pre" if _flag(decoder, "normalize_before", True) else "post",
        final_norm=_flag(encoder, "normalize_before", True),
        decoder_final_norm=_flag(decoder, "normalize_before", True) and not config.get("no_decoder_final_norm"),
        attention_norm=_flag(config, "scale_attn", True),
        ffn_norm=_flag(config, "scale_fc", True),
        head_scale=_flag(config, "scale_heads", True),
        residual_scale=_flag(config, "scale_resids", False),
        activation=_activation(config),  # type: ignore[arg-type]
        attention_factor=float(config.get("attn_scale_factor") or 2),
        absolute=not entangled,
        shared_bias=bias_shared,
        source=_kinds(config, weights, "encoder"),
        target=_kinds(config, weights, "decoder"),
    )
    _check_width(made, weights)
    return made


def _refuse(config: Values) -> None:
    for switch, (wanted, what) in REFUSED.items():
        if switch in config and config[switch] is not None and config[switch] != wanted:
            raise CheckpointError(
                f"the model has {switch}={config[switch]!r}, {what}, which engine 'ofa' has not; use a checkpoint with "
                f"{switch}={wanted!r}"
            )
    text = _adaptor(config, "text")
    if text.get("output_bias"):
        raise CheckpointError(
            "the model has adaptor.text.output_bias=True, a bias of each token, which engine 'ofa' has not; use a "
            "checkpoint without it"
        )
    if _adaptor(config, "audio_fbank").get("is_transformer_layers") and _adaptor(config, "audio_fbank").get(
        "is_active"
    ):
        raise CheckpointError(
            "the model has adaptor.audio_fbank.is_transformer_layers=True, a transformer before the source, which "
            "engine 'ofa' has not; use a checkpoint without it"
        )


def _sizes(name: str, encoder: Values, decoder: Values) -> tuple[int, tuple[int, int], int, int]:
    """Width, layers of both sides, heads, width of the feed-forward. Errors: CheckpointError where sides differ."""
    if name:
        width, first, second, heads, _ = _ARCHITECTURES[name]
        return width, (first, second), heads, 2048 if name == "asr_small" else 4 * width
    for ours in ("embed_dim", "attention_heads", "ffn_embed_dim"):
        if whole(encoder, ours) != whole(decoder, ours):
            raise CheckpointError(
                f"the model has encoder.{ours}={encoder.get(ours)!r} and decoder.{ours}={decoder.get(ours)!r}; engine "
                "'ofa' has one for both sides, use a checkpoint in which they are equal"
            )
    layers = tuple(_layers(side) for side in (encoder, decoder))
    width, heads = whole(encoder, "embed_dim"), whole(encoder, "attention_heads")
    return width, (layers[0], layers[1]), heads, whole(encoder, "ffn_embed_dim")


def _layers(side: Values) -> int:
    kept = side.get("layers_to_keep")
    return len(str(kept).split(",")) if kept else whole(side, "layers")


def _kinds(config: Values, weights: Mapping[str, Tensor], side: str) -> dict[str, Kind]:
    """The kinds of places one side has tables of."""
    own = re.compile(rf"{side}\.adaptor\.(\w+)\.embed_\w*positions\.weight$")
    active = {match[1] for key in weights if (match := own.match(key))}
    found: dict[str, Kind] = {}
    for name, kind in KIND_OF.items():
        if name in active and kind not in found:
            found[kind] = _kind(config, weights, side, name)
    if "line" not in found:
        raise CheckpointError(f"the checkpoint has no {side}.adaptor.text: it holds no text model of OFASys")
    return found


def _kind(config: Values, weights: Mapping[str, Tensor], side: str, name: str) -> Kind:
    own, at = _adaptor(config, name), f"{side}.adaptor.{name}"
    rows = next(len(t) for key, t in weights.items() if re.match(rf"{at}\.embed_\w*positions\.weight$", key))
    table = next(len(t) for key, t in weights.items() if re.match(rf"{at}\.\w+_rel_pos_table_list\.0\.weight$", key))
    drawn = KIND_OF[name] in ("grid", "codes")
    far = {"audio_fbank": WAVE_FAR, "video_image_sequence": FRAMES_FAR}.get(name)
    if far is None:
        far = whole(own, "max_position", whole(config, "max_source_positions", 1024))
    width = next(t.shape[1] for key, t in weights.items() if re.match(rf"{at}\.embed_\w*positions\.weight$", key))
    entangled = own.get("entangle_position_embedding")
    return Kind(
        rows=rows,
        near=(math.isqrt(table - 3) + 1) // 2 if drawn else (table + 1) // 2,
        far=far,
        scale=1.0 if _flag(own, "no_scale_embedding", True) else math.sqrt(width),
        embed_norm=f"{at}.layernorm_embedding.weight" in weights,
        place_norm=f"{at}.layernorm_position.weight" in weights,
        typed=side == "encoder" and f"{at}.type_embedding.weight" in weights,
        entangled=bool(config.get("entangle_position_embedding") if entangled is None else entangled),
        gradient=float(own.get("scale_embedding_gradient") or 1.0),
    )


def _check_width(config: OFAConfig, weights: Mapping[str, Tensor]) -> None:
    """Errors: CheckpointError where weights are of another width, or there are more or fewer layers of them."""
    table = weights.get("encoder.adaptor.embed_tokens.weight")
    if table is None:
        raise CheckpointError(
            "the checkpoint has no encoder.adaptor.embed_tokens.weight: it is of another architecture, or a part of a "
            "checkpoint that was saved in shards; give all of one OFASys model"
        )
    if table.shape[1] != config.width:
        raise CheckpointError(f"the configuration says width {config.width} and the weights have {table.shape[1]}")
    for side, count in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        found = {int(match[1]) for key in weights if (match := re.match(rf"{side}\.layers\.(\d+)\.", key))}
        if found != set(range(count)):
            raise CheckpointError(
                f"the configuration says {count} layers of the {side} and the weights have {len(found)}: a part is "
                "missing, or the two are not of one model"
            )


def _activation(config: Values) -> str:
    name = str(config.get("activation_fn") or "gelu")
    if name not in ACTIVATIONS:
        raise CheckpointError(
            f"the model has activation_fn={name!r}, which engine 'ofa' has not; it has {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def _adaptor(config: Values, name: str) -> Values:
    found = (config.get("adaptor") or {}).get(name) or {}
    return found if isinstance(found, Mapping) else {}


def _side(config: Values, side: str) -> Values:
    found = config.get(side)
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"the model's configuration has no {side!r}: it is none of OFASys; give one of its models"
        )
    return found


def _flag(values: Values, name: str, default: bool) -> bool:
    found = values.get(name, default)
    return default if found is None else found in (True, "True", "true", 1)


def whole(values: Values, name: str, default: int | None = None) -> int:
    """A whole number, which the original's command line may have written as a text."""
    found = values.get(name)
    if found is None and default is not None:
        return default
    try:
        return int(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise CheckpointError(f"the model's configuration has {name}={found!r:.40}; a whole number is wanted") from None


@dataclass(frozen=True)
class Front:
    """A network that values go through before the engine."""

    original: str
    """The adaptor of the original."""
    modality: str
    """Its tag."""
    name: str
    """Of our adaptor."""
    options: Mapping[str, Any]
    """What it is made of."""
    read: Mapping[str, Any]
    """How values are read for it: attributes of a slot."""


def fronts_of(config: Values, weights: Mapping[str, Tensor]) -> list[Front]:
    """The networks of a checkpoint. Errors: CheckpointError for one of another kind."""
    found = []
    if "encoder.adaptor.image_resnet.image_proj.weight" in weights:
        read = {"preprocess": "bicubic", "patch": STRIDE, "size": SIDE, "colours": "half"}
        found.append(Front("image_resnet", "IMAGE", "ofa_resnet", _resnet(config), read))
    elif "encoder.adaptor.image_vit.image_proj.weight" in weights:
        options = _vit(config, weights)
        read = {"preprocess": "bicubic", "size": SIDE - SIDE % options["patch"], "colours": "half"}
        found.append(Front("image_vit", "IMAGE", "ofa_vit", options, read))
    if "encoder.adaptor.audio_fbank.subsample.conv.0.weight" in weights:
        bands = whole(_adaptor(config, "audio_fbank"), "output_frame_dim", 80)
        found.append(Front("audio_fbank", "AUDIO", "ofa_conv", {"mels": bands}, {"preprocess": "ofa_fbank"}))
    return found


def _resnet(config: Values) -> dict[str, Any]:
    arch, own = str(config.get("arch") or ""), _adaptor(config, "image_resnet")
    name = _ARCHITECTURES[arch][4] if arch in _ARCHITECTURES else str(own.get("resnet_type") or "resnet50")
    depth = name.removeprefix("resnet")
    if depth not in map(str, BLOCKS):
        known = ", ".join(f"resnet{n}" for n in BLOCKS)
        raise CheckpointError(f"the model has adaptor.image_resnet.resnet_type={name!r}; there are {known} here")
    return {"depth": int(depth), "norm_eps": 1e-3 if own.get("sync_bn") else 1e-5}


_HEADS = {"vit_base": (768, 12), "vit_large": (1024, 16), "vit_large_336": (1024, 16), "vit_huge": (1280, 16)}


def _vit(config: Values, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """By the shapes of its weights; only its heads are not to be seen there."""
    at = "encoder.adaptor.image_vit.embed_images"
    width, _, patch, _ = weights[f"{at}.conv1.weight"].shape
    side = math.isqrt(len(weights[f"{at}.positional_embedding"]) - 1)
    blocks = {key.split(".")[6] for key in weights if key.startswith(f"{at}.transformer.resblocks.")}
    own = _adaptor(config, "image_vit")
    known, heads = _HEADS.get(str(own.get("vit_type")), (0, 0))
    said = next((own[name] for name in ("vit_heads", "heads", "num_heads", "n_head") if own.get(name)), None)
    if said is None and known != width and width % 64:
        raise CheckpointError(
            f"the vision transformer is {width} wide, which is none of OFASys's, and how many heads it has is not "
            "said; add vit_heads to adaptor.image_vit of its configuration"
        )
    heads = int(said) if said else heads if known == width else width // 64
    return {
        "patch": patch,
        "vit_width": width,
        "vit_layers": len(blocks),
        "vit_heads": heads,
        "vit_size": side * patch,
    }
