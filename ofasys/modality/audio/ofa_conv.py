"""AUDIO: frames -> embeddings through two convolutions over time and bands, as OFASys has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ofasys.modality.audio.ofa_frames import halved
from ofasys.modality.modality import Options

if TYPE_CHECKING:
    from typing import Annotated as Float


class Subsample(nn.Module):
    """Frames (B, T, C) -> (B, n, D): two convolutions without padding, each of which halves time and bands."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, width, 3, 2), nn.ReLU(), nn.Conv2d(width, width, 3, 2), nn.ReLU())
        self.out = nn.Sequential(nn.Linear(width * halved(bands), width))

    def forward(self, frames: Tensor) -> Tensor:
        """See the class."""
        x = self.conv(frames[:, None]).transpose(1, 2)
        made: Tensor = self.out(x.flatten(2))
        return made


class OFAConvAdaptor(nn.Module):
    """frames (T, C) of all values, and of those of one length T `frames T` (values, T) and `places T` (values, n):
    their rows -> (n, D).
    """

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        self.width = width
        self.subsample = Subsample(int(options["mels"]), width)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """Values of one length run together."""
        frames = tensors["frames"]
        groups = [name for name in tensors if name.startswith("frames ")]
        places = {name: tensors[name.replace("frames", "places")] for name in groups}
        found = frames.new_zeros(sum(rows.numel() for rows in places.values()), self.width)
        for name in groups:
            made = self.of_frames(frames[tensors[name]])
            found = found.to(made.dtype).index_copy(0, places[name].flatten(), made.flatten(0, 1))
        return found

    def of_frames(self, frames: Float[Tensor, "B T C"]) -> Float[Tensor, "B n D"]:
        """Frames of values of one length -> embeddings."""
        made: Tensor = self.subsample(frames)
        return made
