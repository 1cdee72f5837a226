"""What the patch pipeline knows of a slide once its patches are through the network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.explanations import HeatmapCanvas
from wsi.patches import PatchStream
from wsi.streaming.api import Measured


@dataclass(frozen=True, kw_only=True)
class ScoredPatches:
    """What the classifier says of a slide's patches, those that do not decode left out.

    Attributes:
        cells_n2: (N, 2) row and column of each patch.
        embeddings_nd: (N, D); ``None`` where nobody asked for them.
        probability, cam: heatmaps, being laid; ``cam`` stays empty where it was not asked for.
        measured: time and memory.
    """

    cells_n2: NDArray[np.int32]
    probabilities_nc: NDArray[np.float32]
    embeddings_nd: NDArray[np.float32] | None
    probability: HeatmapCanvas
    cam: HeatmapCanvas
    stream: PatchStream
    measured: Measured
