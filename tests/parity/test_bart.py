"""The universal model, with the weights of Hugging Face BART or mBART copied in, gives their numbers."""

import pytest
import torch
from torch import nn

from ofasys.model import ModelConfig, UniversalModel
from ofasys.types import Hidden, Layout, Stream

transformers = pytest.importorskip("transformers")

V, D, PAD = 60, 32, 1


def layout(lengths: list[int]) -> Layout:
    T = max(lengths)
    place = torch.cat([torch.arange(n) + T * i for i, n in enumerate(lengths)])
    order = torch.cat([torch.arange(n) for n in lengths])
    positions = torch.stack([order, torch.full_like(order, -1), torch.full_like(order, -1)], 1)
    return Layout(len(lengths), T, place, positions, torch.tensor(lengths), place.numel() == T * len(lengths))


def copy(target: nn.Module, source: nn.Module) -> None:
    target.load_state_dict(source.state_dict())


def copy_attention(qkv: list[tuple[nn.Linear, list[nn.Linear]]], out: nn.Linear, theirs: nn.Module) -> None:
    for fused, parts in qkv:
        fused.weight.data = torch.cat([part.weight.data for part in parts])
        fused.bias.data = torch.cat([part.bias.data for part in parts])
    copy(out, theirs.out_proj)


def copy_side(ours: nn.Module, theirs: nn.Module) -> None:
    ours.positions.order.weight.data = theirs.embed_positions.weight.data[2:]  # BART's positions begin at 2
    copy(ours.embed_norm, theirs.layernorm_embedding)
    if ours.final_norm is not None:
        copy(ours.final_norm, theirs.layer_norm)
    for block, layer in zip(ours.blocks, theirs.layers, strict=True):
        att, other = block.self_attention, layer.self_attn
        copy_attention([(att.qkv, [other.q_proj, other.k_proj, other.v_proj])], att.out.project, other)
        copy(block.self_norm, layer.self_attn_layer_norm)
        if hasattr(layer, "encoder_attn"):
            att, other = block.cross_attention, layer.encoder_attn
            copy_attention(
                [(att.query, [other.q_proj]), (att.kv, [other.k_proj, other.v_proj])], att.out.project, other
            )
            copy(block.cross_norm, layer.encoder_attn_layer_norm)
        copy(block.ffn.up, layer.fc1)
        copy(block.ffn.down, layer.fc2)
        copy(block.ffn_norm, layer.final_layer_norm)


def pair(kind: str) -> tuple[UniversalModel, nn.Module]:
    torch.manual_seed(0)
    name = {"post": "Bart", "pre": "MBart"}[kind]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=V,
        d_model=D,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=40,
        pad_token_id=PAD,
    )
    theirs = getattr(transformers, f"{name}Model")(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)  # biases and gains too, so that a wrong one shows
    ours = UniversalModel(
        ModelConfig(
            width=D,
            heads=4,
            ffn=48,
            encoder_layers=2,
            decoder_layers=3,
            max_positions=40,
            norm=kind,  # type: ignore[arg-type]
            attention_norm=False,
            ffn_norm=False,
            head_scale=False,
            final_norm=kind == "pre",
        )
    ).eval()
    copy_side(ours.encoder, theirs.encoder)
    copy_side(ours.decoder, theirs.decoder)
    return ours, theirs


def tokens(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, T) padded, and the mask of what is real (B, T)."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.where(mask, torch.randint(2, V, mask.shape), PAD), mask


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["post", "pre"])
@pytest.mark.parametrize("lengths", [([7, 3, 5], [4, 6, 1]), ([5, 5], [4, 4])])
@torch.no_grad()
def test_equal(kind: str, lengths: tuple[list[int], list[int]]) -> None:
    ours, theirs = pair(kind)
    table = theirs.get_input_embeddings().weight
    source, source_mask = tokens(lengths[0])
    target, target_mask = tokens(lengths[1])
    want = theirs(
        input_ids=source,
        attention_mask=source_mask.long(),
        decoder_input_ids=target,
        decoder_attention_mask=target_mask.long(),
    )
    memory = ours.encode(Stream(table[source[source_mask]], layout(lengths[0])))
    hidden = ours.decode(Stream(table[target[target_mask]], layout(lengths[1])), memory)
    torch.testing.assert_close(memory.states, want.encoder_last_hidden_state[source_mask], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(hidden.states, want.last_hidden_state[target_mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["post", "pre"])
@torch.no_grad()
def test_equal_step_by_step(kind: str) -> None:
    ours, theirs = pair(kind)
    table = theirs.get_input_embeddings().weight
    source, source_mask = tokens([7, 3, 5])
    target, _ = tokens([6, 6, 6])
    want = theirs(input_ids=source, attention_mask=source_mask.long(), decoder_input_ids=target).last_hidden_state
    memory: Hidden = ours.encode(Stream(table[source[source_mask]], layout([7, 3, 5])))
    cache = ours.start(memory, 3, 6)
    for t in range(6):
        got = ours.step(table[target[:, t : t + 1]], torch.tensor([[t, -1, -1]]), cache)
        torch.testing.assert_close(got, want[:, t], atol=1e-5, rtol=1e-5)
