"""The memory modes, by name: exact ways to run a network over one image."""

from typing import Any

from wsi.errors import ConfigError
from wsi.streaming.api import MemoryMode, RunOptions
from wsi.streaming.modes.in_core import InCore
from wsi.streaming.modes.offload import Offload
from wsi.streaming.modes.tiled import Tiled
from wsi.streaming.modes.unified import Unified

MODES: dict[str, type[InCore] | type[Tiled] | type[Offload] | type[Unified]] = {
    "in_core": InCore,
    "tiled": Tiled,
    "offload": Offload,
    "unified": Unified,
}
"""Names as in ``--memory``, each with its class; a class has ``Options`` of its own."""


def make_mode(name: str, run: RunOptions | None = None, **options: Any) -> MemoryMode:
    """The memory mode of this name.

    Args:
        name: one of ``MODES``.
        run: device and precision.
        options: fields of the mode's own options class, such as ``tile_px`` of ``tiled``.

    Raises:
        ConfigError: no such mode or option.
        MemoryPlanError: the mode does not exist on this machine; the message says why.
    """
    if name not in MODES:
        raise ConfigError(f"unknown memory mode {name!r}; choose from: {', '.join(MODES)}")
    kind: Any = MODES[name]  # each takes options of its own
    try:
        settings = kind.Options(**options)
    except TypeError as error:
        raise ConfigError(f"memory mode {name}: {error}") from error
    mode: MemoryMode = kind(run or RunOptions(), settings)
    return mode
