"""A pipeline without a network: the mean darkness of the tissue. For tests of queue and service.

Behaviour beyond that is asked for by the bundle's settings: seconds of work, harm at a stage.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any, Self

import numpy as np

from wsi.errors import DamagedSlideError
from wsi.geometry import Point
from wsi.models.card import ModelCard, read_card
from wsi.progress import Progress
from wsi.slides import SlideReader, require_mpp, thumbnail
from wsi.storage import HeatmapGrid, HeatmapLayer, Hotspot, SlideResult, SlideStore


def write_bundle(models_dir: Path, name: str = "toy", pipeline: str = "patch", **more: Any) -> None:
    """A bundle that ``load`` understands; ``more`` are its settings."""
    folder = models_dir / name
    folder.mkdir(parents=True)
    card = ModelCard(
        name=name,
        pipeline=pipeline,
        architecture="none",
        classes=("benign", "cancer"),
        mpp=0.5,
        input_px=64,
        settings=more,
        weights_sha256="0" * 64,
        created_at="2026-01-01T00:00:00+00:00",
    )
    (folder / "model.json").write_text(card.to_json())


class ToyPipeline:
    """Looks at a thumbnail; the darker, the more cancer."""

    def __init__(self, card: ModelCard) -> None:
        self.name = card.pipeline
        self._card = card

    @classmethod
    def load(cls, bundle: Path, device: str) -> Self:
        return cls(read_card(bundle))

    def analyze(self, slide: SlideReader, store: SlideStore, progress: Progress) -> SlideResult:
        """See ``wsi.pipelines.base.Pipeline``."""
        require_mpp(slide)
        progress("looking", 0.1)
        self._work(slide, progress)
        pixels = thumbnail(slide, 64)
        dark = (1 - pixels.astype(np.float32).mean(axis=2) / 255).clip(0, 1)
        dark[0, 0] = np.nan
        rows, columns = dark.shape
        mpp = slide.mpp.x if slide.mpp else 1.0
        cell = (slide.size.width / columns, slide.size.height / rows)
        grid = HeatmapGrid(
            origin_level0=Point(0, 0), cell_level0=cell, shape=(rows, columns), mpp=mpp * cell[0]
        )
        score = float(np.nanmean(dark))
        return SlideResult(
            slide=slide.name,
            pipeline=self.name,
            model=self._card.name,
            model_digest=self._card.weights_sha256,
            classes=self._card.classes,
            probabilities={"benign": 1 - score, "cancer": score},
            grid=grid,
            layers=(HeatmapLayer(kind="probability", values_chw=np.stack([1 - dark, dark])),),
            hotspots=(
                Hotspot(
                    polygon_level0=((0.0, 0.0), (50.0, 0.0), (50.0, 50.0), (0.0, 0.0)),
                    centre_level0=Point(25, 25),
                    class_name="cancer",
                    score=score,
                    mean_score=score,
                    area_um2=100.0,
                ),
            ),
            details={"slide_mpp": [slide.mpp.x, slide.mpp.y]} if slide.mpp else {},
            warnings=slide.warnings,
        )

    def _work(self, slide: SlideReader, progress: Progress) -> None:
        wanted = self._card.settings
        if wanted.get("kill_on") == slide.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if wanted.get("raises"):
            raise ZeroDivisionError(wanted["raises"])
        if wanted.get("damaged") or wanted.get("damaged_name") == slide.name:
            raise DamagedSlideError(slide.name, "made so by the test")
        if wanted.get("allocate_on") == slide.name:
            np.ones(int(wanted["allocate_bytes"]), np.uint8)
        if wanted.get("deaf_s"):
            time.sleep(float(wanted["deaf_s"]))
        steps = int(wanted.get("steps", 0))
        for step in range(steps):
            time.sleep(float(wanted.get("step_s", 0.05)))
            progress("working", step / steps)


def load(name: str, bundle: Path, device: str) -> ToyPipeline:
    """What ``WSI_PIPELINE_LOADER`` names."""
    return ToyPipeline.load(bundle, device)
