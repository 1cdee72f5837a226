"""How a network runs over an image larger than its device: in_core, tiled, offload, unified."""

from wsi.streaming.api import (
    Inference,
    LossFunction,
    Measured,
    MemoryMode,
    RunOptions,
    StepResult,
)
from wsi.streaming.image_source import (
    BackgroundSource,
    ImageSource,
    Rect,
    TensorSource,
    read_ahead,
)
from wsi.streaming.modes import MODES, make_mode
from wsi.streaming.tiles.tiling import Group

__all__ = [
    "MODES",
    "BackgroundSource",
    "Group",
    "ImageSource",
    "Inference",
    "LossFunction",
    "Measured",
    "MemoryMode",
    "Rect",
    "RunOptions",
    "StepResult",
    "TensorSource",
    "make_mode",
    "read_ahead",
]
