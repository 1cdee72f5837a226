"""Why a pipeline scored as it did: Grad-CAM, heatmaps over the slide, hotspots."""

from wsi.explanations.canvas import HeatmapCanvas
from wsi.explanations.gradcam import grad_cam, scale_over_slide
from wsi.explanations.hotspots import Hotspots, find_hotspots

__all__ = ["HeatmapCanvas", "Hotspots", "find_hotspots", "grad_cam", "scale_over_slide"]
