"""Checks that what comes from outside keeps its contract: modality, criterion, generator, metric, schedule,
pattern, engine."""

from ofasys.testing.case import Case
from ofasys.testing.contract import check_modality
from ofasys.testing.criteria import check_criterion
from ofasys.testing.engines import check_engine
from ofasys.testing.generators import check_generator
from ofasys.testing.metrics import check_metric
from ofasys.testing.pattern import check_pattern
from ofasys.testing.promise import Report
from ofasys.testing.schedules import check_schedule

__all__ = [
    "Case",
    "Report",
    "check_criterion",
    "check_engine",
    "check_generator",
    "check_metric",
    "check_modality",
    "check_pattern",
    "check_schedule",
]
