"""AUDIO: frames -> embeddings; hidden states -> frames. Values of a batch lie end to end, and no value sees another.

`n` positions, `T` frames of all values, `C` mels, `r` frames a position, `W` width inside a convolution, `D` width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ofasys.modality.modality import Options

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

DROPOUT = 0.5  # of frames that are read back, in training: or the model copies them and hears nothing else


class ConvAdaptor(nn.Module):
    """frames (T, C) and counts (values,) -> (n, D), n = ceil(ceil(T / 2) / 2) per value.

    Two convolutions over time, kernel 3, stride 2, the mels as channels (as Whisper and the Speech-Transformer begin),
    then LayerNorm.
    """

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(options["mels"], width, 3, stride=2)
        self.second = nn.Conv1d(width, width, 3, stride=2)
        self.norm = nn.LayerNorm(width)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """frames (T, C), counts (values,), half and quarter: the value of each frame that is left -> embeddings."""
        x, counts = tensors["frames"], tensors["counts"]
        for layer, left in ((self.first, "half"), (self.second, "quarter")):
            x = nn.functional.gelu(convolve(x, counts, layer, tensors[left]))
            counts = (counts + 1) // 2
        return self.norm(x) * self.norm.normalized_shape[0] ** -0.5


class FramesAdaptor(nn.Module):
    """Frames read back through a bottleneck with dropout, and predicted in two goes, as in Tacotron 2 (Shen et al.,
    2018).

    What is predicted: `coarse` and `frames` (n, r, C), before and after the postnet, and `stop` (n,), the logit that
    this position is the last.
    """

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        self.mels, self.reduction = int(options["mels"]), int(options["reduction"])
        inside = self.reduction * self.mels
        self.prenet = nn.ModuleList([nn.Linear(inside, width), nn.Linear(width, width)])
        self.project = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.coarse = nn.Linear(width, inside)
        self.stop = nn.Linear(width, 1)
        self.postnet = Postnet(self.mels, min(width, 256))

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """frames (n * r, C) -> embeddings."""
        x = tensors["frames"].reshape(-1, self.reduction * self.mels)
        for layer in self.prenet:
            x = nn.functional.dropout(torch.relu(layer(x)), DROPOUT, self.training)
        return self.norm(self.project(x)) * self.norm.normalized_shape[0] ** -0.5

    def predict(
        self, hidden: Float[Tensor, "n D"], lengths: Int[Tensor, "values"], tensors: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "n ..."]]:
        """States of values of `lengths` positions -> coarse, frames (n, r, C), stop (n,)."""
        made = self.ahead(hidden)
        coarse = made["coarse"]
        frames = coarse.flatten(0, 1)  # (n * r, C)
        frames = frames + self.postnet(frames, lengths * self.reduction)
        return made | {"frames": frames.view(coarse.shape)}

    def ahead(self, hidden: Float[Tensor, "n D"]) -> dict[str, Float[Tensor, "n ..."]]:
        """What a step needs of `predict`: coarse (n, r, C) and stop (n,)."""
        return {"coarse": self.coarse(hidden).view(-1, self.reduction, self.mels), "stop": self.stop(hidden)[:, 0]}


class Postnet(nn.Module):
    """Frames -> what to add to them, each seeing 6 frames to both sides within its value.

    Three convolutions instead of five, and LayerNorm for batch norm, which would make a value depend on its batch. Adds
    nothing at first.
    """

    def __init__(self, mels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(mels, width, 5)
        self.second = nn.Conv1d(width, width, 5)
        self.last = nn.Conv1d(width, mels, 5)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, frames: Float[Tensor, "T C"], lengths: Int[Tensor, "values"]) -> Float[Tensor, "T C"]:
        """frames: of values of `lengths` frames."""
        x = frames
        for convolution, norm in zip((self.first, self.second), self.norms, strict=True):
            x = torch.tanh(norm(convolve(x, lengths, convolution)))
        return convolve(x, lengths, self.last)


def convolve(
    x: Float[Tensor, "N C"], lengths: Int[Tensor, "values"], layer: nn.Conv1d, owner: Int[Tensor, "M"] | None = None
) -> Float[Tensor, "M W"]:
    """x: values of `lengths` rows end to end -> ceil(length / stride) rows each.

    What a plain convolution with zeros around each value gives. One product over all rows: each gathers the `kernel`
    rows it sees, and a row of zeros where its value has none. owner: the value of each output row, where stride is
    more than 1.
    """
    (size,), (stride,) = layer.kernel_size, layer.stride
    owner = torch.repeat_interleave(lengths, output_size=len(x)) if owner is None else owner
    index = windows(lengths, owner, size, stride)  # (M, size)
    zero = x.new_zeros(1, x.shape[1])
    seen = torch.cat([x, zero]).index_select(0, index.flatten()).view(len(index), -1)  # (M, size * C)
    return nn.functional.linear(seen, layer.weight.transpose(1, 2).flatten(1), layer.bias)


def windows(lengths: Int[Tensor, "values"], owner: Int[Tensor, "M"], size: int, stride: int) -> Int[Tensor, "M size"]:
    """Which of the N rows each output row sees; N, one past the last, where there is none.

    owner: the value of each output row.
    """
    out = (lengths + stride - 1) // stride
    start, begin = lengths.cumsum(0) - lengths, out.cumsum(0) - out
    place = torch.arange(len(owner), device=lengths.device) - begin[owner]
    local = (place * stride - size // 2)[:, None] + torch.arange(size, device=lengths.device)
    inside = (local >= 0) & (local < lengths[owner][:, None])
    return torch.where(inside, local + start[owner][:, None], lengths.sum())
