"""Finding tissue on slides and judging its quality."""

from wsi.tissue.find import find_tissue
from wsi.tissue.mask import METHODS, TissueMask, TissueSpec
from wsi.tissue.picture import LAYER_RGB, tissue_picture
from wsi.tissue.quality import LAYERS, QualityReport, QualitySpec, find_quality

__all__ = [
    "LAYERS",
    "LAYER_RGB",
    "METHODS",
    "QualityReport",
    "QualitySpec",
    "TissueMask",
    "TissueSpec",
    "find_quality",
    "find_tissue",
    "tissue_picture",
]
