"""All layers of a decoder for one position more, in one call of C: with few rows, calling a library for each product,
norm and sum costs more than what it computes.

`R` rows, `D` width, `H` heads, `K` head width, `F` width inside the feed-forward.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofasys.model.block import Block
from ofasys.model.linear import ACTIVATIONS
from ofasys.model.native import address, compiled

if TYPE_CHECKING:
    from typing import Annotated as Float

    from ofasys.model.bank import Bank
    from ofasys.model.cache import Cache

LEAST = 1_000_000  # numbers of a decoder: a smaller one is not worth a compiler's time
WIDE, LANES = 32, 16  # as of decoder.c


class _Norm(ctypes.Structure):
    _fields_ = [("gain", ctypes.c_void_p), ("bias", ctypes.c_void_p), ("epsilon", ctypes.c_float)]


class _Linear(ctypes.Structure):
    _fields_ = [("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


_NORMS = ("self_norm", "cross_norm", "ffn_norm", "self_inner", "cross_inner", "ffn_inner")
_LINEARS = ("qkv", "self_out", "query", "cross_out", "up", "down")
_NUMBERS = (
    "layers",
    "R",
    "D",
    "H",
    "F",
    "S",
    "L",
    "group",
    "filled",
    "pre",
    "activation",
    "half",
    "threads",
    "room",
    "left",
)


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, _Norm) for name in _NORMS),
        *((name, _Linear) for name in _LINEARS),
        *((name, ctypes.c_void_p) for name in ("residual", "kv", "cross_k", "cross_v")),
    ]


class _Sizes(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in _NUMBERS),
        ("scale", ctypes.c_float),
        ("skip", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
    ]


class FusedLayers:
    """The layers of a decoder, their matrices, what is kept of sources, and where the processor can what matrices
    multiply, in float32 or bfloat16. All else is in float32.
    """

    def __init__(self, blocks: Sequence[Block], dtype: torch.dtype, library: Any) -> None:
        self.library, self.half, self.held = library, dtype == torch.bfloat16, list[Tensor]()
        first = blocks[0]
        own = first.self_attention
        self.heads, self.width, self.inner = own.heads, first.self_norm.weight.numel(), first.ffn.up.out_features
        self.scale = (self.width // self.heads) ** -0.5 if own.scale is None else own.scale
        self.pre, self.activation = first.pre, ACTIVATIONS[first.ffn.activation]
        self.layers = [self._layer(block) for block in blocks]

    @classmethod
    def of(cls, blocks: Sequence[Block], dtype: torch.dtype) -> FusedLayers | None:
        """None where the machine, or the model, is not for it."""
        if not blocks or dtype not in (torch.float32, torch.bfloat16):
            return None
        parameters = [parameter for block in blocks for parameter in block.parameters()]
        plain = all(
            part.device.type == "cpu" and part.dtype == torch.float32 and not hasattr(part, "placements")
            for part in parameters
        )
        first = blocks[0]
        width, inner, heads = first.self_norm.weight.numel(), first.ffn.up.out_features, first.self_attention.heads
        fits = width % WIDE == 0 and inner % WIDE == 0 and 2 * inner >= width and (width // heads) % LANES == 0
        if not (plain and fits) or sum(part.numel() for part in parameters) < LEAST:
            return None
        library = compiled("decoder")
        return None if library is None else cls(blocks, dtype, library)

    def step(self, x: Float[Tensor, "R D"], cache: Cache) -> Float[Tensor, "R D"]:
        """What the first layer reads of one position more -> what the last gives. The cache has room for it, and holds
        its keys and values then; its `filled` is left as it is.
        """
        layers, sizes, _ = cache.called(self._call)
        sizes.filled = cache.filled
        return self._run(x, layers, sizes)

    def step_of_bank(self, x: Float[Tensor, "R D"], bank: Bank) -> Float[Tensor, "R D"]:
        """As `step`, of all rows of a bank, each with a length of its own; it has room for one position more of each,
        which those go over again that are not meant to go on.
        """
        layers = bank.called(self._of_bank)
        filled = max(seat.length for seat in bank.seats)
        skip = torch.tensor([filled - seat.length for seat in bank.seats for _ in range(bank.group)])
        sources = torch.tensor([seat.source for seat in bank.seats])
        S, L = 0 if bank.cross is None else bank.cross.shape[4], bank.kv.shape[3]
        sizes = _Sizes(
            *(len(layers), bank.rows, self.width, self.heads, self.inner, S, L, bank.group, filled),
            *(self.pre, self.activation, self.half, 1, bank.kv.shape[2], 1, self.scale),
            *(skip.data_ptr(), sources.data_ptr()),
        )
        return self._run(x, layers, sizes)

    def _of_bank(self, bank: Bank) -> Any:
        """The layers of a bank."""
        layers = (_Layer * len(self.layers))(*self.layers)
        for number, layer in enumerate(layers):
            layer.kv = bank.kv[number].data_ptr()
            if bank.cross is not None:
                layer.cross_k, layer.cross_v = (part.data_ptr() for part in bank.cross[number])
        return layers

    def _run(self, x: Tensor, layers: Any, sizes: _Sizes) -> Tensor:
        """The call itself, x (R, D) -> (R, D)."""
        x = x.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        sizes.threads = torch.get_num_threads()
        most = max(sizes.L, sizes.S) + LANES
        work = x.new_empty(len(x) * (5 * self.width + 2 * self.inner) + sizes.threads * most)
        self.library.decoder_step(layers, ctypes.byref(sizes), address(x), address(work))
        return x

    def _call(self, cache: Cache) -> tuple[Any, Any, list[Tensor | None]]:
        """(the layers, the sizes, and what they point to) of a cache."""
        layers = (_Layer * len(self.layers))(*self.layers)
        cross = cache.cross
        for number, layer in enumerate(layers):
            layer.kv = cache.self_kv[number].data_ptr()
            if cross is not None:
                layer.cross_k, layer.cross_v = cross[number].k.data_ptr(), cross[number].v.data_ptr()
        lengths = None if cache.mask is None else cache.mask.flatten(1).sum(1)
        sizes = _Sizes(
            *(len(layers), cache.rows, self.width, self.heads, self.inner),
            *(0 if cross is None else cross[0].k.shape[2], cache.room, cache.group, 0),
            *(self.pre, self.activation, self.half, 1, cache.rows, 0, self.scale),
            *(None if part is None else part.data_ptr() for part in (cache.skip, lengths)),
        )
        return layers, sizes, [lengths, cache.skip]

    def _layer(self, block: Block) -> _Layer:
        own, ffn = block.self_attention, block.ffn
        layer = _Layer(
            self_norm=self._norm(block.self_norm),
            ffn_norm=self._norm(block.ffn_norm),
            self_inner=self._norm(own.out.norm),
            ffn_inner=self._norm(ffn.norm),
            qkv=self._linear(own.qkv.weight, own.qkv.bias),
            self_out=self._linear(own.out.weight(), own.out.project.bias),
            up=self._linear(ffn.up.weight, ffn.up.bias),
            down=self._linear(ffn.down.weight, ffn.down.bias),
        )
        if hasattr(block, "cross_attention"):
            cross = block.cross_attention
            layer.cross_norm, layer.cross_inner = self._norm(block.cross_norm), self._norm(cross.out.norm)
            layer.query = self._linear(cross.query.weight, cross.query.bias)
            layer.cross_out = self._linear(cross.out.weight(), cross.out.project.bias)
        if block.residual is not None:
            layer.residual = self._held(block.residual)
        return layer

    def _linear(self, weight: Tensor, bias: Tensor) -> _Linear:
        outputs, inputs = weight.shape
        packed = weight.detach().reshape(outputs // WIDE, WIDE, inputs).transpose(1, 2)
        if self.half and self.library.decoder_pairs():
            packed = packed.unflatten(1, (inputs // 2, 2)).transpose(2, 3)
        return _Linear(self._held(packed.to(torch.bfloat16 if self.half else torch.float32)), self._held(bias))

    def _norm(self, by: nn.LayerNorm | None) -> _Norm:
        return _Norm() if by is None else _Norm(self._held(by.weight), self._held(by.bias), by.eps)

    def _held(self, tensor: Tensor) -> int:
        self.held.append(tensor.detach().contiguous())
        return self.held[-1].data_ptr()
