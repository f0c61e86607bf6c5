"""What each position may see, as masks the library adds to scores: 0 or minus infinity, never bool.

Under eager attention the library adds a bool mask as 0 or 1, so that the future is seen (transformers 5.23.0).
`R` rows, `n` positions that look, `L` places they may look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int


def added(sees: Bool[Tensor, "..."], dtype: torch.dtype) -> Float[Tensor, "..."]:
    """A mask of what is seen as what is added to scores."""
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, -torch.inf)


def visible(
    valid: Bool[Tensor, "R L"], blocks: Int[Tensor, "R L"] | None = None, n: int | None = None
) -> Bool[Tensor, "R n L"]:
    """What the last n of L places see, laid in order: all before them, their block, and themselves."""
    L = valid.shape[1]
    n = L if n is None else n
    at = torch.arange(L, device=valid.device)
    sees = (at <= at[L - n :, None])[None]
    if blocks is not None:
        sees = sees | ((blocks[:, L - n :, None] == blocks[:, None, :]) & (blocks[:, L - n :] > 0)[:, :, None])
    itself = at == at[L - n :, None]
    return (sees & valid[:, None, :]) | itself  # what sees nothing is NaN, so padding sees itself


def near(queries: Int[Tensor, "R n"], keys: Int[Tensor, "R L"], window: int) -> Bool[Tensor, "R n L"]:
    """Which places lie less than `window` behind, as of layers with a sliding window."""
    return keys[:, None, :] > queries[:, :, None] - window
