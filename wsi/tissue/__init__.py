"""Finding tissue on slides."""

from wsi.tissue.find import find_tissue
from wsi.tissue.mask import TissueMask, TissueSpec

__all__ = ["TissueMask", "TissueSpec", "find_tissue"]
