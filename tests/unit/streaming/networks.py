"""Small networks with statistics that are not trivial, for equality tests."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from wsi.networks import NormKind, PoolingKind, StagedNetwork, stage_network
from wsi.networks.norms import FrozenNormConv2d
from wsi.networks.pooling import AttentionPooling
from wsi.streaming import MemoryMode, RunOptions, StepResult, TensorSource, make_mode


def resnet(depth: int = 18, dtype: torch.dtype = torch.float64, seed: int = 0) -> ResNet:
    """A ResNet-18 or 50 in structure, an eighth as wide, with running statistics of its own."""
    torch.manual_seed(seed)
    if depth == 18:
        net = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=2)
        _thin(net)
    else:
        net = ResNet(Bottleneck, [3, 4, 6, 3], num_classes=2, width_per_group=8)
    last = "bn2" if depth == 18 else "bn3"
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            # Blocks add little to what passes them, as in trained networks. Else activations
            # grow from block to block and one ReLU that flips by rounding outweighs 1e-4.
            damped = name.endswith(last) and name.startswith("layer")
            nn.init.uniform_(module.weight, 0.5, 1.0)
            module.weight.data.mul_(0.2 if damped else 1.0)
            nn.init.normal_(module.bias, std=0.1)
    return net.to(dtype)


def _thin(net: ResNet) -> None:
    """Cut every channel axis of a ResNet-18 to an eighth: tests in seconds, same geometry."""
    for name, module in list(net.named_modules()):
        parent = net.get_submodule(name.rpartition(".")[0])
        leaf = name.rpartition(".")[2]
        if isinstance(module, nn.Conv2d):
            inputs = module.in_channels if module.in_channels == 3 else module.in_channels // 8
            new: nn.Module = nn.Conv2d(
                inputs,
                module.out_channels // 8,
                module.kernel_size,  # type: ignore[arg-type]
                module.stride,  # type: ignore[arg-type]
                module.padding,  # type: ignore[arg-type]
                bias=False,
            )
        elif isinstance(module, nn.BatchNorm2d):
            new = nn.BatchNorm2d(module.num_features // 8)
        elif isinstance(module, nn.Linear):
            new = nn.Linear(module.in_features // 8, module.out_features)
        else:
            continue
        setattr(parent, leaf, new)


def network(
    depth: int = 18,
    *,
    pooling: PoolingKind = "average",
    norm: NormKind = "frozen",
    dtype: torch.dtype = torch.float64,
) -> StagedNetwork:
    """A staged network; equal arguments give equal weights."""
    net = resnet(depth, dtype)
    torch.manual_seed(1)
    staged = stage_network(net, classes=3, pooling=pooling, norm=norm)
    if isinstance(staged.pooling, AttentionPooling):
        # Attention that prefers some cells: near-uniform weights make its gradient all rounding.
        staged.pooling.score.weight.data.mul_(30)
        staged.pooling.tanh.weight.data.mul_(10)
    return staged.to(dtype)


def undamped(net: StagedNetwork) -> StagedNetwork:
    """Blocks that add much: what lies at the edge of the receptive field shows in the result."""
    for name, module in net.named_modules():
        if isinstance(module, FrozenNormConv2d) and name.endswith("conv2"):
            module.norm_scale.mul_(10)
    return net


def image(height: int, width: int, batch: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Smooth random pixels (batch, 3, height, width)."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn(batch, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)


def loss(logits: Tensor) -> Tensor:
    """Cross-entropy against classes 0, 1, 2, ... in turn."""
    target = torch.arange(logits.shape[0]) % logits.shape[1]
    return nn.functional.cross_entropy(logits, target)


def step(
    mode: str,
    net: StagedNetwork,
    source: TensorSource,
    run: RunOptions | None = None,
    **options: Any,
) -> tuple[StepResult, dict[str, Tensor], MemoryMode]:
    """A step on a copy of ``net``: the result, every parameter's gradient, and the mode."""
    net = copy.deepcopy(net)
    chosen = make_mode(mode, run, **options)
    result = chosen.step(net, source, loss)
    gradients = {
        name: parameter.grad
        for name, parameter in net.named_parameters()
        if parameter.grad is not None
    }
    assert len(gradients) == len(list(net.parameters()))
    return result, gradients, chosen


def relative_error(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The largest error of any tensor, relative to that tensor's norm."""
    assert found.keys() == wanted.keys()
    return max(
        float((found[k].double() - wanted[k].double()).norm() / wanted[k].double().norm())
        for k in wanted
    )
