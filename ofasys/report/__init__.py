"""The report of a run: one HTML file that needs nothing beside it."""

from ofasys.report.report import write_report

__all__ = ["write_report"]
