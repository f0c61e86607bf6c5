"""Position schemes against the transformers of others, with the same weights or none."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ofasys.model.positions.alibi import Alibi, slopes
from ofasys.model.positions.positions import rotate
from ofasys.model.positions.relative import Relative
from ofasys.model.positions.rotary import Rotary
from ofasys.model.sizes import ModelConfig

H, K = 4, 12


def config(**changes: object) -> ModelConfig:
    fields = {"width": H * K, "heads": H, "ffn": 32, "encoder_layers": 1, "decoder_layers": 1, "max_grid": 8}
    return ModelConfig(**(fields | changes))  # type: ignore[arg-type]


def line(n: int, first: int = 0) -> torch.Tensor:
    """Positions (1, n, 3) of text."""
    order = torch.arange(first, first + n)
    return torch.stack([order, torch.full_like(order, -1), torch.full_like(order, -1)], 1)[None]


@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 20)])
@torch.no_grad()
def test_relative_is_t5_s(decoder: bool, buckets: int, farthest: int) -> None:
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Attention

    settings = {"relative_attention_num_buckets": buckets, "relative_attention_max_distance": farthest}
    peer = T5Attention(
        T5Config(d_model=H * K, num_heads=H, d_kv=K, is_decoder=decoder, **settings), has_relative_attention_bias=True
    )
    ours = Relative(config(positions="relative", buckets=buckets, farthest=farthest), decoder)
    ours.initialise()
    ours.order.weight.copy_(peer.relative_attention_bias.weight)
    want = peer.compute_bias(200, 200)
    got = ours.bias(0, line(200), line(200))
    seen = torch.ones(200, 200, dtype=torch.bool).tril() if decoder else torch.ones(200, 200, dtype=torch.bool)
    torch.testing.assert_close(got * seen, want * seen)
    later = ours.bias(0, line(1, 150), line(151))  # one query after a cache of keys
    torch.testing.assert_close(later, want[:, :, 150:151, :151])


@pytest.mark.parametrize("heads", [4, 8, 12, 16])
@torch.no_grad()
def test_alibi_is_bloom_s(heads: int) -> None:
    """Theirs adds slope x place, which softmax makes the same: each row differs by a number of its own."""
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    ours = Alibi(config(width=heads * 4, heads=heads, positions="alibi"), True)
    n = 30
    theirs = build_alibi_tensor(torch.ones(1, n), heads, torch.float32).view(heads, 1, n)
    hidden = torch.ones(n, n, dtype=torch.bool).tril()
    scores = torch.randn(heads, n, n)
    got = (scores + ours.bias(0, line(n), line(n))[0]).masked_fill(~hidden, -torch.inf).softmax(-1)
    want = (scores + theirs).masked_fill(~hidden, -torch.inf).softmax(-1)
    torch.testing.assert_close(got, want)
    assert slopes(heads)[0] > slopes(heads)[1]


@torch.no_grad()
def test_rotary_of_one_axis_is_llama_s() -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    peer = LlamaRotaryEmbedding(LlamaConfig(hidden_size=H * K, num_attention_heads=H, head_dim=K))
    q, k = torch.randn(2, 2, H, 50, K).unbind(0)
    cos, sin = peer(q, torch.arange(7, 57)[None])
    want = apply_rotary_pos_emb(q, k, cos, sin)
    ours = Rotary(config(positions="rotary"), True)
    for one, other in zip((q, k), want, strict=True):
        torch.testing.assert_close(rotate(one, ours.turns(line(50, 7).expand(2, -1, -1))), other)


@torch.no_grad()
def test_rotary_of_three_axes_is_qwen_s() -> None:
    """Text, a picture of 3 x 4 patches at place 5, and text after it."""
    from transformers import Qwen2VLTextConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding, apply_rotary_pos_emb

    parameters = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 2, 2]}
    peer = Qwen2VLRotaryEmbedding(
        Qwen2VLTextConfig(hidden_size=H * K, num_attention_heads=H, rope_parameters=parameters)
    )
    y, x = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    grid = torch.stack([torch.full((12,), 5), y.flatten(), x.flatten()], 1)
    positions = torch.cat([line(5)[0], grid, line(6, 9)[0]])[None]
    theirs = torch.stack([positions[0, :, 0] + positions[0, :, axis].clamp(min=0) * (axis > 0) for axis in range(3)])
    q, k = torch.randn(2, 1, H, 23, K).unbind(0)
    cos, sin = peer(q, theirs[:, None])
    want = apply_rotary_pos_emb(q, k, cos, sin)
    ours = Rotary(config(positions="rotary", rotary_axes=3), False)
    for one, other in zip((q, k), want, strict=True):
        torch.testing.assert_close(rotate(one, ours.turns(positions)), other)


@torch.no_grad()
def test_rotary_of_two_axes_by_hand() -> None:
    """The first half of the pairs turns by rows, the other by columns, each from fast to slow."""
    ours = Rotary(config(positions="rotary", rotary_axes=2, width=H * 8), False)
    positions = torch.tensor([[[0, 2, 5]]])
    x = torch.randn(1, 1, 1, 8)
    rates = [1.0, 10_000.0**-0.5]
    angles = torch.tensor([2 * rates[0], 2 * rates[1], 5 * rates[0], 5 * rates[1]])
    one, two = x[0, 0, 0, :4], x[0, 0, 0, 4:]
    want = torch.cat([one * angles.cos() - two * angles.sin(), two * angles.cos() + one * angles.sin()])
    torch.testing.assert_close(rotate(x, ours.turns(positions))[0, 0, 0], want)


@torch.no_grad()
def test_rotary_scores_depend_on_distance_alone() -> None:
    ours = Rotary(config(positions="rotary", rotary_axes=3), True)
    q, k = torch.randn(2, 1, H, 6, K).unbind(0)

    def scores(first: int) -> torch.Tensor:
        at = line(6, first)
        return F.scaled_dot_product_attention(
            rotate(q, ours.turns(at)), rotate(k, ours.turns(at)), torch.eye(6).expand(1, H, 6, 6)
        )

    torch.testing.assert_close(scores(0), scores(90), atol=1e-4, rtol=1e-4)
