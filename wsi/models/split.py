"""A classifier as trunk (pixels to feature map) and head (feature map to logits).

Grad-CAM, embeddings and tiling all need the feature map between the two.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models import DenseNet, ResNet

from wsi.errors import ConfigError
from wsi.models.feature_grid import FeatureGrid, feature_grid


@dataclass(frozen=True)
class SplitClassifier:
    """The two halves; they share their parameters with the network they came from.

    Attributes:
        trunk: (N, 3, H, W) -> (N, D, h, w).
        head: (N, D, h, w) -> (N, classes); its first module, ``features``, is an identity on
            which Grad-CAM hooks.
        grid: where the positions (h, w) lie in an image of the size that was asked for.
    """

    trunk: nn.Module
    head: nn.Sequential
    grid: FeatureGrid

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


def split_classifier(network: nn.Module, input_px: int) -> SplitClassifier:
    """Cut a torchvision or timm convolutional classifier before its pooling.

    Both halves are run once on an image of noise: a network is taken for what comes out of it, not
    for its name.

    Args:
        network: (N, 3, input_px, input_px) -> (N, classes). Its mode and weights stay as they are.
        input_px: side of the images, pixels.

    Raises:
        ConfigError: the trunk gives tokens instead of a spatial feature map (vision transformers,
            Swin), the two halves are not the network, or it does not take images of this size.
    """
    trunk, head = _halves(network)
    place = next(network.parameters()).device
    noise = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, input_px, input_px, generator=noise).to(place)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        grid = _proven(network, trunk, head, images)
    finally:
        for module, training in modes:
            module.training = training
    return SplitClassifier(trunk, head, grid)


def _proven(
    network: nn.Module, trunk: nn.Module, head: nn.Module, images: torch.Tensor
) -> FeatureGrid:
    kind = type(network).__name__
    advice = "use a convolutional backbone such as resnet50, densenet121, efficientnet_b0"
    try:
        grid, features = feature_grid(trunk, images)
        with torch.no_grad():
            whole, joined = network(images), head(features)
    except ConfigError as error:
        raise ConfigError(f"{kind} has no spatial feature map: {error}; {advice}") from error
    except Exception as error:
        # What a network raises for an image it cannot take is not ours to list.
        size = f"{images.shape[2]} x {images.shape[3]} px"
        raise ConfigError(f"{kind} cannot take images of {size}: {error}; {advice}") from error
    if whole.shape != joined.shape or not torch.allclose(whole, joined, rtol=1e-3, atol=1e-4):
        raise ConfigError(f"{kind}: feature map and head together are not the network; {advice}")
    return grid


def _halves(network: nn.Module) -> tuple[nn.Module, nn.Sequential]:
    if isinstance(network, ResNet):
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
        trunk: nn.Module = nn.Sequential(OrderedDict((n, getattr(network, n)) for n in names))
        return trunk, _head(network.avgpool, nn.Flatten(1), network.fc)
    if isinstance(network, DenseNet):
        trunk = nn.Sequential(network.features, nn.ReLU())
        return trunk, _head(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), network.classifier)
    features = getattr(network, "features", None)
    classifier = getattr(network, "classifier", None)
    if isinstance(features, nn.Module) and isinstance(classifier, nn.Sequential):
        pool = getattr(network, "avgpool", nn.AdaptiveAvgPool2d(1))
        # ConvNeXt's classifier normalizes the pooled map and flattens it by itself.
        flat = [] if any(isinstance(m, nn.Flatten) for m in classifier) else [nn.Flatten(1)]
        return features, _head(pool, *flat, classifier)
    if hasattr(network, "forward_features") and hasattr(network, "forward_head"):
        return _TimmTrunk(network), _head(_TimmHead(network))
    raise ConfigError(
        f"{type(network).__name__} has no known spatial feature map; "
        "use a convolutional backbone such as resnet50, densenet121, efficientnet_b0"
    )


def _head(*modules: nn.Module) -> nn.Sequential:
    named: list[tuple[str, nn.Module]] = [("features", nn.Identity())]
    named += [(f"{i}_{type(m).__name__.lower()}", m) for i, m in enumerate(modules)]
    return nn.Sequential(OrderedDict(named))
