"""A network as memory modes run it: spatial stages in order, then pooling and a linear head."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from wsi.errors import ConfigError
from wsi.networks.activation_cache import BottleneckActivations
from wsi.networks.norms import NormKind, replace_norm
from wsi.networks.pooling import Pooling, PoolingKind, make_pooling
from wsi.networks.receptive_field import ReceptiveField, chain, layers_of, receptive_field_of
from wsi.networks.valid_forward import Axes, run_unpadded


class Stage(nn.Module):
    """One spatial part of a network that is not divided further, with its receptive field.

    Attributes:
        label: its name in plans and tables, such as ``layer2.0``.
        receptive_field: of an output position, derived from its layers.
        channels: channels of its output.
        ends_in_relu: whether its output is that of a ReLU.
    """

    def __init__(self, label: str, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.label = label
        self.body = body
        self.channels = channels
        self.receptive_field = receptive_field_of(body)
        self.ends_in_relu = isinstance(body, BasicBlock | Bottleneck)

    def forward(
        self,
        x: Tensor,
        unpadded: Axes | None = None,
        bottleneck: BottleneckActivations | None = None,
    ) -> Tensor:
        """(N, C_in, H, W) -> (N, channels, h, w).

        Args:
            x: the input.
            unpadded: for a tile, whether padding is left out along rows and along columns.
            bottleneck: for a tile, saves the block's inner activations or provides them.
        """
        if unpadded is not None:
            return run_unpadded(self.body, x, unpadded, bottleneck)
        out: Tensor = self.body(x)
        return out


class StagedNetwork(nn.Module):
    """Stages, a pooling of the embedding (N, D, h, w) into (N, D), and a linear head.

    Called on a whole image it is an ordinary network: that is the in-core mode.
    """

    def __init__(self, stages: list[Stage], pooling: Pooling, head: nn.Linear) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.pooling = pooling
        self.head = head

    @property
    def stage_list(self) -> list[Stage]:
        """The stages, typed."""
        return [cast(Stage, stage) for stage in self.stages]

    @property
    def receptive_field(self) -> ReceptiveField:
        """The receptive field, in the image, of one position of the embedding."""
        return chain([stage.receptive_field for stage in self.stage_list])

    @property
    def features(self) -> int:
        """D, the channels of the embedding."""
        return self.stage_list[-1].channels

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.head.out_features

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return self.head.weight.dtype

    def embed(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> the embedding (N, D, h, w)."""
        for stage in self.stages:
            image = stage(image)
        return image

    def classify(self, embedding: Tensor) -> Tensor:
        """The embedding (N, D, h, w) -> logits (N, classes) in the parameters' dtype."""
        with torch.autocast(embedding.device.type, enabled=False):
            return self.classify_pooled(self.pooling(embedding))

    def classify_pooled(self, pooled_nd: Tensor) -> Tensor:
        """The pooled embedding (N, D) -> logits (N, classes) in the parameters' dtype."""
        with torch.autocast(pooled_nd.device.type, enabled=False):
            logits: Tensor = self.head(pooled_nd.to(self.dtype))
            return logits

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, classes)."""
        return self.classify(self.embed(image))


class EmbeddingHead(nn.Module):
    """Pooling and head alone, as a model that Grad-CAM tools can hook.

    Call it with ``Inference.embedding`` and use ``activation`` as the target layer: the gradient at
    the embedding does not depend on the image, so a heatmap needs no second pass over the slide.
    """

    def __init__(self, network: StagedNetwork) -> None:
        super().__init__()
        self.activation = nn.Identity()
        self.network = network

    def forward(self, embedding: Tensor) -> Tensor:
        """(N, D, h, w) -> logits (N, classes)."""
        x = self.activation(embedding.to(self.network.dtype))
        return self.network.classify(x)


def _swap_norms(block: nn.Module, pairs: list[tuple[str, str]], kind: NormKind) -> None:
    for conv_name, norm_name in pairs:
        conv, norm = getattr(block, conv_name), getattr(block, norm_name)
        if not isinstance(norm, nn.BatchNorm2d):
            raise ConfigError(f"{norm_name} is a {type(norm).__name__}; expected BatchNorm2d")
        conv, new = replace_norm(conv, norm, kind)
        setattr(block, conv_name, conv)
        setattr(block, norm_name, new)


def _block_stage(label: str, block: nn.Module, kind: NormKind) -> Stage:
    if not isinstance(block, BasicBlock | Bottleneck):
        raise ConfigError(f"{label} is a {type(block).__name__}; expected a torchvision block")
    count = len(layers_of(block))
    _swap_norms(block, [(f"conv{i}", f"bn{i}") for i in range(1, count + 1)], kind)
    if block.downsample is not None:
        _swap_norms(block.downsample, [("0", "1")], kind)
    last, _ = layers_of(block)[-1]
    return Stage(label, block, last.out_channels)


def stage_network(
    resnet: ResNet,
    *,
    classes: int,
    pooling: PoolingKind = "average",
    norm: NormKind = "frozen",
) -> StagedNetwork:
    """A staged network from a torchvision ResNet (18, 34, 50, 101, 152, wide, ResNeXt).

    The result uses the ResNet's modules and weights, without a copy. The head is kept if it has
    ``classes`` outputs, else it is replaced by a new one with torch's default initialization.

    Raises:
        ConfigError: not a torchvision ResNet, or a norm or pooling that does not exist.
    """
    if not isinstance(resnet, ResNet):
        raise ConfigError(f"expected a torchvision ResNet, got {type(resnet).__name__}")
    stem: Any = nn.Sequential()
    conv, bn = replace_norm(resnet.conv1, cast(nn.BatchNorm2d, resnet.bn1), norm)
    for name, part in (("conv1", conv), ("bn1", bn), ("relu", resnet.relu)):
        stem.add_module(name, part)
    stem.add_module("maxpool", resnet.maxpool)
    stages = [Stage("stem", stem, conv.out_channels)]
    for name in ("layer1", "layer2", "layer3", "layer4"):
        for index, block in enumerate(getattr(resnet, name)):
            stages.append(_block_stage(f"{name}.{index}", block, norm))
    features = stages[-1].channels
    head = resnet.fc
    if not isinstance(head, nn.Linear) or head.out_features != classes:
        head = nn.Linear(features, classes).to(conv.weight.device, conv.weight.dtype)
    pool = make_pooling(pooling, features).to(conv.weight.device, conv.weight.dtype)
    return StagedNetwork(stages, pool, head)
