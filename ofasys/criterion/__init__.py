"""Losses, by kind of target. A criterion knows tensors, no modality and no model. Importing this does not import
torch.
"""

from __future__ import annotations

from ofasys.criterion.criterion import CRITERIA, Criterion

__all__ = ["CRITERIA", "Criterion"]
