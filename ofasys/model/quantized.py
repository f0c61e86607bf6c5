"""Linear layers whose weights are held in few bits, and stay as they are.

A weight is made whole where it is used, once forward and once more backward, so that no whole matrix is kept between
the two. What is learned is a change of low rank beside it, as of QLoRA (Dettmers et al., 2023,
https://arxiv.org/abs/2305.14314).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ofasys.errors import ConfigError

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

BLOCK = 64  # numbers that share a scale in 4 bits


@dataclass(frozen=True)
class Format:
    """How a matrix is held."""

    about: str
    """In a sentence, for messages."""
    pack: Callable[[Float[Tensor, "O I"]], tuple[Int[Tensor, "..."], Float[Tensor, "S"]]]
    """Matrix -> (codes, scales). Errors: ConfigError where a library is missing."""
    unpack: Callable[[Int[Tensor, "..."], Float[Tensor, "S"], tuple[int, int]], Float[Tensor, "O I"]]
    """(codes, scales, shape) -> the matrix, in float32."""


def _pack_int8(weight: Float[Tensor, "O I"]) -> tuple[Int[Tensor, "O I"], Float[Tensor, "O"]]:
    """Each row in steps of a 127th of its largest number, so that none is off by more than half a step."""
    scale = weight.float().abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny * 127) / 127
    return (weight.float() / scale[:, None]).round().to(torch.int8), scale


def _unpack_int8(codes: Int[Tensor, "O I"], scale: Float[Tensor, "O"], shape: tuple[int, int]) -> Float[Tensor, "O I"]:
    return codes.float() * scale[:, None]


def _bitsandbytes() -> Any:
    """The functions of bitsandbytes. Errors: ConfigError where it is not installed, or cannot be used here."""
    try:
        from bitsandbytes import functional
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"weights in 4 bits need the library bitsandbytes ({error}); pip install 'ofasys[quantize]', or give int8, "
            "which needs none"
        ) from error
    return functional


def _pack_int4(weight: Float[Tensor, "O I"]) -> tuple[Int[Tensor, "P 1"], Float[Tensor, "S"]]:
    codes, state = _bitsandbytes().quantize_4bit(weight.float().contiguous(), blocksize=BLOCK, quant_type="nf4")
    return codes, state.absmax


@cache
def _levels(device: torch.device) -> Float[Tensor, "16"]:
    """What the codes of NF4 stand for; a device is given them once."""
    found: Tensor = _bitsandbytes().get_4bit_type("nf4", device=device)
    return found


def _unpack_int4(codes: Int[Tensor, "P 1"], scale: Float[Tensor, "S"], shape: tuple[int, int]) -> Float[Tensor, "O I"]:
    library = _bitsandbytes()
    state = library.QuantState(
        absmax=scale,
        shape=torch.Size(shape),
        code=_levels(codes.device),
        blocksize=BLOCK,
        quant_type="nf4",
        dtype=torch.float32,
    )
    made: Tensor = library.dequantize_4bit(codes, state)
    return made


FORMATS: Mapping[str, Format] = {
    "int8": Format("8 bits a number, a scale a row", _pack_int8, _unpack_int8),
    "int4": Format(f"4 bits a number (NF4), a scale for {BLOCK} of them", _pack_int4, _unpack_int4),
}


class Change(Protocol):
    """What is learned beside a matrix that stays."""

    def forward(self, weight: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
        """The matrix with the change."""
        ...

    def beside(
        self, x: Float[Tensor, "... I"], product: Float[Tensor, "... O"], weight: Callable[[], Float[Tensor, "O I"]]
    ) -> Float[Tensor, "... O"]:
        """The product of x and the matrix with the change, of that with the matrix alone."""
        ...


class _Product(torch.autograd.Function):
    """x (... I) and a matrix in few bits -> their product (... O). The matrix is made again for the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, codes: Tensor, scale: Tensor, layer: Quantized) -> Tensor:
        return nn.functional.linear(x, layer.unpacked(codes, scale).to(x.dtype))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, codes, scale, ctx.layer = inputs
        ctx.save_for_backward(codes, scale)
        ctx.dtype = x.dtype

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,) = gradients
        weight = ctx.layer.unpacked(*ctx.saved_tensors).to(gradient.dtype)
        return (gradient @ weight).to(ctx.dtype), None, None, None


class Quantized(nn.Module):
    """A linear layer, (... I) -> (... O), whose weight is held in few bits and whose bias as it was.

    codes, scale: the weight. change: what is learned of it; None: nothing.
    """

    codes: Tensor
    scale: Tensor
    change: Any

    def __init__(self, layer: nn.Linear, form: Format) -> None:
        super().__init__()
        self.out_features, self.in_features = layer.out_features, layer.in_features
        self.form = form
        codes, scale = form.pack(layer.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.bias = layer.bias
        self.change = None

    def unpacked(self, codes: Tensor, scale: Tensor) -> Float[Tensor, "O I"]:
        """The matrix of these."""
        return self.form.unpack(codes, scale, (self.out_features, self.in_features))

    @property
    def base(self) -> Float[Tensor, "O I"]:
        """The weight without its change, in float32."""
        return self.unpacked(self.codes, self.scale)

    @property
    def weight(self) -> Float[Tensor, "O I"]:
        """The weight with its change, in float32: a new tensor each time."""
        found: Tensor = self.base if self.change is None else self.change(self.base)
        return found

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """As of a linear layer."""
        made: Tensor = _Product.apply(x, self.codes, self.scale, self)
        if self.change is not None:
            made = self.change.beside(x, made, lambda: self.base)
        return made if self.bias is None else made + self.bias.to(made.dtype)


@torch.no_grad()
def quantize(model: nn.Module, kind: str) -> int:
    """Hold the weights of all linear layers below a module in few bits -> how many layers these are; each one's own
    weight is let go before the next is looked at.

    Errors: ConfigError for a weight that is not finite, or where a library is missing.
    """
    form, count = FORMATS[kind], 0
    for path, module in list(model.named_modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear):
                if not layer.weight.is_meta and not bool(torch.isfinite(layer.weight).all()):
                    where = f"{path}.{name}" if path else name
                    raise ConfigError(f"{where}.weight holds numbers that are not finite; take a whole copy")
                setattr(module, name, Quantized(layer, form))
                count += 1
    return count


def quantized_numbers(model: nn.Module) -> int:
    """How many numbers of a model are held in few bits."""
    return sum(layer.out_features * layer.in_features for layer in quantized_layers(model).values())


def quantized_layers(model: nn.Module) -> dict[str, Quantized]:
    """Name of a weight -> its layer, of those held in few bits."""
    return {f"{name}.weight": layer for name, layer in model.named_modules() if isinstance(layer, Quantized)}
