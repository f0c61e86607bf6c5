"""IMAGE in an exported graph: a square of pixels, which is cut into patches inside."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ofasys.errors import PlanError
from ofasys.modality.modality import Options
from ofasys.modality.shared.colours import DEVIATIONS, MEANS
from ofasys.modality.shared.cut import raster
from ofasys.modality.shared.graph import GraphInput


def squares(options: Options) -> GraphInput:
    """Of pictures that are made squares. Errors: PlanError for such as keep their shape."""
    if options["keep_aspect"]:
        raise PlanError("keep_aspect=true gives each picture a shape of its own; export a line without it")
    size, patch = int(options["size"]), int(options["patch"])
    side, imagenet = size // patch, options.get("colours") == "imagenet"

    def tensors(value: Tensor) -> Mapping[str, Tensor]:
        B = value.shape[0]
        patches = value.view(B, side, patch, side, patch, 3).permute(0, 1, 3, 5, 2, 4)
        patches = patches.reshape(B * side * side, 3, patch * patch)
        if imagenet:
            means, deviations = (torch.tensor(part)[:, None] for part in (MEANS, DEVIATIONS))
            patches = ((patches.float() / 255 - means) / deviations + 1) * 127.5
        rows = torch.arange(B * side * side).view(B, side * side)
        return {"patches": patches.flatten(1), f"grid {side}x{side}": rows}

    return GraphInput(
        about=f"an RGB picture resized to {size} x {size} pixels, 0..255",
        shape=(size, size, 3),
        dtype=torch.uint8,
        length=side * side,
        orders=1,
        grid=torch.from_numpy(raster(side, side)),
        tensors=tensors,
    )
