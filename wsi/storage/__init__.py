"""Results and derived data of a slide, on Zarr.

``wsi.storage.tissue_store`` is not re-exported: it brings the image libraries, which an API that
only reads results can do without.
"""

from wsi.storage.geojson import hotspots_to_geojson
from wsi.storage.overlay import colorize, render_overlay
from wsi.storage.result_store import (
    analysis_id,
    find_result,
    get_result,
    heatmap_path,
    put_result,
    result_to_json,
)
from wsi.storage.results import (
    DamagedRegion,
    HeatmapGrid,
    HeatmapLayer,
    Hotspot,
    LayerKind,
    Outcome,
    SlideResult,
)
from wsi.storage.store import Artifact, SlideStore, spec_digest

__all__ = [
    "Artifact",
    "DamagedRegion",
    "HeatmapGrid",
    "HeatmapLayer",
    "Hotspot",
    "LayerKind",
    "Outcome",
    "SlideResult",
    "SlideStore",
    "analysis_id",
    "colorize",
    "find_result",
    "get_result",
    "heatmap_path",
    "hotspots_to_geojson",
    "put_result",
    "render_overlay",
    "result_to_json",
    "spec_digest",
]
