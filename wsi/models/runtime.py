"""Where and in which precision a network runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from wsi.errors import ConfigError

_CPU_FLAGS = Path("/proc/cpuinfo")


def resolve_device(device: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` as a device.

    Raises:
        ConfigError: no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device {device!r}: {error}") from None
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {device!r}: this machine has no usable CUDA device; use cpu")
    return wanted


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # torch has no public test for this; without native support bf16 is slower than fp32.
    flags = _CPU_FLAGS.read_text() if _CPU_FLAGS.exists() else ""
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    return torch.bfloat16 if native else torch.float32


def resolve_dtype(
    precision: Literal["auto", "float32", "bfloat16"], device: torch.device
) -> torch.dtype:
    """The dtype that a training's ``precision`` asks for on this device."""
    if precision == "auto":
        return fast_dtype(device)
    return torch.float32 if precision == "float32" else torch.bfloat16


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Mixed precision in ``dtype``; does nothing for float32 and float64."""
    enabled = dtype in (torch.bfloat16, torch.float16)
    with torch.autocast(device.type, dtype=dtype if enabled else torch.bfloat16, enabled=enabled):
        yield


def to_input(
    pixels_nhwc: NDArray[np.uint8],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
) -> torch.Tensor:
    """Pixels as a normalized network input.

    Args:
        pixels_nhwc: (N, H, W, 3) uint8.
        mean: of each channel, for values in [0, 1].
        std: likewise.
        device: where the tensor goes; the bytes travel, the floats are made there.

    Returns:
        (N, 3, H, W) float32, channels_last.
    """
    images = torch.from_numpy(np.ascontiguousarray(pixels_nhwc)).to(device, non_blocking=True)
    images = images.permute(0, 3, 1, 2).float()
    scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(1, 3, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
    return torch.addcmul(shift.view(1, 3, 1, 1), images, scale)
