"""Preparing a patch model for int8: calibrated on some patches, judged on others."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wsi.errors import DatasetError, ModelError
from wsi.models.detail import detail_warnings
from wsi.models.engines import Engine
from wsi.models.openvino import conversion_folder, keep, load_openvino, quantize, run_model
from wsi.models.runtime import to_input
from wsi.patches import PatchStream, resolve_grid
from wsi.pipelines.patch import PatchPipeline
from wsi.slides import SlideReader, open_slide
from wsi.tissue import TissueSpec, find_tissue

MEAN_TOLERANCE = 0.02
"""Largest mean difference of probabilities from torch's on patches that calibrated nothing."""

_BATCH = 16
_LEAST = 2 * _BATCH


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """int8 against torch, on patches that calibrated nothing.

    Attributes:
        patches: how many were compared; as many others calibrated.
        mean, largest: difference of a probability.
        same_class: share of patches that both call the same.
        warnings: sentences for people about the slides.
    """

    patches: int
    mean: float
    largest: float
    same_class: float
    warnings: tuple[str, ...] = ()


def quantize_patch_model(
    bundle: Path,
    slides: Sequence[Path],
    *,
    mpp: float | None = None,
    force_mpp: bool = False,
    patches: int = 320,
) -> Agreement:
    """Write the int8 conversion of a patch model beside its weights.

    Args:
        bundle: a patch model.
        slides: like those that it will score; best of its training split.
        mpp: of slides that state none.
        force_mpp: ``mpp`` counts also where a slide states another one.
        patches: taken from all slides together; half calibrate, half judge.

    Raises:
        MppError: a slide has no usable resolution, or is too coarse for the model.
        DatasetError: the slides have too few tissue patches.
        ModelError: int8 is not accurate enough for this model; nothing is written.
        MissingExtraError: OpenVINO is not installed.
    """
    library = load_openvino()
    pipeline = PatchPipeline.load(bundle, "cpu")
    card = pipeline.card
    warnings: list[str] = []
    opened = (open_slide(path, mpp=mpp, force_mpp=force_mpp) for path in slides)
    pixels_nhwc = _sample(pipeline, opened, -(-patches // len(slides)), warnings)
    # Every second one, so that each slide is on both sides.
    calibrate, judge = pixels_nhwc[::2], pixels_nhwc[1::2]
    model = quantize(pipeline.trunk, [batch.numpy() for batch in _inputs(pipeline, calibrate)])
    run = run_model(model)
    plain = Engine().forward(pipeline.trunk)
    expected, got = (
        np.concatenate([pipeline.classify(run_one(b)) for b in _inputs(pipeline, judge)])
        for run_one in (plain, run)
    )
    found = Agreement(
        patches=len(judge),
        mean=float(np.abs(got - expected).mean()),
        largest=float(np.abs(got - expected).max()),
        same_class=float((got.argmax(1) == expected.argmax(1)).mean()),
        warnings=tuple(warnings),
    )
    if found.mean > MEAN_TOLERANCE:
        raise ModelError(
            f"{bundle}: int8 is not accurate enough for this model: probabilities differ by "
            f"{found.mean:.3f} on average ({MEAN_TOLERANCE} is allowed); use the engine openvino"
        )
    folder = conversion_folder(bundle, card.weights_sha256, "trunk", int8=True)
    shutil.rmtree(folder, ignore_errors=True)
    keep(library, model, folder)
    if not folder.exists():
        raise ModelError(f"{folder}: cannot be written")
    return found


def _inputs(pipeline: PatchPipeline, pixels_nhwc: NDArray[np.uint8]) -> list[torch.Tensor]:
    card = pipeline.card
    return [
        to_input(pixels_nhwc[at : at + _BATCH], card.mean, card.std, torch.device("cpu"))
        for at in range(0, len(pixels_nhwc), _BATCH)
    ]


def _sample(
    pipeline: PatchPipeline, slides: Iterable[SlideReader], share: int, warnings: list[str]
) -> NDArray[np.uint8]:
    """(N, H, W, 3): the same patches each time, as the pipeline would read them.

    Args:
        slides: open; each is closed after use.
        share: patches a slide.
        warnings: what is to be told of the slides is added to it.
    """
    rng = np.random.default_rng(0)
    taken: list[NDArray[np.uint8]] = []
    for opened in slides:
        with opened as slide:
            told = (*slide.warnings, *detail_warnings(pipeline.card, slide))
            warnings += [f"{slide.name}: {text}" for text in told]
            tissue = find_tissue(slide, TissueSpec())
            grid = resolve_grid(slide, pipeline.patch_spec(), tissue)
            chosen = np.sort(rng.permutation(len(grid))[:share])
            few = replace(grid, cells_n2=grid.cells_n2[chosen])
            change = pipeline.stain_change(slide, tissue)
            taken += [b.pixels_nhwc for b in PatchStream(slide, few, change=change)]
    count = sum(map(len, taken))
    if count < _LEAST:
        raise DatasetError(
            f"the slides have {count} tissue patches; int8 needs {_LEAST} or more: give more slides"
        )
    return np.concatenate(taken)
