"""Linear layers: in mixed precision on a CPU in C where it multiplies pairs of bfloat16, else torch's.

A library for matrices makes a kernel for each shape that it has not met, and the rows of a flat stream are a shape of
nearly every batch; the C has none to make. It reads weights in float32 as they are, and gives their gradients so,
without the passes that turn them into bfloat16 and back. `N` positions, `I` inputs, `O` outputs.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ofasys.model.native import compiled

if TYPE_CHECKING:
    from typing import Annotated as Float

LANES = 16  # as of vectors.h
ALONE = 8  # groups of these that a single row goes through at once, as of pairs.h
FEW = 16  # rows: with fewer, what is done with the weight takes longer than the product
LEAST = 2**20  # products of numbers: with fewer, calling takes longer than they do
HALF, WHOLE = torch.bfloat16, torch.float32
Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[Activation, int] = {F.gelu: 1, F.relu: 2, F.silu: 3}  # as of `activated` in vectors.h


class Linear(nn.Linear):
    """x (N, I) -> (N, O), as torch's."""

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """See `linear`."""
        return linear(x, self.weight, self.bias)


def linear(
    x: Float[Tensor, "... I"], weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None
) -> Float[Tensor, "... O"]:
    """x times weight, and the bias. The result is in bfloat16 under its autocast."""
    if not _taken(x, weight, bias):
        return F.linear(x, weight, bias)
    return cast(Tensor, _Linear.apply(x.to(HALF).contiguous(), weight.contiguous(), bias))


@functools.cache
def library() -> ctypes.CDLL | None:
    """The C, where the processor is for it: None where it multiplies no pairs, or has tiles, which are faster."""
    found = compiled("linear")
    if found is None or not found.linear_halves():
        return None
    number, numbers, places = ctypes.c_int, ctypes.c_long, ctypes.c_void_p
    for call in (found.linear_forward, found.linear_weights):
        call.argtypes = [numbers, numbers, numbers, number, *[places] * 4]
    found.linear_back.argtypes = [numbers, numbers, numbers, number, *[places] * 3]
    found.linear_lay_out.argtypes = [numbers, numbers, places, places]
    found.linear_lay_out.restype = None
    found.linear_laid_out.argtypes = [numbers, numbers, numbers, number, *[places] * 4, number]
    return found


class LaidOut:
    """x (n, I) -> (n, O) in float32: products in bfloat16 with a weight (O, I) as it is when this is made, the bias
    (O,), and an activation, a function in `ACTIVATIONS`. A row is the same whatever stands beside it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: Activation | None) -> None:
        self.library = cast(Any, library())
        self.outputs, self.inputs = weight.shape
        self.bias = None if bias is None else bias.detach().contiguous()
        self.which = 0 if activation is None else ACTIVATIONS[activation]
        self.weight = torch.empty(self.outputs // LANES, self.inputs // 2, LANES, dtype=torch.int32)
        whole = weight.detach().contiguous()
        self.library.linear_lay_out(self.inputs, self.outputs, whole.data_ptr(), self.weight.data_ptr())

    @staticmethod
    def takes(weight: Tensor, bias: Tensor | None) -> bool:
        """Whether there is C for a weight."""
        fits = not any(size % LANES for size in weight.shape)
        return fits and plain(weight, *(() if bias is None else (bias,))) and library() is not None

    def __call__(self, x: Float[Tensor, "n I"]) -> Float[Tensor, "n O"]:
        """Errors: MemoryError."""
        x = x.to(HALF).contiguous()
        y = x.new_empty(len(x), self.outputs, dtype=WHOLE)
        places = (None if one is None else one.data_ptr() for one in (x, self.weight, self.bias, y))
        sizes = len(x), self.inputs, self.outputs, torch.get_num_threads()
        if self.library.linear_laid_out(*sizes, *places, self.which):
            raise MemoryError("there is no memory for a product")
        return y


def mixed() -> bool:
    """Whether products on a CPU are in bfloat16 now, of numbers in float32."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is HALF


def plain(*parts: Tensor) -> bool:
    """Whether these are whole tensors in float32 on a CPU."""
    return all(part.device.type == "cpu" and part.dtype is WHOLE and not hasattr(part, "placements") for part in parts)


def _taken(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether numbers like these are multiplied in C."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dim() != 2 or not mixed():
        return False
    (n, inputs), outputs = x.shape, len(weight)
    if n < FEW or n * weight.numel() < LEAST or inputs % LANES or outputs % LANES or x.dtype not in (HALF, WHOLE):
        return False
    return plain(weight, *(() if bias is None else (bias,))) and library() is not None


class _Linear(torch.autograd.Function):
    """x (N, I) bfloat16, weight (O, I) and bias (O,) float32 -> (N, O) bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = x.new_empty(len(x), len(weight))
        ctx.save_for_backward(x, weight)
        bias = None if bias is None else bias.contiguous()
        _call("linear_forward", x, weight, x, weight, bias, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dy, dx, dweight, dbias = grads[0].contiguous(), None, None, None
        of_x, of_weight, of_bias = ctx.needs_input_grad
        if of_x:
            dx = torch.empty_like(x)
            _call("linear_back", x, weight, weight, dy, dx)
        if of_weight or of_bias:
            dweight, dbias = torch.empty_like(weight), weight.new_empty(len(weight)) if of_bias else None
            _call("linear_weights", x, weight, x, dy, dweight, dbias)
        return dx, dweight if of_weight else None, dbias


def _call(what: str, x: Tensor, weight: Tensor, *given: Tensor | None) -> None:
    """A function of linear.c for x (N, I) and weight (O, I)."""
    (n, inputs), outputs = x.shape, len(weight)
    places = (None if one is None else one.data_ptr() for one in given)
    if getattr(library(), what)(n, inputs, outputs, torch.get_num_threads(), *places):
        raise MemoryError("there is no memory for a product")
