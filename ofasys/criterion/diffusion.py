"""Diffusion: a value is noised by a random amount, and the model says what it was, or what the noise was.

Ho et al. (2020), with the cosine schedule of Nichol & Dhariwal (2021). The source is dropped in a share of the samples
by whoever reads them (Ho & Salimans, 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from ofasys.model.noise import alpha_bar
from ofasys.types import LossOutput, SlotFeatures, SlotPrediction


def prepare(
    features: SlotFeatures, options: Mapping[str, Any], random: np.random.Generator
) -> tuple[SlotFeatures, dict[str, np.ndarray]]:
    """Features with normalised `frames` (n, ...) -> them noised, and what there is to learn.

    In the stream: `frames` noised, `time` (1,) float32, the share of all steps taken, above 0 and at most 1, and
    `lengths` (1,). To learn from: `frames` clean, `noise`, `noised`, all (n, ...) float32, and the same `time`.
    """
    frames = np.asarray(features.tensors["frames"], dtype=np.float32)
    timesteps = int(options["timesteps"])
    time = int(random.integers(timesteps))
    noise = random.standard_normal(frames.shape, dtype=np.float32)
    left = alpha_bar(timesteps)[time]
    noised = (np.sqrt(left) * frames + np.sqrt(1.0 - left) * noise).astype(np.float32)
    share = np.array([(time + 1) / timesteps], dtype=np.float32)
    stands = {"frames": noised, "time": share, "lengths": np.array([len(frames)], dtype=np.int64)}
    learn = {"frames": frames, "noise": noise, "noised": noised, "time": share}
    return replace(features, tensors={**features.tensors, **stands}), learn


class Diffusion(nn.Module):
    """Mean squared error of `made["frames"]` (n, ...), over positions, against the clean frames or the noise."""

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.wanted = "noise" if options["predict"] == "noise" else "frames"

    def forward(self, seen: SlotPrediction) -> LossOutput:
        """The mean over a position's numbers, summed over the positions of all values."""
        made, wanted = seen.made["frames"], seen.targets.tensors[self.wanted]
        loss: Tensor = nn.functional.mse_loss(made.float(), wanted.float().view_as(made))
        return LossOutput(loss * len(made))
