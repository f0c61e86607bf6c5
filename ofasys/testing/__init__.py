"""Checks that a modality, or a pattern, keeps its contract, a user's own too: `check_modality`, `check_pattern`."""

from ofasys.testing.case import Case
from ofasys.testing.contract import Report, check_modality
from ofasys.testing.pattern import check_pattern

__all__ = ["Case", "Report", "check_modality", "check_pattern"]
