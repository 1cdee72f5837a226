"""A classifier as trunk (pixels to feature map) and head (feature map to logits).

Grad-CAM, embeddings and tiling all need the feature map between the two.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models import DenseNet, ResNet

from wsi.errors import ConfigError


@dataclass(frozen=True)
class SplitClassifier:
    """The two halves; they share their parameters with the network they came from.

    Attributes:
        trunk: (N, 3, H, W) -> (N, D, h, w).
        head: (N, D, h, w) -> (N, classes); its first module, ``features``, is an identity on
            which Grad-CAM hooks.
    """

    trunk: nn.Module
    head: nn.Sequential

    @property
    def features(self) -> nn.Module:
        """The identity at the feature map."""
        return self.head[0]


class _TimmTrunk(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network.forward_features(images)  # type: ignore[operator]
        return features


class _TimmHead(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network.forward_head(features)  # type: ignore[operator]
        return logits


def split_classifier(network: nn.Module) -> SplitClassifier:
    """Cut a torchvision or timm convolutional classifier before its pooling.

    Raises:
        ConfigError: the architecture has no spatial feature map (a plain vision transformer).
    """
    if isinstance(network, ResNet):
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
        trunk: nn.Module = nn.Sequential(OrderedDict((n, getattr(network, n)) for n in names))
        return SplitClassifier(trunk, _head(network.avgpool, nn.Flatten(1), network.fc))
    if isinstance(network, DenseNet):
        trunk = nn.Sequential(network.features, nn.ReLU())
        return SplitClassifier(
            trunk, _head(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), network.classifier)
        )
    features = getattr(network, "features", None)
    classifier = getattr(network, "classifier", None)
    if isinstance(features, nn.Module) and isinstance(classifier, nn.Sequential):
        pool = getattr(network, "avgpool", nn.AdaptiveAvgPool2d(1))
        # ConvNeXt's classifier normalizes the pooled map and flattens it by itself.
        flat = [] if any(isinstance(m, nn.Flatten) for m in classifier) else [nn.Flatten(1)]
        return SplitClassifier(features, _head(pool, *flat, classifier))
    if hasattr(network, "forward_features") and hasattr(network, "forward_head"):
        return SplitClassifier(_TimmTrunk(network), _head(_TimmHead(network)))
    raise ConfigError(
        f"{type(network).__name__} has no spatial feature map that is known here; "
        "use a convolutional backbone such as resnet50, densenet121, efficientnet_b0"
    )


def _head(*modules: nn.Module) -> nn.Sequential:
    named: list[tuple[str, nn.Module]] = [("features", nn.Identity())]
    named += [(f"{i}_{type(m).__name__.lower()}", m) for i, m in enumerate(modules)]
    return nn.Sequential(OrderedDict(named))
