"""What each switch of the original's configuration computes, by its formulas written down anew.

There are cases of the original for few of them (tests/ofa_cases.py); here a text model is recomputed from the weights
of a checkpoint under their original names, as the facts that come with those cases say it is computed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from ofa_cases import CHECKPOINT, close, plain_tokenizer
from torch import Tensor
from torch.nn import functional as F

from ofasys.hub.ofa.container import original_in
from ofasys.hub.ofa.convert import Original, converted
from ofasys.program.batch import layout
from ofasys.types import Stream

ROWS = (
    ([0, 9, 20, 31, 12, 40, 2], [0, 14, 33, 7, 51]),
    ([0, 5, 2], [0, 60]),
    ([0, *range(10, 35), 2], [0, *range(40, 58)]),
)
ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu, "swish": F.silu}


class Recomputed:
    """A text model of OFASys, one row at a time. `n` positions, `D` width, `H` heads."""

    def __init__(self, original: Original) -> None:
        self.config, self.weights = original.config, {name: one.float() for name, one in original.weights.items()}
        self.text = self.config["adaptor"]["text"]
        self.width, self.heads = (self.config["encoder"][name] for name in ("embed_dim", "attention_heads"))
        self.scale = (self.width / self.heads * self.config["attn_scale_factor"]) ** -0.5
        self.entangled = bool(self.config["entangle_position_embedding"])

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Where the model has such a norm."""
        if f"{name}.weight" not in self.weights:
            return x
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def split(self, x: Tensor) -> Tensor:
        """(n, D) -> (H, n, K)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(0, 1)

    def entered(self, side: str, ids: list[int]) -> tuple[Tensor, Tensor]:
        """(what the first layer reads, the positions) (n, D)."""
        at = f"{side}.adaptor.text"
        x = self.weights["encoder.adaptor.embed_tokens.weight"][ids]
        x = x if self.text["no_scale_embedding"] else x * math.sqrt(self.width)
        places = self.weights[f"{at}.embed_positions.weight"][: len(ids)]
        if self.entangled:
            x = x + places
        if side == "encoder" and f"{at}.type_embedding.weight" in self.weights:
            x = x + self.weights[f"{at}.type_embedding.weight"][0]
        return self.norm(x, f"{at}.layernorm_embedding"), self.norm(places, f"{at}.layernorm_position")

    def between(self, query: str, key: str, mine: Tensor, theirs: Tensor) -> Tensor | float:
        """Bias by the positions of both (H, n, m)."""
        if self.entangled:
            return 0.0
        return self.split(self.linear(mine, query) * self.scale) @ self.split(self.linear(theirs, key)).transpose(1, 2)

    def near(self, side: str, layer: int, n: int) -> Tensor:
        """Bias by distance (H, n, n)."""
        size, limit = self.text["token_bucket_size"], self.text["max_position"]
        middle = size / 2
        number = 0 if self.config["share_attn_bias"] else layer
        table = self.weights[f"{side}.adaptor.text.token_rel_pos_table_list.{number}.weight"]

        def bucket(r: int) -> int:
            if abs(r) <= middle:
                return r + size - 1
            far = math.ceil(math.log(abs(r) / middle) / math.log((limit - 1) / middle) * (middle - 1)) + middle
            return int(math.copysign(far, r)) + size - 1

        return table[torch.tensor([[bucket(i - j) for j in range(n)] for i in range(n)])].permute(2, 0, 1)

    def attended(
        self, side: str, x: Tensor, at: str, names: tuple[str, str], bias: Tensor | float, *source: Tensor
    ) -> Tensor:
        """The branch of attention (n, D). names: of the attention, and of the norm on what it gives. source: what it
        looks at; what it comes from if nothing is given.
        """
        own, after = (f"{at}.{name}" for name in names)

        def inner(y: Tensor) -> Tensor:
            given = zip("qkv", (y, *((source or (y,)) * 2)), strict=True)
            q, k, v = (self.split(self.linear(of, f"{own}.{name}_proj")) for name, of in given)
            made = ((q * self.scale) @ k.transpose(1, 2) + bias).softmax(-1) @ v
            if f"{own}.c_attn" in self.weights:
                made = made * self.weights[f"{own}.c_attn"][:, None, None]
            return self.norm(self.linear(made.transpose(0, 1).flatten(1), f"{own}.out_proj"), after)

        return self.branch(side, x, f"{own}_layer_norm", inner)

    def branch(
        self, side: str, x: Tensor, norm: str, inner: Callable[[Tensor], Tensor], factor: Tensor | float = 1.0
    ) -> Tensor:
        """A branch and what it is added to; its norm stands before it, or after both."""
        if self.config[side]["normalize_before"]:
            return x * factor + inner(self.norm(x, norm))
        return self.norm(x * factor + inner(x), norm)

    def fed(self, side: str, at: str, x: Tensor) -> Tensor:
        def inner(y: Tensor) -> Tensor:
            y = ACTIVATIONS[self.config["activation_fn"]](self.linear(y, f"{at}.fc1"))
            return self.linear(self.norm(y, f"{at}.ffn_layernorm"), f"{at}.fc2")

        return self.branch(side, x, f"{at}.final_layer_norm", inner, self.weights.get(f"{at}.w_resid", 1.0))

    def ended(self, side: str, x: Tensor) -> Tensor:
        return self.norm(x, f"{side}.layer_norm") if self.config[side]["normalize_before"] else x

    def logits(self, source: list[int], target: list[int]) -> Tensor:
        """(n, V) of each position of the target."""
        x, places = self.entered("encoder", source)
        bias = self.between("encoder.adaptor.pos_q_linear", "encoder.adaptor.pos_k_linear", places, places)
        for layer in range(self.config["encoder"]["layers"]):
            at, whole = f"encoder.layers.{layer}", bias + self.near("encoder", layer, len(source))
            x = self.fed("encoder", at, self.attended("encoder", x, at, ("self_attn", "attn_ln"), whole))
        memory, n = self.ended("encoder", x), len(target)
        x, own = self.entered("decoder", target)
        bias = self.between("decoder.adaptor.pos_q_linear", "decoder.adaptor.pos_k_linear", own, own)
        across = self.between("decoder.cross_pos_q_linear", "decoder.cross_pos_k_linear", own, places)
        future = torch.full((n, n), -math.inf).triu(1)
        for layer in range(self.config["decoder"]["layers"]):
            at, whole = f"decoder.layers.{layer}", bias + self.near("decoder", layer, n) + future
            x = self.attended("decoder", x, at, ("self_attn", "self_attn_ln"), whole)
            x = self.attended("decoder", x, at, ("encoder_attn", "cross_attn_ln"), across, memory)
            x = self.fed("decoder", at, x)
        table = self.weights.get("decoder.adaptor.text.output_projection.weight")
        x = x if self.config["no_decoder_final_norm"] else self.ended("decoder", x)
        return x @ (self.weights["encoder.adaptor.embed_tokens.weight"] if table is None else table).T


def without(weights: dict[str, Tensor], *names: str) -> None:
    for key in [key for key in weights if any(name in key for name in names)]:
        del weights[key]


def plain(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """As it is."""


def post_norm(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    for side in ("encoder", "decoder"):
        config[side]["normalize_before"] = False
    without(weights, "encoder.layer_norm", "decoder.layer_norm")


def post_norm_of_a_side(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["decoder"]["normalize_before"] = False
    without(weights, "decoder.layer_norm")


def no_last_norm(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["no_decoder_final_norm"] = True
    without(weights, "decoder.layer_norm")


def no_head_scale(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["scale_heads"] = False
    without(weights, "c_attn")


def no_attention_norm(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["scale_attn"] = False
    without(weights, ".attn_ln", "self_attn_ln", "cross_attn_ln")


def no_norm_inside(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["scale_fc"] = False
    without(weights, "ffn_layernorm")


def residual_factors(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["scale_resids"] = True
    for side in ("encoder", "decoder"):
        for layer in range(2):
            weights[f"{side}.layers.{layer}.w_resid"] = torch.rand(32, generator=torch.Generator().manual_seed(3)) + 0.5


def untied(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["adaptor"]["text"]["share_input_output_embed"] = False
    random = torch.Generator().manual_seed(4)
    weights["decoder.adaptor.text.output_projection.weight"] = torch.randn(77, 32, generator=random)


def one_table(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["share_attn_bias"] = config["adaptor"]["text"]["share_attn_bias"] = True
    without(weights, "rel_pos_table_list.1")


def entangled(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["entangle_position_embedding"] = config["adaptor"]["text"]["entangle_position_embedding"] = True
    without(weights, "pos_q_linear", "pos_k_linear")


def bare_embedding(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["adaptor"]["text"]["no_scale_embedding"] = False
    without(weights, "layernorm_embedding", "layernorm_position", "type_embedding")


def relu(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["activation_fn"] = "relu"


def swish(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["activation_fn"] = "swish"


def another_factor(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    config["attn_scale_factor"] = 3.5


SWITCHES: dict[str, Iterable[Callable[[dict[str, Any], dict[str, Tensor]], None]]] = {
    one.__name__: (one,)
    for one in (
        plain,
        post_norm,
        post_norm_of_a_side,
        no_last_norm,
        no_head_scale,
        no_attention_norm,
        no_norm_inside,
        residual_factors,
        untied,
        one_table,
        entangled,
        bare_embedding,
        relu,
        swish,
        another_factor,
    )
} | {
    "post_norm, residual_factors, entangled, relu": (post_norm, residual_factors, entangled, relu),
    "one_table, untied, no_head_scale, another_factor": (one_table, untied, no_head_scale, another_factor),
    "bare in all": (no_attention_norm, no_norm_inside, no_head_scale, bare_embedding, post_norm),
}


@pytest.fixture(scope="module")
def checkpoint() -> Original:
    """Its weights moved away from where training began, so that each matters."""
    original, _ = original_in(CHECKPOINT)
    random = torch.Generator().manual_seed(0)
    weights = {}
    for name, one in original.weights.items():
        weights[name] = one + torch.randn(one.shape, generator=random) * 0.2 if one.is_floating_point() else one
    weights["decoder.adaptor.embed_tokens.weight"] = weights["encoder.adaptor.embed_tokens.weight"]
    return Original(original.config, weights, original.dictionary)


def ours(original: Original) -> list[Tensor]:
    """The logits of each row, of all in one batch."""
    model = converted(original, plain_tokenizer(original.dictionary)).model

    def stream(rows: list[list[int]]) -> Stream:
        lengths = torch.tensor([len(ids) for ids in rows])
        places = torch.full((int(lengths.sum()), 3), -1)
        places[:, 0] = torch.cat([torch.arange(n) for n in lengths.tolist()])
        ids = torch.tensor([one for ids in rows for one in ids])
        return Stream(model.tokens.embed({"tokens": ids}), layout(lengths.numpy(), places.numpy()))

    states = model.compute(stream([source for source, _ in ROWS]), stream([target for _, target in ROWS])).target
    assert states is not None
    return list((states.states @ model.head[:77].T).split(states.layout.lengths.tolist()))


@torch.no_grad()
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_computes_what_the_original_does(checkpoint: Original, name: str) -> None:
    config, weights = copy.deepcopy(dict(checkpoint.config)), dict(checkpoint.weights)
    for change in SWITCHES[name]:
        change(config, weights)
    changed = Original(config, weights, checkpoint.dictionary)
    before, again = Recomputed(checkpoint), Recomputed(changed)
    for (source, target), got in zip(ROWS, ours(changed), strict=True):
        want = again.logits(source, target)
        close(got, want, name)
        if name != "plain":
            assert float((want - before.logits(source, target)).abs().max()) > 1e-2, "it changes nothing"
