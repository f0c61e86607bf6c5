"""Instruction -> Plan. No torch in this room: a plan can be made and read in milliseconds."""

from ofasys.planner.choose import plan
from ofasys.planner.explain import explain, to_json
from ofasys.planner.plan import Plan
from ofasys.planner.slot import Choice, Choose, Fill, Prompt, Repeat, SlotPlan, Step

__all__ = ["Choice", "Choose", "Fill", "Plan", "Prompt", "Repeat", "SlotPlan", "Step", "explain", "plan", "to_json"]
