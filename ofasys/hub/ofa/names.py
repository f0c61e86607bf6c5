"""Where each weight of an OFASys checkpoint goes in a model of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

KIND_OF = {
    "text": "line",
    "image_resnet": "grid",
    "image_vit": "grid",
    "audio_fbank": "wave",
    "video_image_sequence": "film",
    "image_vqgan": "codes",
}
"""Adaptor of the original -> the kind of place that is ours."""

FRONTS = ("image_resnet", "image_vit", "audio_fbank")
"""Adaptors that have weights of their own besides what they know of places."""

_W = r"\.(weight|bias)$"
_SIDE = r"^(encoder|decoder)"
_LAYER = _SIDE + r"\.layers\.(\d+)"
_ATTENTION = {"self_attn": "self_attention", "encoder_attn": "cross_attention"}
_NORMS = {
    "self_attn_layer_norm": "self_norm",
    "encoder_attn_layer_norm": "cross_norm",
    "final_layer_norm": "ffn_norm",
    "attn_ln": "self_attention.out.norm",
    "self_attn_ln": "self_attention.out.norm",
    "cross_attn_ln": "cross_attention.out.norm",
    "ffn_layernorm": "ffn.norm",
    "fc1": "ffn.up",
    "fc2": "ffn.down",
}
_TABLES = r"(?:token|image|audio|video|code)_rel_pos_table_list"
_PLACES = r"embed_(?:image_|audio_|frame_|code_)?positions"

BUFFERS = re.compile(r"(_rp_bucket|code_position_idx|image_position_idx|num_batches_tracked|\.version|^version)$")
"""What is computed again from the configuration, or counts what no answer depends on."""

IDLE = (
    (re.compile(r"^decoder\.adaptor\.\w+\.type_embedding\.weight$"), "only sources have a type"),
    (re.compile(r"\.audio_fbank\.mask_emb$"), "only hides frames in training"),
    (re.compile(r"^encoder\.adaptor\.text\.output_projection\."), "a source is not predicted"),
    (re.compile(r"^encoder\.adaptor\.audio_fbank\.(prenet|postnet|feat_proj|eos_proj)\b"), "of the target alone"),
    (re.compile(r"^decoder\.adaptor\.audio_fbank\.(subsample|post_extract_proj)\b"), "of the source alone"),
)
"""Weights that no number depends on, and why."""


@dataclass(frozen=True)
class Home:
    """A place for a weight."""

    name: str
    """Of ours."""
    part: int = 0
    """Which part of ours it is, along the first axis."""
    parts: int = 1
    """How many equal parts ours has."""


def home(key: str, fronts: Mapping[str, str]) -> Home | None:
    """Where a weight goes. fronts: adaptor of the original -> key of ours, of those whose weights are taken.

    None: it has no place here.
    """
    if re.search(_SIDE + r"\.adaptor\.embed_tokens\.weight$", key):
        return Home("adaptors.tokens.weight")
    if key == "decoder.adaptor.text.output_projection.weight":
        return Home("adaptors.tokens.head")
    for found in (_block(key), _side(key), _place(key)):
        if found is not None:
            return found
    for name, own in fronts.items():
        if match := re.match(rf"encoder\.adaptor\.{name}\.(.+)$", key):
            return Home(f"adaptors.{own}.{match[1]}")
    return None


def _block(key: str) -> Home | None:
    """Of a layer."""
    match = re.match(_LAYER + r"\.(.+)$", key)
    if match is None:
        return None
    at, rest = f"engine.{match[1]}.blocks.{match[2]}", match[3]
    if rest == "w_resid":
        return Home(f"{at}.residual")
    if inner := re.match(r"(\w+)" + _W, rest):
        return Home(f"{at}.{_NORMS[inner[1]]}.{inner[2]}") if inner[1] in _NORMS else None
    if inner := re.match(r"(self_attn|encoder_attn)\.(.+)$", rest):
        return _attention(f"{at}.{_ATTENTION[inner[1]]}", inner[2], inner[1] == "self_attn")
    return None


def _attention(at: str, rest: str, own: bool) -> Home | None:
    if rest == "c_attn":
        return Home(f"{at}.out.scale")
    match = re.match(r"(q|k|v|out|in)_proj[._](weight|bias)$", rest)
    if match is None:
        return None
    which, what = match[1], match[2]
    if which == "out":
        return Home(f"{at}.out.project.{what}")
    if own:
        return Home(f"{at}.qkv.{what}") if which == "in" else Home(f"{at}.qkv.{what}", "qkv".index(which), 3)
    if which == "q":
        return Home(f"{at}.query.{what}")
    return None if which == "in" else Home(f"{at}.kv.{what}", "kv".index(which), 2)


def _side(key: str) -> Home | None:
    """Of a side: its last norm, and what projects its places."""
    if match := re.match(_SIDE + r"\.layer_norm" + _W, key):
        return Home(f"engine.{match[1]}.final_norm.{match[2]}")
    if match := re.match(_SIDE + r"\.adaptor\.pos_(q|k)_linear" + _W, key):
        return Home(f"engine.{match[1]}.positions.{'query' if match[2] == 'q' else 'key'}.{match[3]}")
    if match := re.match(r"decoder\.cross_pos_(q|k)_linear" + _W, key):
        return Home(f"engine.decoder.positions.source_{'query' if match[1] == 'q' else 'key'}.{match[2]}")
    return None


def _place(key: str) -> Home | None:
    """Of a kind of place."""
    match = re.match(_SIDE + rf"\.adaptor\.({'|'.join(KIND_OF)})\.(.+)$", key)
    if match is None:
        return None
    at, rest = f"engine.{match[1]}.positions.places.{KIND_OF[match[2]]}", match[3]
    if inner := re.match(r"layernorm_(embedding|position)" + _W, rest):
        return Home(f"{at}.{'embed_norm' if inner[1] == 'embedding' else 'norm'}.{inner[2]}")
    if rest == "type_embedding.weight" and match[1] == "encoder":
        return Home(f"{at}.added")
    if re.match(_PLACES + r"\.weight$", rest):
        return Home(f"{at}.table.weight")
    if inner := re.match(_TABLES + r"\.(\d+)\.weight$", rest):
        return Home(f"{at}.relative.{inner[1]}.weight")
    return None


def idle(key: str) -> str | None:
    """Why no number depends on a weight; None where some does."""
    return next((why for pattern, why in IDLE if pattern.search(key)), None)


def placed(weights: Mapping[str, Tensor], fronts: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights under our names in float32, and of each that has no place here why."""
    found: dict[str, Tensor] = {}
    parts: dict[str, list[Tensor | None]] = {}
    left: dict[str, str] = {}
    for key, tensor in weights.items():
        if BUFFERS.search(key):
            continue
        at = None if idle(key) else home(key, fronts)
        if at is None:
            left[key] = idle(key) or "there is nothing like it here"
        elif at.parts == 1:
            found[at.name] = tensor.float().reshape(-1) if at.name.endswith(".added") else tensor.float()
        else:
            parts.setdefault(at.name, [None] * at.parts)[at.part] = tensor.float()
    for name, pieces in parts.items():
        whole = [piece for piece in pieces if piece is not None]
        if len(whole) == len(pieces):
            found[name] = torch.cat(whole)
    return found, left
