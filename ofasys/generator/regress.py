"""A number and its spread, as the state after all that came before predicts them.

`R` rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ofasys.generator.decoder import Continuation


@torch.no_grad()
def regress(
    adaptor: Any,
    before: Continuation,
    options: Mapping[str, Any],
    seeds: Sequence[int] = (),
    negative: Continuation | None = None,
) -> list[np.ndarray]:
    """All rows at once -> per row (1, 2) float32: the mean and the spread, on the scale. Nothing is drawn at random.

    adaptor: `predict` gives `frames` (R, 1) and `spread` (R, 1). before: what came before, R rows.
    """
    one = torch.ones(len(before.hidden), dtype=torch.long, device=before.hidden.device)
    made = adaptor.predict(before.hidden, one, {})
    both = torch.cat([made["frames"].float(), made["spread"].float()], 1).cpu().numpy()
    return [row[None] for row in both]
