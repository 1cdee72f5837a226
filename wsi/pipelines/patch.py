"""The patch pipeline: tissue, patches, patch classifier, slide-level aggregator."""

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from wsi.errors import DamagedSlideError, ModelError
from wsi.explanations import HeatmapCanvas, find_hotspots, grad_cam, scale_over_slide
from wsi.models.aggregators import SlideAggregator, TopK, slide_classes
from wsi.models.backbones import build_backbone
from wsi.models.bundle import load_bundle
from wsi.models.card import ModelCard
from wsi.models.runtime import autocast, fast_dtype, resolve_device, to_input
from wsi.models.split import SplitClassifier, split_classifier
from wsi.patches import PatchBatch, PatchGrid, PatchSpec, PatchStream, resolve_grid
from wsi.pipelines.base import describe_quality, quality_warnings
from wsi.progress import Progress, no_progress
from wsi.slides import SlideReader
from wsi.storage import (
    DamagedRegion,
    HeatmapLayer,
    SlideResult,
    SlideStore,
    quality_of,
    tissue_of,
)
from wsi.tissue import QualityReport, QualitySpec, TissueMask, TissueSpec

_BATCH = 32
_CELLS = 4  # heatmap cells along a patch
_READ_THREADS = 2


class PatchPipeline:
    """Scores a slide patch by patch. Made by ``load``."""

    name = "patch"

    def __init__(
        self, card: ModelCard, state: Mapping[str, torch.Tensor], device: torch.device
    ) -> None:
        network = build_backbone(card.architecture, len(card.classes))
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError(
                f"{card.name}: weights do not fit {card.architecture}: {error}"
            ) from error
        network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = card
        self._parts: SplitClassifier = split_classifier(network)
        self._device = device
        self._dtype = fast_dtype(device)
        self._aggregator: SlideAggregator = TopK(int(card.settings.get("top_k", 10)))

    @classmethod
    def load(cls, bundle: Path, device: str) -> Self:
        card, state = load_bundle(bundle)
        if card.pipeline != cls.name:
            raise ModelError(f"{bundle}: a model of pipeline {card.pipeline}, not {cls.name}")
        return cls(card, state, resolve_device(device))

    def patch_spec(self) -> PatchSpec:
        """The patches this model wants."""
        return PatchSpec(
            mpp=self.card.mpp,
            size_px=self.card.input_px,
            overlap_px=int(self.card.settings.get("overlap_px", 0)),
            min_tissue=float(self.card.settings.get("min_tissue", 0.1)),
        )

    def analyze(
        self, slide: SlideReader, store: SlideStore, progress: Progress = no_progress
    ) -> SlideResult:
        """Score one slide; see ``Pipeline.analyze``."""
        started = perf_counter()
        progress("tissue", 0.0)
        tissue = tissue_of(slide, store, TissueSpec())
        quality = quality_of(slide, store, tissue, QualitySpec())
        grid = resolve_grid(slide, self.patch_spec(), tissue)
        timings = {"tissue": perf_counter() - started}
        if not len(grid):
            return self._no_tissue(slide, timings)
        scoring = perf_counter()
        canvases, probabilities_nc, stream = self._score(slide, grid, progress)
        timings["patches"] = perf_counter() - scoring
        if not len(probabilities_nc):
            raise DamagedSlideError(
                slide.name, f"none of its {len(grid)} tissue patches decodes; scan or copy it again"
            )
        return self._result(
            slide, tissue, quality, grid, canvases, probabilities_nc, stream, timings
        )

    def _score(
        self, slide: SlideReader, grid: PatchGrid, progress: Progress
    ) -> tuple[tuple[HeatmapCanvas, HeatmapCanvas], NDArray[np.float32], PatchStream]:
        classes = len(self.card.classes)
        probability = HeatmapCanvas(grid, classes, _CELLS)
        cam = HeatmapCanvas(grid, classes, _CELLS)
        stream = PatchStream(slide, grid, batch_size=_BATCH, threads=_READ_THREADS)
        scores: list[NDArray[np.float32]] = []
        done = 0
        for batch in stream:
            values_nc, maps_nchw = self._forward(batch, cam.patch_cells)
            probability.add(batch.cells_n2, values_nc[:, :, None, None])
            cam.add(batch.cells_n2, maps_nchw)
            scores.append(values_nc)
            done += len(batch.cells_n2)
            progress("patches", (done + len(stream.damaged)) / len(grid))
        everything = np.concatenate(scores) if scores else np.empty((0, classes), np.float32)
        return (probability, cam), everything, stream

    def _forward(
        self, batch: PatchBatch, cells: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, C) probabilities and (N, C, cells, cells) Grad-CAM of a batch."""
        images = to_input(batch.pixels_nhwc, self.card.mean, self.card.std, self._device)
        with torch.no_grad(), autocast(self._device, self._dtype):
            features = self._parts.trunk(images)
        # The head is a thousandth of the work: keep it in float32.
        features = features.float()
        with torch.no_grad():
            values = self._parts.head(features).softmax(1)
        maps = torch.from_numpy(grad_cam(self._parts.head, self._parts.features, features))
        maps = functional.interpolate(maps, size=(cells, cells), mode="bilinear", antialias=True)
        return values.cpu().numpy(), maps.numpy()

    def _result(
        self,
        slide: SlideReader,
        tissue: TissueMask,
        quality: QualityReport,
        grid: PatchGrid,
        canvases: tuple[HeatmapCanvas, HeatmapCanvas],
        probabilities_nc: NDArray[np.float32],
        stream: PatchStream,
        timings: dict[str, float],
    ) -> SlideResult:
        classes = self.card.classes
        probability, cam = canvases
        values_chw = probability.values_chw()
        damaged = tuple(
            DamagedRegion(region=grid.region(p.row, p.column), reason=p.reason)
            for p in stream.damaged
        )
        lost = f"{len(damaged)} of {len(grid)} patches could not be decoded and were left out"
        return SlideResult(
            **self._identity(slide),
            probabilities=self._aggregator.slide_probabilities(probabilities_nc, classes),
            grid=probability.grid,
            layers=(
                HeatmapLayer(kind="probability", values_chw=values_chw),
                HeatmapLayer(kind="gradcam", values_chw=scale_over_slide(cam.values_chw())),
            ),
            hotspots=find_hotspots(
                values_chw, probability.grid, classes, wanted=slide_classes(classes)[1:]
            ),
            damaged=damaged,
            timings_s=timings,
            details={
                **self._details(tissue, grid, probabilities_nc),
                "quality": describe_quality(quality),
            },
            warnings=(*quality_warnings(quality), *((lost,) if damaged else ())),
        )

    def _details(
        self, tissue: TissueMask, grid: PatchGrid, probabilities_nc: NDArray[np.float32]
    ) -> dict[str, Any]:
        counts = np.bincount(probabilities_nc.argmax(1), minlength=len(self.card.classes))
        return {
            "patches": len(grid),
            "patch_mpp": grid.spec.mpp,
            "patch_px": grid.spec.size_px,
            "tissue_share": float(tissue.mask.mean()),
            "patches_by_class": {
                name: int(count) for name, count in zip(self.card.classes, counts, strict=True)
            },
        }

    def _no_tissue(self, slide: SlideReader, timings: dict[str, float]) -> SlideResult:
        return SlideResult(
            **self._identity(slide),
            probabilities={},
            outcome="no_tissue",
            timings_s=timings,
            warnings=("no tissue was found on this slide: nothing was scored",),
        )

    def _identity(self, slide: SlideReader) -> dict[str, Any]:
        return {
            "slide": slide.name,
            "pipeline": self.name,
            "model": self.card.name,
            "model_digest": self.card.weights_sha256,
            "classes": self.card.classes,
        }


PIPELINE = PatchPipeline
