"""The patch pipeline end to end against the plain forward pass of the same network, in one run.

Both with the allocator tuned. Peak memory is the operating system's, of a process that ran the
pipeline alone.

    python -m benchmarks.end_to_end [--size 20000] [--patches 1500]
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import benchmark_slide, write_result
from wsi.heap import tune_heap
from wsi.models.backbones import build_backbone
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard
from wsi.models.runtime import autocast, fast_dtype
from wsi.pipelines.base import load_pipeline
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore

BATCH = 32
INPUT_PX = 224


def forward_rate(patches: int) -> float:
    """Patches a second through a ResNet-50, nothing else done."""
    tune_heap()
    device = torch.device("cpu")
    dtype = fast_dtype(device)
    network = build_backbone("resnet50", 3).eval().to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, INPUT_PX, INPUT_PX).to(memory_format=torch.channels_last)
    batches = max(2, patches // BATCH)
    with torch.inference_mode(), autocast(device, dtype):
        network(images)
        started = time.perf_counter()
        for _ in range(batches):
            network(images)
    return batches * BATCH / (time.perf_counter() - started)


def pipeline_rate(slide_path: Path, bundle: Path, scratch: Path) -> dict[str, float]:
    """Patches a second from file to stored heatmaps, and the process's peak memory."""
    pipeline = load_pipeline("patch", bundle, "cpu")
    with open_slide(slide_path) as slide:
        started = time.perf_counter()
        result = pipeline.analyze(slide, SlideStore(str(scratch / "store.zarr")), no_progress)
        seconds = time.perf_counter() - started
    patches = result.details["patches"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "patches": patches,
        "rate": patches / seconds,
        "peak_gb": peak / 1e9,
        **{f"{stage}_s": value for stage, value in result.timings_s.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--patches", type=int, default=960, help="of the plain forward, each side")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        made = benchmark_slide(Path(folder), arguments.size)
        bundle = Path(folder) / "resnet50"
        network = build_backbone("resnet50", 3)
        card = ModelCard(
            name="resnet50",
            pipeline="patch",
            architecture="resnet50",
            classes=("background", "benign", "cancer"),
            mpp=0.5,
            input_px=INPUT_PX,
        )
        save_bundle(bundle, card, network.state_dict())
        # Before and after, so that a machine that gets busier does not flatter either.
        with spawn.Pool(1, maxtasksperchild=1) as pool:
            before = pool.apply(forward_rate, (arguments.patches,))
            ours = pool.apply(pipeline_rate, (made.path, bundle, Path(folder)))
            after = pool.apply(forward_rate, (arguments.patches,))
    plain = (before + after) / 2
    ratio = ours["rate"] / plain
    write_result(
        "end_to_end",
        f"Patch pipeline end to end, ResNet-50, {INPUT_PX} px, {ours['patches']:.0f} patches of a "
        f"{arguments.size} px slide: {ours['rate']:.1f} patches a second, {ratio:.2f} of the plain "
        f"forward pass ({plain:.1f}) in the same run; peak memory {ours['peak_gb']:.2f} GB.",
        {"plain_before": before, "plain_after": after, "ratio": ratio, **ours},
    )


if __name__ == "__main__":
    main()
