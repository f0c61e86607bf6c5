"""Patches put together to whole pictures again, for networks that read these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ofasys.modality.shared.patch import scaled

if TYPE_CHECKING:
    from typing import Annotated as Float


Network = Callable[[Tensor], Tensor]


def through_pictures(
    tensors: Mapping[str, Tensor], side: int, width: int, network: Network
) -> Float[Tensor, "n width"]:
    """patches (n, 3 * side * side) uint8 and `grid HxW` (pictures, h * w), their rows -> (n, width).

    network: pixels (pictures, 3, h * side, w * side) of -1..1 -> (pictures, h * w, width). Pictures of one shape run
    together; the result keeps the order of the patches.
    """
    patches = tensors["patches"]
    found: Tensor | None = None
    for name, rows in tensors.items():
        if not name.startswith("grid "):
            continue
        h, w = map(int, name.removeprefix("grid ").split("x"))
        image = patches[rows].view(-1, h, w, 3, side, side).permute(0, 3, 1, 4, 2, 5)
        out = network(scaled(image.reshape(-1, 3, h * side, w * side)))
        if found is None:
            found = out.new_empty(patches.shape[0], width)
        found = found.to(out.dtype).index_copy(0, rows.flatten(), out.flatten(0, 1))
    assert found is not None, "patches are of pictures"
    return found
