"""The whole-slide pipeline: one ResNet over the slide as one image, trained from slide labels."""

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models import ResNet

from wsi.data.slide_image import SlideSource, fitted_mpp
from wsi.errors import ModelError
from wsi.explanations import find_hotspots, grad_cam, scale_over_slide
from wsi.geometry import Point
from wsi.models.backbones import build_backbone
from wsi.models.bundle import load_bundle
from wsi.models.card import ModelCard
from wsi.models.detail import detail_warnings
from wsi.models.engines import Engine
from wsi.models.runtime import fast_dtype, resolve_device
from wsi.networks import EmbeddingHead, StagedNetwork, stage_network
from wsi.pipelines._staged_engine import stage_runner_of
from wsi.pipelines.base import (
    describe_memory,
    describe_quality,
    describe_result,
    describe_slide,
    malignancy_warnings,
    quality_warnings,
    unscored,
)
from wsi.planning import plan
from wsi.planning.budgets import memory_budgets, scratch_budget
from wsi.progress import Progress, no_progress
from wsi.slides import SlideReader
from wsi.storage import HeatmapGrid, HeatmapLayer, SlideResult, SlideStore
from wsi.storage.tissue_store import quality_of, tissue_of
from wsi.streaming import Inference, RunOptions
from wsi.tissue import QualityReport, QualitySpec, TissueMask, TissueSpec


class WholeSlidePipeline:
    """Scores a slide as one image. Made by ``load``."""

    name = "whole-slide"
    engines = ("torch", "compile", "openvino")

    def __init__(
        self,
        card: ModelCard,
        state: Mapping[str, torch.Tensor],
        device: torch.device,
        engine: Engine | None = None,
    ) -> None:
        self.card = card
        self._engine = engine or Engine(device=device)
        self.network = build_network(card, state).to(device).eval()
        dtype = fast_dtype(device)
        self._run = RunOptions(
            device=str(device),
            autocast=None if dtype == torch.float32 else dtype,
            stage_runner=stage_runner_of(self._engine, card),
        )

    @classmethod
    def load(cls, bundle: Path, device: str, engine: str = "torch") -> Self:
        card, state = load_bundle(bundle)
        if card.pipeline != cls.name:
            raise ModelError(f"{bundle}: a model of pipeline {card.pipeline}, not {cls.name}")
        where = resolve_device(device)
        made = Engine(name=engine, device=where, bundle=bundle, digest=card.weights_sha256)
        return cls(card, state, where, made)

    def analyze(
        self, slide: SlideReader, store: SlideStore, progress: Progress = no_progress
    ) -> SlideResult:
        """Score one slide; see ``Pipeline.analyze``."""
        started = perf_counter()
        detail_warnings(self.card, slide)  # raises before anything is computed
        progress("tissue", 0.0)
        tissue = tissue_of(slide, store, TissueSpec())
        quality = quality_of(slide, store, tissue, QualitySpec())
        timings = {"tissue": perf_counter() - started}
        if tissue.is_empty:
            told = unscored(slide, tissue)
            return SlideResult(
                **describe_result(self.name, self.card, slide), **told, timings_s=timings
            )
        source = SlideSource(
            slide,
            self.card.mpp or fitted_mpp(slide, self.card.input_px),
            tissue=tissue,
            mean=self.card.mean,
            std=self.card.std,
        )
        progress("network", 0.0)
        networking = perf_counter()
        device_bytes, host_bytes = memory_budgets(self._run.torch_device)
        planned = plan(
            self.network,
            source.size,
            device_bytes,
            host_bytes,
            disk_budget=scratch_budget(),
            dtype=self._run.autocast,
            training=False,
            tissue=source.tissue_share,
        )
        inference = planned.make_mode(self._run).infer(self.network, source)
        timings["network"] = perf_counter() - networking
        progress("heatmaps", 0.0)
        return self._result(slide, source, tissue, quality, inference, planned.mode, timings)

    def _result(
        self,
        slide: SlideReader,
        source: SlideSource,
        tissue: TissueMask,
        quality: QualityReport,
        inference: Inference,
        memory_mode: str,
        timings: dict[str, float],
    ) -> SlideResult:
        started = perf_counter()
        assert inference.embedding is not None
        classes = self.card.classes
        grid = self._grid(source, inference.embedding)
        local_chw, cam_chw = self._maps(inference.embedding)
        outside = ~tissue_cells(tissue, grid)
        local_chw[:, outside] = np.nan
        cam_chw[:, outside] = np.nan
        timings["heatmaps"] = perf_counter() - started
        values = inference.logits_nc[0].float().softmax(0).tolist()
        return SlideResult(
            **describe_result(self.name, self.card, slide),
            probabilities=dict(zip(classes, values, strict=True)),
            grid=grid,
            layers=(
                HeatmapLayer(kind="probability", values_chw=local_chw),
                HeatmapLayer(kind="gradcam", values_chw=scale_over_slide(cam_chw)),
            ),
            **find_hotspots(
                local_chw,
                grid,
                classes,
                self.card.malignant_classes,
                tissue,
                threshold=self.card.operating_point,
            ).of_result(),
            timings_s=timings,
            details={
                "input_px": [source.size[1], source.size[0]],
                "input_mpp": source.mpp,
                "tissue_share": float(tissue.mask.mean()),
                "memory_mode": memory_mode,
                "engine": self._engine.name,
                **describe_slide(slide),
                **describe_memory(inference.measured),
                "quality": describe_quality(quality),
            },
            warnings=(
                *slide.warnings,
                *detail_warnings(self.card, slide),
                *tissue.warnings,
                *quality_warnings(quality),
                *malignancy_warnings(self.card),
            ),
        )

    def _maps(self, embedding: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(C, h, w) of what each cell alone would be called, and Grad-CAM."""
        device = self._run.torch_device
        embedding = embedding.to(device).float()
        _, depth, rows, columns = embedding.shape
        cells_nd = embedding[0].permute(1, 2, 0).reshape(-1, depth)
        with torch.no_grad():
            local = self.network.classify_pooled(cells_nd).softmax(1)
        local_chw = local.T.reshape(-1, rows, columns).cpu().numpy().astype(np.float32)
        head = EmbeddingHead(self.network)
        return local_chw, grad_cam(head, head.activation, embedding)[0]

    def _grid(self, source: SlideSource, embedding: torch.Tensor) -> HeatmapGrid:
        """Each cell lies around the centre of what its embedding depends on."""
        receptive_field = self.network.receptive_field
        stride, edge = (
            receptive_field.stride,
            receptive_field.first_centre - receptive_field.stride / 2,
        )
        return HeatmapGrid(
            origin_level0=Point(edge * source.scale[0], edge * source.scale[1]),
            cell_level0=(stride * source.scale[0], stride * source.scale[1]),
            shape=(embedding.shape[2], embedding.shape[3]),
            mpp=stride * source.mpp,
        )


def build_network(card: ModelCard, state: Mapping[str, torch.Tensor]) -> StagedNetwork:
    """The staged network that a card describes, with these weights.

    Raises:
        ModelError: the weights do not fit.
    """
    network = stage_network(
        cast(ResNet, build_backbone(card.architecture, len(card.classes))),
        classes=len(card.classes),
        pooling=card.settings.get("pooling", "average"),
        norm=card.settings.get("norm", "frozen"),
    )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{card.name}: weights do not fit {card.architecture}: {error}") from error
    return network


def tissue_cells(tissue: TissueMask, grid: HeatmapGrid) -> NDArray[np.bool_]:
    """(rows, columns): whether a heatmap cell holds any tissue."""
    rows, columns = np.indices(grid.shape)
    width, height = grid.cell_level0
    origins_n2 = np.stack(
        [
            grid.origin_level0.x + columns.ravel() * width,
            grid.origin_level0.y + rows.ravel() * height,
        ],
        axis=1,
    )
    share = tissue.shares(origins_n2, width, height)
    return np.asarray((share > 0).reshape(grid.shape))
