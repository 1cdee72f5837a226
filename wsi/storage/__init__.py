"""Results and derived data of a slide, on Zarr."""

from wsi.storage.result_store import get_result, heatmap_path, put_result, result_to_json
from wsi.storage.results import (
    DamagedRegion,
    HeatmapGrid,
    HeatmapLayer,
    Hotspot,
    LayerKind,
    SlideResult,
)
from wsi.storage.store import Artifact, SlideStore, spec_digest
from wsi.storage.tissue_store import tissue_of

__all__ = [
    "Artifact",
    "DamagedRegion",
    "HeatmapGrid",
    "HeatmapLayer",
    "Hotspot",
    "LayerKind",
    "SlideResult",
    "SlideStore",
    "get_result",
    "heatmap_path",
    "put_result",
    "result_to_json",
    "spec_digest",
    "tissue_of",
]
