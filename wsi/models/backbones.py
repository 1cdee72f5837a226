"""Image classifiers on torchvision (or timm) backbones, by name."""

from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from wsi.errors import ConfigError, MissingExtraError, ModelError

_HEAD_PREFIXES = ("fc.", "classifier.", "head.")


def resnet10() -> ResNet:
    """ResNet-18 with one block a stage: for demonstrations and tests on a CPU."""
    return ResNet(BasicBlock, [1, 1, 1, 1])


_EXTRA: dict[str, Callable[..., nn.Module]] = {"resnet10": resnet10}


def build_backbone(
    architecture: str,
    classes: int,
    *,
    weights: str | None = None,
) -> nn.Module:
    """A classifier with ``classes`` outputs.

    Args:
        architecture: a torchvision classification model, ``resnet10``, or ``timm:NAME`` where
            timm is installed.
        classes: number of outputs; the last layer is new.
        weights: ``None`` starts from scratch; a torchvision weights name (``DEFAULT``,
            ``IMAGENET1K_V2``), which torchvision downloads and verifies; or a path of a
            ``.safetensors``, or of a ``.pth`` state dict (loaded with ``weights_only``).

    Raises:
        ConfigError: no such architecture or weights name.
        ModelError: the weights file does not fit.
    """
    if architecture.startswith("timm:"):
        return _timm(architecture.removeprefix("timm:"), classes, weights)
    file = Path(weights) if weights and Path(weights).suffix else None
    if architecture in _EXTRA:
        if weights and not file:
            raise ConfigError(f"{architecture} has no weights by name, only from a file")
        network = _EXTRA[architecture]()
    else:
        try:
            network = torchvision.models.get_model(architecture, weights=None if file else weights)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"backbone {architecture!r}, weights {weights!r}: {error}") from error
    _replace_head(network, classes)
    if file:
        load_weights(network, file)
    return network


def load_weights(network: nn.Module, path: Path) -> None:
    """Load all but the classification head from a local file.

    Raises:
        ModelError: the file is missing, damaged, or of another architecture.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
    except Exception as error:
        # torch and safetensors raise a dozen types for a bad file; each means the same here.
        raise ModelError(f"{path}: not a usable weights file: {error}") from error
    start_from(network, state, source=str(path))


def start_from(network: nn.Module, state: dict[str, torch.Tensor], *, source: str) -> None:
    """Copy all weights but the head's into ``network``.

    Raises:
        ModelError: names or shapes do not match.
    """
    wanted = network.state_dict()
    body = {key: value for key, value in state.items() if not key.startswith(_HEAD_PREFIXES)}
    missing = [key for key in wanted if not key.startswith(_HEAD_PREFIXES) and key not in body]
    wrong = [key for key in body if key not in wanted or wanted[key].shape != body[key].shape]
    if missing or wrong:
        first = (missing or wrong)[0]
        raise ModelError(
            f"{source}: weights of another architecture: {len(missing)} missing, "
            f"{len(wrong)} not fitting, the first is {first}"
        )
    network.load_state_dict(body, strict=False)


def _replace_head(network: nn.Module, classes: int) -> None:
    """Give the last linear layer ``classes`` outputs."""
    for name in ("fc", "classifier", "head", "heads"):
        head = getattr(network, name, None)
        if isinstance(head, nn.Linear):
            setattr(network, name, nn.Linear(head.in_features, classes))
            return
        if isinstance(head, nn.Sequential) and isinstance(head[-1], nn.Linear):
            head[-1] = nn.Linear(head[-1].in_features, classes)
            return
    raise ConfigError(f"{type(network).__name__}: no linear classification head to replace")


def _timm(name: str, classes: int, weights: str | None) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise MissingExtraError(f"timm:{name} needs timm, which", "timm") from None
    file = Path(weights) if weights and Path(weights).suffix else None
    try:
        network: nn.Module = timm.create_model(
            name, num_classes=classes, pretrained=bool(weights) and not file
        )
    except RuntimeError as error:
        raise ConfigError(f"timm:{name}: {error}") from error
    if file:
        load_weights(network, file)
    return network
