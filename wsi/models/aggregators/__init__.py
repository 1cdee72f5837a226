"""From the patches of a slide to the slide's class probabilities.

``SlideAggregator`` is the Protocol; ``load_aggregator`` in ``wsi.models.aggregators.stored`` makes
any of them from a model bundle. This module is free of torch.
"""

from wsi.models.aggregators.base import (
    BACKGROUND,
    SlideAggregator,
    SlideFeatures,
    SlidePrediction,
    slide_classes,
)
from wsi.models.aggregators.heatmap_features import (
    FEATURES,
    class_features,
    feature_names,
    heatmap_features,
)
from wsi.models.aggregators.pooling import TopK, pooling

__all__ = [
    "BACKGROUND",
    "FEATURES",
    "SlideAggregator",
    "SlideFeatures",
    "SlidePrediction",
    "TopK",
    "class_features",
    "feature_names",
    "heatmap_features",
    "pooling",
    "slide_classes",
]
