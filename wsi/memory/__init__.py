"""How a network larger than its device runs: in_core, tiled, offload, unified, and the plan."""

from wsi.memory.candidate import PlanRow, Speed
from wsi.memory.mode import (
    MODES,
    Inference,
    LossFunction,
    Measured,
    MemoryMode,
    RunOptions,
    StepResult,
    make_mode,
)
from wsi.memory.network import EmbeddingHead, Stage, StagedNetwork, stage_network
from wsi.memory.norms import NormKind
from wsi.memory.plan import OPTIMIZER_STATE, MemoryPlan, calibrate, plan
from wsi.memory.pooling import PoolingKind
from wsi.memory.source import BackgroundSource, ImageSource, Rect, TensorSource, read_ahead
from wsi.memory.tiling import Group

__all__ = [
    "MODES",
    "OPTIMIZER_STATE",
    "BackgroundSource",
    "EmbeddingHead",
    "Group",
    "ImageSource",
    "Inference",
    "LossFunction",
    "Measured",
    "MemoryMode",
    "MemoryPlan",
    "NormKind",
    "PlanRow",
    "PoolingKind",
    "Rect",
    "RunOptions",
    "Speed",
    "Stage",
    "StagedNetwork",
    "StepResult",
    "TensorSource",
    "calibrate",
    "make_mode",
    "plan",
    "read_ahead",
    "stage_network",
]
