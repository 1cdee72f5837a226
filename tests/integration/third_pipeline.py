"""A third pipeline, whole and in one file: how dark the slide is. For tests of the registry."""

from pathlib import Path
from typing import Self

import numpy as np

from wsi.geometry import Point
from wsi.models.card import ModelCard, read_card
from wsi.progress import Progress
from wsi.slides import SlideReader, require_mpp, thumbnail
from wsi.storage import HeatmapGrid, HeatmapLayer, SlideResult, SlideStore


class DarknessPipeline:
    """The darker, the more cancer."""

    name = "third"

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    @classmethod
    def load(cls, bundle: Path, device: str) -> Self:
        return cls(read_card(bundle))

    def analyze(self, slide: SlideReader, store: SlideStore, progress: Progress) -> SlideResult:
        """See ``wsi.pipelines.base.Pipeline``."""
        mpp = require_mpp(slide)
        progress("looking", 0.5)
        dark_hw = (1 - thumbnail(slide, 64).mean(2) / 255).astype(np.float32)
        cell = (slide.size.width / dark_hw.shape[1], slide.size.height / dark_hw.shape[0])
        score = float(dark_hw.mean())
        return SlideResult(
            slide=slide.name,
            pipeline=self._card.pipeline,
            model=self._card.name,
            model_digest=self._card.weights_sha256,
            classes=("benign", "cancer"),
            probabilities={"benign": 1 - score, "cancer": score},
            grid=HeatmapGrid(
                origin_level0=Point(0, 0),
                cell_level0=cell,
                shape=(dark_hw.shape[0], dark_hw.shape[1]),
                mpp=mpp.x * cell[0],
            ),
            layers=(HeatmapLayer(kind="darkness", values_chw=np.stack([1 - dark_hw, dark_hw])),),
        )
