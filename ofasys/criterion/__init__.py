"""Losses, by kind of target. A criterion knows tensors, no modality and no model. Importing this does not import
torch.
"""

from __future__ import annotations

from ofasys.criterion.criterion import CRITERIA, Criterion
from ofasys.criterion.kind import KINDS, NOTHING, Kind

__all__ = ["CRITERIA", "KINDS", "NOTHING", "Criterion", "Kind"]
