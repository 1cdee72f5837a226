"""The patch pipeline: tissue, patches, patch classifier, slide-level aggregator."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from wsi.errors import DamagedSlideError, ModelError
from wsi.explanations import HeatmapCanvas, find_hotspots, grad_cam, scale_over_slide
from wsi.heap import trim_heap
from wsi.models.aggregators import SlideAggregator, SlideFeatures, SlidePrediction
from wsi.models.aggregators.stored import aggregator_of, split_state
from wsi.models.backbones import build_backbone
from wsi.models.bundle import load_bundle
from wsi.models.card import ModelCard
from wsi.models.detail import detail_warnings
from wsi.models.engines import ENGINES, Engine, check_images, require_probabilities
from wsi.models.runtime import resolve_device, to_input
from wsi.models.split import SplitClassifier, split_classifier
from wsi.models.stain import change_density, macenko_matrix
from wsi.patches import PatchBatch, PatchGrid, PatchSpec, PatchStream, resolve_grid
from wsi.pipelines._scored_patches import ScoredPatches
from wsi.pipelines.base import (
    describe_memory,
    describe_quality,
    describe_result,
    describe_slide,
    malignancy_warnings,
    quality_warnings,
    unscored,
)
from wsi.progress import Progress, no_progress
from wsi.slides import RGB, SlideReader, require_mpp
from wsi.slides.identity import require_unchanged, slide_digest
from wsi.storage import (
    DamagedRegion,
    HeatmapLayer,
    SlideResult,
    SlideStore,
    spec_digest,
)
from wsi.storage.tissue_store import quality_of, tissue_of
from wsi.streaming.meter import Meter
from wsi.tissue import QualityReport, QualitySpec, TissueMask, TissueSpec

EMBEDDINGS = "embeddings"
"""Kind of artifact, and its array of (N patches, D) float32."""

_BATCH = 32
_CHECKED = 8  # images on which an engine must agree with torch
_TRIM_EVERY = 40  # batches
_CELLS = 4  # heatmap cells along a patch
_READ_THREADS = 2


class PatchPipeline:
    """Scores a slide patch by patch. Made by ``load``."""

    name = "patch"
    engines = ENGINES

    def __init__(
        self,
        card: ModelCard,
        state: Mapping[str, torch.Tensor],
        device: torch.device,
        engine: Engine | None = None,
    ) -> None:
        network = build_backbone(card.architecture, len(card.classes))
        weights, of_aggregator = split_state(state)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(
                f"{card.name}: weights do not fit {card.architecture}: {error}"
            ) from error
        network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = card
        self._parts: SplitClassifier = split_classifier(network, card.input_px)
        self._device = device
        self._engine = engine or Engine(device=device)
        self._trunk = self._engine.forward(self._parts.trunk)
        self._aggregator: SlideAggregator = aggregator_of(card, of_aggregator)
        if self._engine.name != "torch":
            self._require_agreement()

    @classmethod
    def load(cls, bundle: Path, device: str, engine: str = "torch") -> Self:
        card, state = load_bundle(bundle)
        if card.pipeline != cls.name:
            raise ModelError(f"{bundle}: a model of pipeline {card.pipeline}, not {cls.name}")
        where = resolve_device(device)
        made = Engine(
            name=engine, device=where, bundle=bundle, digest=card.weights_sha256, batch=_BATCH
        )
        return cls(card, state, where, made)

    def _require_agreement(self) -> None:
        """See ``require_probabilities``."""
        pixels = check_images(_CHECKED, self.card.input_px)
        images = to_input(pixels, self.card.mean, self.card.std, self._device)
        parts = self._parts
        require_probabilities(self._engine, parts.trunk, parts.head, self._trunk, images)

    @property
    def trunk(self) -> torch.nn.Module:
        """Images to feature maps."""
        return self._parts.trunk

    def classify(self, features: torch.Tensor) -> NDArray[np.float32]:
        """(N, C) probabilities of feature maps."""
        with torch.no_grad():
            values = self._parts.head(features.float()).softmax(1)
        return np.asarray(values.cpu().numpy())

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
        detail_warnings(self.card, slide)  # raises before anything is computed
        progress("tissue", 0.0)
        tissue = tissue_of(slide, store, TissueSpec())
        quality = quality_of(slide, store, tissue, QualitySpec())
        grid = resolve_grid(slide, self.patch_spec(), tissue)
        timings = {"tissue": perf_counter() - started}
        if not len(grid):
            return self._unscored(slide, tissue, timings)
        scoring = perf_counter()
        scored = self._score(
            slide,
            grid,
            self.stain_change(slide, tissue),
            progress,
            embeddings=self._aggregator.needs_embeddings,
            cam=True,
        )
        timings["patches"] = perf_counter() - scoring
        return self._result(slide, tissue, quality, grid, scored, timings)

    def slide_features(
        self, slide: SlideReader, store: SlideStore, progress: Progress = no_progress
    ) -> SlideFeatures | None:
        """What an aggregator is trained on; ``None`` for a slide without tissue.

        It is kept in the store as the artifact ``embeddings``, and read from there the next time.

        Raises:
            MppError, DamagedSlideError, AnalysisCancelledError: as ``analyze``.
            ChangedSlideError: the slide was replaced meanwhile.
        """
        tissue = tissue_of(slide, store, TissueSpec())
        grid = resolve_grid(slide, self.patch_spec(), tissue)
        if not len(grid):
            return None
        key_fields = self._cache_key_fields(slide)
        digest = spec_digest(key_fields)
        if not store.has(EMBEDDINGS, digest):
            change = self.stain_change(slide, tissue)
            scored = self._score(slide, grid, change, progress, embeddings=True, cam=False)
            assert scored.embeddings_nd is not None
            require_unchanged(slide)
            arrays = {
                EMBEDDINGS: scored.embeddings_nd,
                "probabilities": scored.probabilities_nc,
                "cells": scored.cells_n2,
            }
            store.put(EMBEDDINGS, digest, arrays, key_fields)
        kept = store.get(EMBEDDINGS, digest).arrays
        canvas = HeatmapCanvas(grid, len(self.card.classes), _CELLS)
        canvas.add(kept["cells"], kept["probabilities"][:, :, None, None])
        return SlideFeatures(
            classes=self.card.classes,
            probabilities_nc=kept["probabilities"],
            embeddings_nd=kept[EMBEDDINGS],
            probability_chw=canvas.values_chw(),
            heatmap_mpp=canvas.grid.mpp,
        )

    def features_digest(self, slide: SlideReader) -> str:
        """The name under which ``slide_features`` stores a slide's embeddings."""
        return spec_digest(self._cache_key_fields(slide))

    def _cache_key_fields(self, slide: SlideReader) -> dict[str, Any]:
        engine = {} if self._engine.name == "torch" else {"engine": self._engine.name}
        return {
            **engine,
            "model": self.card.weights_sha256,
            "patches": asdict(self.patch_spec()),
            "stain_normalization": self.card.settings.get("stain_normalization", "none"),
            "tissue": asdict(TissueSpec()),
            "slide": [slide.size.width, slide.size.height, slide.mpp and slide.mpp.mean],
            "slide_digest": slide_digest(slide),
        }

    def stain_change(self, slide: SlideReader, tissue: TissueMask) -> Callable[[RGB], RGB] | None:
        """What was done to the stain in training, for this slide."""
        if self.card.settings.get("stain_normalization", "none") == "none":
            return None
        return partial(change_density, matrix_33=macenko_matrix(slide, tissue))

    def _features_of(self, scored: ScoredPatches) -> SlideFeatures:
        return SlideFeatures(
            classes=self.card.classes,
            probabilities_nc=scored.probabilities_nc,
            embeddings_nd=scored.embeddings_nd,
            probability_chw=scored.probability.values_chw(),
            heatmap_mpp=scored.probability.grid.mpp,
        )

    def _score(
        self,
        slide: SlideReader,
        grid: PatchGrid,
        change: Callable[[RGB], RGB] | None,
        progress: Progress,
        *,
        embeddings: bool,
        cam: bool,
    ) -> ScoredPatches:
        classes = len(self.card.classes)
        laid, of_cam = (HeatmapCanvas(grid, classes, _CELLS) for _ in range(2))
        stream = PatchStream(slide, grid, batch_size=_BATCH, threads=_READ_THREADS, change=change)
        parts: list[tuple[NDArray[Any], ...]] = []
        meter, done = Meter(self._device), 0
        for number, batch in enumerate(stream):
            if number % _TRIM_EVERY == 0:
                # The tuned allocator keeps what is freed; left alone it slowly spreads out.
                trim_heap()
            features, values_nc = self._forward(batch)
            laid.add(batch.cells_n2, values_nc[:, :, None, None])
            if cam:
                of_cam.add(batch.cells_n2, self._grad_cam(features, of_cam.patch_cells))
            seen = features.mean((2, 3)).cpu().numpy() if embeddings else values_nc[:, :0]
            parts.append((batch.cells_n2, values_nc, seen))
            done += len(batch.cells_n2)
            progress("patches", (done + len(stream.damaged)) / len(grid))
        if not done:
            raise DamagedSlideError(
                slide.name, f"none of its {len(grid)} tissue patches decodes; scan or copy it again"
            )
        cells_n2, values_nc, seen_nd = (np.concatenate(one) for one in zip(*parts, strict=True))
        return ScoredPatches(
            cells_n2=cells_n2,
            probabilities_nc=values_nc,
            embeddings_nd=seen_nd if embeddings else None,
            probability=laid,
            cam=of_cam,
            stream=stream,
            measured=meter.read(),
        )

    def _forward(self, batch: PatchBatch) -> tuple[torch.Tensor, NDArray[np.float32]]:
        """Feature maps, float32, and (N, C) probabilities of a batch."""
        images = to_input(batch.pixels_nhwc, self.card.mean, self.card.std, self._device)
        # The head is a thousandth of the work: keep it in float32.
        features = self._trunk(images).float()
        return features, self.classify(features)

    def _grad_cam(self, features: torch.Tensor, cells: int) -> NDArray[np.float32]:
        """(N, C, cells, cells) Grad-CAM of a batch."""
        maps = grad_cam(self._parts.head, self._parts.features, features)
        grid, extent = self._parts.grid, self.card.input_px
        rows, columns = (axis.resampling(extent, cells) for axis in (grid.y, grid.x))
        return np.asarray(rows @ maps @ columns.T)

    def _attention(
        self, scored: ScoredPatches, grid: PatchGrid, call: SlidePrediction
    ) -> list[HeatmapLayer]:
        """The aggregator's attention as a layer, where it has any; a class that no slide can have
        gets none of it."""
        if call.attention_nk is None:
            return []
        canvas = HeatmapCanvas(grid, len(self.card.classes), _CELLS)
        values_nc = np.zeros_like(scored.probabilities_nc)
        for column, name in enumerate(call.probabilities):
            values_nc[:, self.card.classes.index(name)] = call.attention_nk[:, column]
        canvas.add(scored.cells_n2, values_nc[:, :, None, None])
        return [HeatmapLayer(kind="attention", values_chw=canvas.values_chw())]

    def _result(
        self,
        slide: SlideReader,
        tissue: TissueMask,
        quality: QualityReport,
        grid: PatchGrid,
        scored: ScoredPatches,
        timings: dict[str, float],
    ) -> SlideResult:
        features = self._features_of(scored)
        call = self._aggregator.aggregate(features)
        values_chw = features.probability_chw
        assert values_chw is not None
        damaged = tuple(
            DamagedRegion(region=grid.region(p.row, p.column), reason=p.reason)
            for p in scored.stream.damaged
        )
        lost = f"{len(damaged)} of {len(grid)} patches could not be decoded and were left out"
        return SlideResult(
            **describe_result(self.name, self.card, slide),
            probabilities=call.probabilities,
            grid=scored.probability.grid,
            layers=(
                HeatmapLayer(kind="probability", values_chw=values_chw),
                HeatmapLayer(kind="gradcam", values_chw=scale_over_slide(scored.cam.values_chw())),
                *self._attention(scored, grid, call),
            ),
            **find_hotspots(
                values_chw,
                scored.probability.grid,
                self.card.classes,
                self.card.malignant_classes,
                tissue,
                threshold=self.card.operating_point,
            ).of_result(),
            damaged=damaged,
            timings_s=timings,
            details={
                **self._details(tissue, grid, scored.probabilities_nc),
                **describe_slide(slide),
                **describe_memory(scored.measured),
                "quality": describe_quality(quality),
            },
            warnings=(
                *slide.warnings,
                *tissue.warnings,
                *detail_warnings(self.card, slide),
                *quality_warnings(quality),
                *malignancy_warnings(self.card),
                *((lost,) if damaged else ()),
            ),
        )

    def _details(
        self, tissue: TissueMask, grid: PatchGrid, probabilities_nc: NDArray[np.float32]
    ) -> dict[str, Any]:
        counts = np.bincount(probabilities_nc.argmax(1), minlength=len(self.card.classes))
        return {
            "patches": len(grid),
            "patch_mpp": grid.spec.mpp,
            "patch_px": grid.spec.size_px,
            "engine": self._engine.name,
            "tissue_share": float(tissue.mask.mean()),
            "patches_by_class": {
                name: int(count) for name, count in zip(self.card.classes, counts, strict=True)
            },
        }

    def _unscored(
        self, slide: SlideReader, tissue: TissueMask, timings: dict[str, float]
    ) -> SlideResult:
        spec = self.patch_spec()
        area_mm2 = tissue.area_px * require_mpp(slide).mean ** 2 / 1e6
        too_little = (
            f"there are {area_mm2:.3g} mm2 of tissue, but no patch of {spec.size_px} px at "
            f"{spec.mpp:g} um/px is tissue to {spec.min_tissue:.0%}: a person must look"
        )
        return SlideResult(
            **describe_result(self.name, self.card, slide),
            **unscored(slide, tissue, too_little),
            timings_s=timings,
        )
