"""Which memory mode and tiles fit a machine, and what they will cost, before anything runs."""

from wsi.planning.planner import OPTIMIZER_STATE, MemoryPlan, calibrate, plan
from wsi.streaming.accounting.candidate import PlanRow, Speed

__all__ = ["OPTIMIZER_STATE", "MemoryPlan", "PlanRow", "Speed", "calibrate", "plan"]
