"""OpenVINO: conversion of networks, kept beside their bundle, and int8 by calibration.

A conversion is a folder ``engines/DIGEST-LABEL`` of the bundle with ``model.xml`` and
``model.bin``: data, nothing that runs. It is written whole or not at all.
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsi.errors import MissingExtraError, ModelError
from wsi.files import atomic_directory
from wsi.models.runtime import fast_dtype
from wsi.models.signal_stack import drop_small_signal_stack

_log = logging.getLogger(__name__)

_FOLDER = "engines"
_FILE = "model.xml"
_EXAMPLE_PX = 64


def load_openvino() -> Any:
    """The library, with its reports to its makers switched off.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from openvino_telemetry.utils.opt_in_checker import ConsentCheckResult, OptInChecker
    except ImportError:
        _log.debug("openvino-telemetry is not installed: nothing to switch off")
    else:
        # OpenVINO sends a message on import unless a file in the user's home forbids it. This is
        # the one place that all of its parts ask; a machine that holds slides of patients says no.
        OptInChecker.check = lambda *_args, **_options: ConsentCheckResult.DECLINED
    try:
        import openvino
    except ImportError:
        raise MissingExtraError("OpenVINO", "openvino") from None
    return openvino


def converted(
    module: nn.Module, bundle: Path | None, digest: str, label: str, *, int8: bool
) -> Any:
    """The OpenVINO model of a part of a network, from the bundle's folder where it is there.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        ModelError: it cannot be converted, or int8 was not prepared.
    """
    library = load_openvino()
    folder = None if bundle is None else conversion_folder(bundle, digest, label, int8=int8)
    if folder is not None and (folder / _FILE).exists():
        return library.Core().read_model(folder / _FILE)
    if int8:
        raise ModelError(
            f"{bundle}: not prepared for int8; run: wsi quantize --model {bundle} SLIDES"
        )
    model = convert(library, module)
    if folder is not None:
        keep(library, model, folder)
    return model


def conversion_folder(bundle: Path, digest: str, label: str, *, int8: bool) -> Path:
    """Where a bundle's conversion lies."""
    return bundle / _FOLDER / f"{digest[:16]}-{label}{'-int8' if int8 else ''}"


def convert(library: Any, module: nn.Module) -> Any:
    """A network's part as an OpenVINO model of any batch, height and width."""
    channels = next(m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d))
    example = torch.zeros(1, channels, _EXAMPLE_PX, _EXAMPLE_PX)
    try:
        # A caller may be inside autocast, whose casts are no part of the network.
        plain = torch.autocast("cpu", enabled=False)
        with warnings.catch_warnings(), torch.no_grad(), plain:
            # Tracing warns of its own future.
            warnings.simplefilter("ignore")
            model = library.convert_model(module, example_input=example)
        model.reshape([-1, channels, -1, -1])
    except Exception as error:
        # OpenVINO raises a dozen types; each means that this network is not for it.
        raise ModelError(f"OpenVINO cannot convert the network: {error}") from error
    return model


def keep(library: Any, model: Any, folder: Path) -> None:
    """Write a conversion, whole or not at all; a bundle that may not be written goes without."""
    if folder.exists():
        return  # another process was faster; its conversion is the same
    try:
        with atomic_directory(folder) as scratch:
            library.save_model(model, scratch / _FILE, compress_to_fp16=False)
    except OSError as error:
        _log.info("the conversion was not saved and is made again next time: %s: %s", folder, error)


def run_model(model: Any) -> Any:
    """A function from (N, C, H, W) to feature maps, on the CPU in its fastest precision."""
    library = load_openvino()
    bfloat16 = fast_dtype(torch.device("cpu")) == torch.bfloat16
    compiled = library.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    drop_small_signal_stack()

    def run(images: Tensor) -> Tensor:
        array = images.detach().float().contiguous().numpy()
        return torch.from_numpy(compiled(array)[0])

    return run


def quantize(module: nn.Module, batches: Sequence[NDArray[np.float32]]) -> Any:
    """An int8 model of a network's part, calibrated on normalized images.

    Args:
        module: images to feature maps.
        batches: each (N, 3, H, W) float32.

    Raises:
        MissingExtraError: OpenVINO or NNCF is not installed.
        ModelError: it cannot be converted.
    """
    library = load_openvino()
    try:
        import nncf
    except ImportError:
        raise MissingExtraError("NNCF", "openvino") from None
    model = convert(library, module)
    quantized = nncf.quantize(model, nncf.Dataset(list(batches)), subset_size=len(batches))
    drop_small_signal_stack()
    return quantized
