"""What a network is made of: stages with known receptive fields, norms, pooling, exact layers."""

from wsi.networks.norms import NormKind
from wsi.networks.pooling import PoolingKind
from wsi.networks.staged import EmbeddingHead, Stage, StagedNetwork, stage_network

__all__ = [
    "EmbeddingHead",
    "NormKind",
    "PoolingKind",
    "Stage",
    "StagedNetwork",
    "stage_network",
]
