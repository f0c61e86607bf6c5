"""Checks that what comes from outside keeps its contract: a modality, a criterion, a generator."""

from ofasys.testing.case import Case
from ofasys.testing.contract import check_modality
from ofasys.testing.criteria import check_criterion
from ofasys.testing.generators import check_generator
from ofasys.testing.promise import Report

__all__ = ["Case", "Report", "check_criterion", "check_generator", "check_modality"]
