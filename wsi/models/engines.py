"""How a network's convolutional part runs on a CPU: by torch, torch.compile or OpenVINO.

An engine computes the same feature maps another way. Everything after them (head, heatmaps,
Grad-CAM) stays with torch, and so does training. An engine that does not agree with torch is
refused when a model is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsi.errors import ConfigError, ModelError
from wsi.models.runtime import autocast, fast_dtype

ENGINES = ("torch", "compile", "openvino", "openvino-int8")

TOLERANCE = {"compile": 0.02, "openvino": 0.02, "openvino-int8": 0.1}
"""Largest difference of any probability from torch's, on the fixed check images."""

FEATURE_TOLERANCE = 0.05
"""Largest difference of feature maps from torch's, as a share of their norm. bfloat16 alone makes
about 0.01."""

Forward: TypeAlias = Callable[[Tensor], Tensor]
"""(N, C, H, W) float on the CPU -> feature maps (N, D, h, w), without a graph."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Which engine, and what it needs to know of the model.

    Attributes:
        name: one of ``ENGINES``.
        device: where torch runs; the other engines are for the CPU.
        bundle: the model bundle; conversions are kept in its folder ``engines``.
        digest: of the bundle's weights; a conversion belongs to it.
        batch: pad batches to this size, so that torch.compile sees one shape; 0 leaves shapes
            free, as tiles of a slide need.
    """

    name: str = "torch"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    bundle: Path | None = None
    digest: str = ""
    batch: int = 0

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise ConfigError(f"no engine {self.name!r}; choose from: {', '.join(ENGINES)}")
        if self.name != "torch" and self.device.type != "cpu":
            raise ConfigError(f"engine {self.name} runs on a CPU; on {self.device} use torch")

    def forward(self, module: nn.Module, label: str = "trunk") -> Forward:
        """``module`` made ready to run, in evaluation mode.

        Args:
            module: feature maps or images in, feature maps out.
            label: names this part of the network among the bundle's conversions.

        Raises:
            ConfigError: the engine is not installed, or lacks what it needs here.
            ModelError: the network cannot be converted.
        """
        if self.name == "compile":
            return _compiled(module, self.device, self.batch)
        if self.name == "torch":
            return _plain(module, self.device)
        from wsi.models.openvino import converted, run_model

        int8 = self.name == "openvino-int8"
        model = converted(module, self.bundle, self.digest, label, int8=int8)
        forward: Forward = run_model(model)
        return forward


def _plain(module: Forward, device: torch.device) -> Forward:
    dtype = fast_dtype(device)

    def run(images: Tensor) -> Tensor:
        with torch.no_grad(), autocast(device, dtype):
            return module(images)

    return run


def _compiled(module: nn.Module, device: torch.device, batch: int) -> Forward:
    # Freezing folds BatchNorm into the convolutions and lays the weights out once.
    fast = torch.compile(module, dynamic=batch == 0, options={"freezing": True})
    plain = _plain(fast, device)

    def run(images: Tensor) -> Tensor:
        missing = batch - len(images)
        if missing > 0:
            images = torch.cat([images, images.new_zeros((missing, *images.shape[1:]))])
            images = images.contiguous(memory_format=torch.channels_last)
        try:
            features = plain(images)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            raise ConfigError(
                "engine compile cannot compile here (it needs a C++ compiler such as g++): "
                f"{str(error).splitlines()[0]}"
            ) from error
        return features[: len(features) - missing] if missing > 0 else features

    return run


def check_images(count: int, size_px: int) -> NDArray[np.uint8]:
    """(count, size_px, size_px, 3): the same stained-looking blots each time."""
    rng = np.random.default_rng(0)
    eosin, haematoxylin = np.array([236, 180, 208]), np.array([92, 60, 140])
    images = []
    for index in range(count):
        coarse = rng.random((4 + 4 * index, 4 + 4 * index)).astype(np.float32)
        share = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)[..., None]
        grain = rng.normal(0, 6, (size_px, size_px, 1))
        images.append(eosin + share * (haematoxylin - eosin) + grain)
    return np.asarray(np.clip(np.stack(images), 0, 255), np.uint8)


def feature_error(expected: Tensor, got: Tensor) -> float:
    """Norm of the difference, as a share of the expected norm."""
    expected = expected.float()
    return float((got.float() - expected).norm() / expected.norm().clamp_min(1e-12))


def require_features(engine: Engine, module: nn.Module, forward: Forward, images: Tensor) -> float:
    """How far an engine's feature maps are from torch's.

    Raises:
        ModelError: further than ``FEATURE_TOLERANCE``.
    """
    error = feature_error(_plain(module, engine.device)(images), forward(images))
    if not error <= FEATURE_TOLERANCE:
        raise ModelError(
            f"engine {engine.name} does not agree with torch: feature maps differ by {error:.3f} "
            f"of their norm ({FEATURE_TOLERANCE} is allowed); use the engine torch"
        )
    return error


def require_probabilities(
    engine: Engine, module: nn.Module, head: nn.Module, forward: Forward, images: Tensor
) -> float:
    """The largest difference of any probability between an engine and torch.

    Args:
        engine: which.
        module, head: images to feature maps to logits.
        forward: what the engine made of ``module``.
        images: (N, 3, H, W) normalized.

    Raises:
        ModelError: it is larger than ``TOLERANCE`` allows.
    """
    with torch.no_grad():
        expected = head(_plain(module, engine.device)(images).float()).softmax(1)
        got = head(forward(images).float()).softmax(1)
    error = float((got - expected).abs().max())
    if not error <= TOLERANCE[engine.name]:
        raise ModelError(
            f"engine {engine.name} does not agree with torch: a probability differs by {error:.3f} "
            f"({TOLERANCE[engine.name]} is allowed); use the engine torch"
        )
    return error
