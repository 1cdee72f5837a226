"""What an analysis of one slide yields: the same for every pipeline, free of torch.

Heatmaps lie on one grid: row ``r``, column ``c`` covers the level-0 rectangle of
``HeatmapGrid.cell``. Values are in [0, 1]; NaN says "not looked at" (no tissue, damaged tile).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Point, Region
from wsi.malignancy import ALL_MALIGNANT, malignant_classes, suspicion

Outcome: TypeAlias = Literal["scored", "no_tissue", "tissue_unclear"]
"""What became of a slide: see ``SlideResult.outcome``."""

LayerKind: TypeAlias = str
"""``probability``, ``gradcam``, ``attention``, or what a pipeline of its own names: letters, digits
and dashes, for it becomes part of file names and addresses. Fusion puts the member before it:
``patch-gradcam``."""


def _adds_up(kind: LayerKind) -> bool:
    """Probabilities of classes add up; how much a network looked at something does not."""
    return kind.split("-")[-1] == "probability"


@dataclass(frozen=True, kw_only=True)
class HeatmapGrid:
    """Where the cells of a heatmap lie.

    Attributes:
        origin_level0: top left of cell (0, 0), level-0 pixels.
        cell_level0: width and height of a cell, level-0 pixels.
        shape: (rows, columns).
        mpp: micrometres per cell edge (x), the "pixel size" of the heatmap as an image.
    """

    origin_level0: Point
    cell_level0: tuple[float, float]
    shape: tuple[int, int]
    mpp: float

    def cell(self, row: int, column: int) -> Region:
        """The level-0 rectangle of one cell."""
        width, height = self.cell_level0
        return Region(
            self.origin_level0.x + column * width,
            self.origin_level0.y + row * height,
            width,
            height,
        )


@dataclass(frozen=True, kw_only=True)
class HeatmapLayer:
    """One kind of heatmap for each class.

    Attributes:
        kind: what the values mean.
        values_chw: (classes, rows, columns) float32 in [0, 1], NaN where nothing was looked at.
    """

    kind: LayerKind
    values_chw: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Hotspot:
    """A connected area of high score, most suspicious first in a result.

    Attributes:
        polygon_level0: closed outer ring of (x, y), level-0 pixels, inside the slide.
        centre_level0: a point inside, as near its middle as there is one, level-0 pixels.
        class_name: the class whose score is high.
        score: highest value inside; of a malignant class, that of all malignant ones together.
        mean_score: mean value inside, likewise.
        area_um2: of the tissue inside the outline, without its holes, square micrometres.
        holes_level0: closed rings inside the outline that do not belong to the area.
    """

    polygon_level0: tuple[tuple[float, float], ...]
    centre_level0: Point
    class_name: str
    score: float
    mean_score: float
    area_um2: float
    holes_level0: tuple[tuple[tuple[float, float], ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class DamagedRegion:
    """A level-0 rectangle that could not be decoded and was left out."""

    region: Region
    reason: str


@dataclass(frozen=True, kw_only=True)
class SlideResult:
    """One pipeline's answer for one slide.

    Attributes:
        slide: name of the slide.
        pipeline: the pipeline's name in the registry.
        model: the model bundle's name.
        model_digest: SHA-256 of its weights.
        classes: class names, in the order of the arrays.
        probabilities: slide-level probability of each class, summing to 1; empty where ``outcome``
            is not ``"scored"``.
        outcome: ``"scored"``; ``"no_tissue"`` where the slide is blank; ``"tissue_unclear"`` where
            something is visible that was not recognized as tissue, or too little of it to score:
            a person must look, and the first warning says at what.
        grid: where the heatmaps lie; ``None`` without tissue.
        layers: heatmaps.
        hotspots: most suspicious first; at most so many as a person would look at.
        hotspot_total: how many there are in all; ``None`` in results that did not count them.
        hotspot_area_um2: of all of them together, those of one class after the other; tissue.
        hotspot_threshold: score from which a cell belongs to a hotspot.
        malignant: malignant classes, most severe first; ``None`` where the model did not say.
        damaged: what could not be read and was left out.
        timings_s: seconds by stage.
        details: what else the pipeline wants to say (tissue share, patch count, quality).
        warnings: sentences for the reader.
        slide_digest: ``wsi.slides.identity.slide_digest`` of what was scored; empty in results of
            earlier versions, which are shown but never used again.
    """

    slide: str
    pipeline: str
    model: str
    model_digest: str
    classes: tuple[str, ...]
    probabilities: Mapping[str, float]
    outcome: Outcome = "scored"
    grid: HeatmapGrid | None = None
    layers: tuple[HeatmapLayer, ...] = ()
    hotspots: tuple[Hotspot, ...] = ()
    hotspot_total: int | None = None
    hotspot_area_um2: float | None = None
    hotspot_threshold: float | None = None
    malignant: tuple[str, ...] | None = None
    damaged: tuple[DamagedRegion, ...] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    slide_digest: str = ""

    def layer(self, kind: LayerKind) -> HeatmapLayer | None:
        """The layer of this kind, if the pipeline made one."""
        return next((layer for layer in self.layers if layer.kind == kind), None)

    @property
    def malignant_classes(self) -> tuple[str, ...]:
        """What ``malignant`` says, else what the names of the classes do; most severe first."""
        return malignant_classes(self.classes, self.malignant)

    @property
    def suspicion(self) -> float | None:
        """Probability that the slide is malignant: the sum over the malignant classes.

        ``None`` where nothing was scored, or no class is known to be malignant.
        """
        return suspicion(self.probabilities, self.malignant_classes)

    def map_names(self, kind: LayerKind) -> tuple[str, ...]:
        """The maps of a layer: one a class, and of probabilities the malignant ones together."""
        several = len(self.malignant_classes) > 1 and ALL_MALIGNANT not in self.classes
        return (*self.classes, ALL_MALIGNANT) if several and _adds_up(kind) else self.classes

    def map_of(self, kind: LayerKind, name: str) -> NDArray[np.float32] | None:
        """(rows, columns) of one of ``map_names``; ``None`` where there is no such map."""
        layer = self.layer(kind)
        if layer is None or name not in self.map_names(kind):
            return None
        added = [name] if name in self.classes else self.malignant_classes
        rows = [self.classes.index(one) for one in added]
        values_hw: NDArray[np.float32] = layer.values_chw[rows].sum(axis=0).clip(0, 1)
        return values_hw

    def first_map(self, kind: LayerKind) -> str:
        """The map to look at first: all that is malignant, else the last class."""
        names = self.map_names(kind)
        if ALL_MALIGNANT in names[len(self.classes) :]:
            return ALL_MALIGNANT
        return next(iter(self.malignant_classes), names[-1])
