"""What a worker hands over, as one message: a pickled skeleton, and one buffer with the numbers of every tensor in
it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from torch import Tensor

ALIGNED = 64
"""Bytes. Each tensor begins at a multiple of it."""
IN_THE_MESSAGE = 1 << 18
"""Bytes. A buffer up to this size travels in the message; a larger one in shared memory, as one file descriptor."""


def pack(value: object) -> bytes:
    """Any value that can be pickled, for `unpack` in another process, which is to be called once.

    Its tensors and arrays are copied into one buffer. Errors: whatever pickling raises; OSError or RuntimeError where
    there is no room for shared memory.
    """
    found: list[Any] = []
    skeleton = io.BytesIO()
    _Pickler(skeleton, found.append).dump(value)
    parts = [one.raw() for one in found]
    spans, size = _spans([part.nbytes for part in parts])
    buffer = bytearray(size) if size <= IN_THE_MESSAGE else torch.empty(0, dtype=torch.uint8).set_(_shared(size))
    view = _bytes_of(buffer)
    for part, (start, end) in zip(parts, spans, strict=True):
        view[start:end] = part
    message = ForkingPickler.dumps((skeleton.getvalue(), spans, buffer))
    return bytes(message)


def unpack(message: bytes) -> Any:
    """The value of a message of `pack`. Its tensors are views of one buffer, and may be written to."""
    skeleton, spans, buffer = ForkingPickler.loads(message)
    view = _bytes_of(buffer)
    return ForkingPickler.loads(skeleton, buffers=[view[start:end] for start, end in spans])


class _Pickler(ForkingPickler):
    """keep: is given the buffer of each tensor and array, in order."""

    def __init__(self, file: io.BytesIO, keep: Callable[[Any], None]) -> None:
        super().__init__(file, 5, True, keep)

    def reducer_override(self, value: Any) -> Any:
        """A plain tensor: its bytes apart, then kind and shape. Any other value: as it is pickled anyway."""
        if type(value) is not Tensor or not _plain(value):
            return NotImplemented
        numbers = value.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy()
        return _tensor, (numbers, value.dtype, tuple(value.shape))


def _plain(tensor: Tensor) -> bool:
    """Whether a tensor is nothing but its numbers, dtype and shape."""
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized:
        return False
    return not (tensor.requires_grad or vars(tensor))


def _tensor(numbers: np.ndarray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(numbers).view(dtype).view(shape)


def _spans(sizes: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    """Where in a buffer each part begins and ends; and the size of the buffer."""
    spans, at = [], 0
    for size in sizes:
        spans.append((at, at + size))
        at += -(-size // ALIGNED) * ALIGNED
    return spans, at


def _shared(size: int) -> torch.UntypedStorage:
    return torch.UntypedStorage._new_shared(size)


def _bytes_of(buffer: bytearray | Tensor) -> memoryview:
    return buffer.numpy().data if isinstance(buffer, Tensor) else memoryview(buffer)
