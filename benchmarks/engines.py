"""Engines on a CPU: plain torch, torch.compile, OpenVINO and its int8, in one run, taking turns.

Patches as the patch pipeline's classifier sees them (batch 32, 224 px), and an image by the
whole-slide pipeline's tiles. Weights are random: agreement is that of the arithmetic.

    python -m benchmarks.engines [--architectures resnet18 resnet50] [--rounds 6] [--side 2048]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torchvision.models import ResNet

from benchmarks.common import write_result
from wsi.heap import tune_heap
from wsi.models.backbones import build_backbone
from wsi.models.card import ModelCard
from wsi.models.engines import Engine, Forward, check_images, feature_error
from wsi.models.openvino import quantize, run_model
from wsi.models.runtime import fast_dtype, to_input
from wsi.models.split import split_classifier
from wsi.networks import stage_network
from wsi.pipelines._staged_engine import stage_runner_of
from wsi.streaming import RunOptions, TensorSource, make_mode

BATCH, PATCH_PX, TILE_PX = 32, 224, 1024
CPU = torch.device("cpu")


def inputs(count: int, size_px: int) -> torch.Tensor:
    card = ModelCard(name="", pipeline="", architecture="", classes=(), mpp=0, input_px=0)
    return to_input(check_images(count, size_px), card.mean, card.std, CPU)


def in_turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Best seconds of each, all of them run once a round."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def patches(architecture: str, rounds: int) -> dict[str, Any]:
    """Patches a second of each engine, and how it agrees with torch in float32."""
    torch.manual_seed(0)
    parts = split_classifier(build_backbone(architecture, 3).eval(), 224)
    parts.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = inputs(BATCH, PATCH_PX)
    made: dict[str, Forward] = {}
    ready_s = {}
    for name in ("torch", "compile", "openvino", "openvino-int8"):
        started = time.perf_counter()
        if name == "openvino-int8":
            batches = [images[at : at + 8].numpy() for at in range(0, BATCH, 8)]
            made[name] = run_model(quantize(parts.trunk, batches))
        else:
            made[name] = Engine(name=name, batch=BATCH).forward(parts.trunk)
        made[name](images)
        ready_s[name] = time.perf_counter() - started
    best = in_turns({name: lambda f=f: f(images) for name, f in made.items()}, rounds)  # type: ignore[misc]
    with torch.no_grad():
        exact = parts.trunk(images[:8])
        expected = parts.head(exact).softmax(1)
        found = {}
        for name, forward in made.items():
            features = forward(images[:8] if name != "compile" else images)[:8]
            got = parts.head(features.float()).softmax(1)
            found[name] = {
                "patches_per_s": BATCH / best[name],
                "ratio": best["torch"] / best[name],
                "ready_s": ready_s[name],
                "feature_error": feature_error(exact, features),
                "probability_error": float((got - expected).abs().max()),
            }
    return found


def whole_slide(architecture: str, side: int, rounds: int) -> dict[str, Any]:
    """Seconds of an image by tiles with each engine, and how its logits agree."""
    torch.manual_seed(0)
    network = stage_network(cast(ResNet, build_backbone(architecture, 2)), classes=2, pooling="lse")
    network.eval()
    card = ModelCard(
        name="", pipeline="whole-slide", architecture="", classes=("a", "b"), mpp=0, input_px=0
    )
    source = TensorSource(inputs(1, side))
    dtype = fast_dtype(CPU)
    modes = {
        name: make_mode(
            "tiled",
            RunOptions(
                autocast=None if dtype == torch.float32 else dtype,
                stage_runner=stage_runner_of(Engine(name=name), card),
            ),
            tile_px=TILE_PX,
        )
        for name in ("torch", "compile", "openvino")
    }
    ready_s, answers = {}, {}
    for name, mode in modes.items():
        started = time.perf_counter()
        answers[name] = mode.infer(network, source).logits_nc.float().softmax(1)
        ready_s[name] = time.perf_counter() - started
    best = in_turns(
        {name: lambda m=m: m.infer(network, source) for name, m in modes.items()},  # type: ignore[misc]
        rounds,
    )
    return {
        name: {
            "seconds": best[name],
            "ratio": best["torch"] / best[name],
            "ready_s": ready_s[name],
            "probability_error": float((answers[name] - answers["torch"]).abs().max()),
        }
        for name in modes
    }


def line(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {one['ratio']:.2f}" for name, one in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--side", type=int, default=2048)
    arguments = parser.parse_args()
    tune_heap()
    by_patches = {name: patches(name, arguments.rounds) for name in arguments.architectures}
    whole = {
        name: whole_slide(name, arguments.side, arguments.rounds)
        for name in arguments.architectures[:1]
    }
    said = [
        f"{name}, patches: torch {found['torch']['patches_per_s']:.1f} a second, "
        f"ratio {line(found)}"
        for name, found in by_patches.items()
    ]
    said += [
        f"{name}, whole slide of {arguments.side} px: torch {found['torch']['seconds']:.1f} s, "
        f"ratio {line(found)}"
        for name, found in whole.items()
    ]
    worst = max(
        one["probability_error"]
        for found in (*by_patches.values(), *whole.values())
        for one in found.values()
    )
    precision = "bfloat16" if fast_dtype(CPU) == torch.bfloat16 else "float32"
    write_result(
        "engines",
        f"Engines on a CPU ({precision}). {'. '.join(said)}. Largest difference of a probability "
        f"{worst:.4f}.",
        {"precision": precision, "patches": by_patches, "whole_slide": whole},
    )


if __name__ == "__main__":
    main()
