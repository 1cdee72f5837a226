"""Scoring a slide and planning memory in one call each, for notebooks and scripts.

``import wsi`` offers both, with ``open_slide`` and ``load_pipeline``.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch

from wsi.errors import ConfigError
from wsi.models.backbones import build_backbone
from wsi.models.card import read_card
from wsi.networks import stage_network
from wsi.pipelines.base import Pipeline, load_pipeline, of_slide
from wsi.planning import OPTIMIZER_STATE, MemoryPlan
from wsi.planning import plan as plan_network
from wsi.planning.budgets import memory_budgets
from wsi.progress import Progress, no_progress
from wsi.slides import SlideReader, open_slide
from wsi.storage import SlideStore
from wsi.storage.results import SlideResult
from wsi.system import parse_bytes

_DTYPES = {"bfloat16": torch.bfloat16, "float32": None}


def analyze(
    slide: SlideReader | str | Path,
    model: Pipeline | str | Path,
    *,
    mpp: float | None = None,
    store: SlideStore | str | Path | None = None,
    device: str = "auto",
    engine: str = "torch",
    progress: Progress = no_progress,
) -> SlideResult:
    """Score one slide with one model.

    Args:
        slide: an open slide, which stays open, or the path of one.
        model: folder of a model bundle, whose card names its pipeline; or a loaded pipeline, which
            saves loading it again for each of many slides.
        mpp: level-0 micrometres per pixel, where a slide given by path states none.
        store: where tissue mask and heatmaps are kept and found again; ``None`` keeps nothing.
        device: ``auto``, ``cpu`` or ``cuda``; of no concern to a loaded pipeline.
        engine: what runs the network on a CPU, one of ``wsi.models.engines.ENGINES``.
        progress: called with the stage's name and how much of it is done, in [0, 1].

    Returns:
        Probabilities, heatmaps (NaN outside tissue), hotspots, warnings and timings.

    Raises:
        SlideError: the slide cannot be read, or is too coarse for the model.
        ModelError: the model is missing or damaged.
        ConfigError: no such device or engine here, or ``mpp`` for a slide that is open already.
        StoreError: the store belongs to another slide or cannot be written.
    """
    if mpp is not None and isinstance(slide, SlideReader):
        raise ConfigError(
            f"{slide.name}: mpp is for a slide given by path; this one is open already: give mpp "
            "to open_slide"
        )
    with ExitStack() as stack:
        if not isinstance(slide, SlideReader):
            slide = stack.enter_context(open_slide(Path(slide), mpp=mpp))
        if store is None:
            store = stack.enter_context(tempfile.TemporaryDirectory(prefix="wholeslide-"))
        if not isinstance(store, SlideStore):
            store = SlideStore(str(store))
        if isinstance(model, (str, Path)):
            model = load_pipeline(read_card(Path(model)).pipeline, Path(model), device, engine)
        return of_slide(model.analyze(slide, store, progress), slide)


def plan(
    size: int | tuple[int, int],
    *,
    device_memory: int | str | None = None,
    host_memory: int | str | None = None,
    disk: int | str = 0,
    architecture: str = "resnet50",
    norm: str = "frozen",
    pooling: str = "lse",
    optimizer: str = "adamw",
    mode: str | None = None,
    precision: str = "bfloat16",
    training: bool = True,
    tissue: float = 1.0,
) -> MemoryPlan:
    """How a network would run on whole slides of this size: mode, tiles, memory and time.

    Needs neither a GPU nor memory for the network: shapes are all a plan needs.

    Args:
        size: pixels of a square slide's side, or height and width.
        device_memory: of the GPU, in bytes or as ``"16GB"``; ``None`` plans for a CPU.
        host_memory: of the machine, likewise; ``None`` is what is free here.
        disk: scratch space, likewise; 0 uses none.
        architecture: a ResNet of torchvision, or ``resnet10``.
        norm, pooling, optimizer: as in ``WholeSlideTraining``.
        mode: only this memory mode; ``None`` chooses the fastest that fits.
        precision: ``bfloat16`` or ``float32``.
        training: plan an update; else scoring.
        tissue: share of the slide that is tissue, in (0, 1].

    Returns:
        The plan; its ``table()`` is readable text.

    Raises:
        ConfigError: an option has a value that cannot work.
        MemoryPlanError: nothing fits; with what each mode would need.
    """
    if optimizer not in OPTIMIZER_STATE:
        raise ConfigError(f"no optimizer {optimizer!r}; choose from: {', '.join(OPTIMIZER_STATE)}")
    if precision not in _DTYPES:
        raise ConfigError(f"no precision {precision!r}; choose from: {', '.join(_DTYPES)}")
    height, width = (size, size) if isinstance(size, int) else size
    free = memory_budgets(torch.device("cpu"))[1] if host_memory is None else 0
    with torch.device("meta"):
        network = stage_network(
            build_backbone(architecture, 2),
            classes=2,
            norm=norm,  # type: ignore[arg-type]
            pooling=pooling,  # type: ignore[arg-type]
        )
    return plan_network(
        network,
        (height, width),
        None if device_memory is None else _bytes(device_memory),
        free if host_memory is None else _bytes(host_memory),
        disk_budget=_bytes(disk),
        dtype=_DTYPES[precision],
        mode=mode,
        training=training,
        state_per_parameter=OPTIMIZER_STATE[optimizer],
        tissue=tissue,
    )


def _bytes(size: int | str) -> int:
    return parse_bytes(size) if isinstance(size, str) else size
