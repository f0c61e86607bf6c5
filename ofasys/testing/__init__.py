"""Checks that a modality keeps its contract, a user's own too. `check_modality` is all one needs."""

from ofasys.testing.case import Case
from ofasys.testing.contract import Report, check_modality

__all__ = ["Case", "Report", "check_modality"]
