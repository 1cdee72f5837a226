"""One tiled training update of ResNet-50 on a whole slide, against the same pixels in-core.

    python benchmarks/whole_slide_update.py --size 10000 --memory 8
    python benchmarks/whole_slide_update.py --size 40000 --memory 9 --disk 100 --share 0.33
    python benchmarks/whole_slide_update.py --size 20000 --memory 9 --inference

In one process and one run: a few 1,000 px crops in-core (the same network, precision and layout)
before and after, then the update on the slide with every pixel tissue, then with about a third of
it. The ratio is the update's time to that of the same number of pixels as crops. Peak memory is
the operating system's maximum resident set of the whole process. With ``--inference`` the slide is
scored instead, and so are the crops.

Each is done twice: the first time a process also pays for the memory that it touches first, which
a virtual machine may fetch page by page from its host, and for kernels of new shapes; the second
time tells what training goes on to take. Writes a JSON file and a table under results/; those of
a slide with tissue everywhere alone apart, and those of a CPU that only emulates bfloat16: there a
crop takes several times as long, and what tiles cost besides arithmetic weighs less. The script
restarts itself with ``wsi.heap.ENVIRONMENT``, as workers run, for crops and slide alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wsi.heap import ENVIRONMENT

if TYPE_CHECKING:
    from wsi.planning import MemoryPlan
    from wsi.streaming import Inference, MemoryMode, StepResult


def restart_with_tuned_malloc() -> None:
    """The C library reads these when a process starts, so start again with them."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.environ.update(ENVIRONMENT)
        os.execv(sys.executable, [sys.executable, *sys.argv])


class NoiseSlide:
    """A slide of any size that takes no memory: tissue is one repeated block of noise.

    Tissue lies in round pieces spread over the slide, as sections do, until it covers ``share``
    of it; the rest is one constant colour.
    """

    def __init__(self, side: int, share: float) -> None:
        import torch

        generator = torch.Generator().manual_seed(0)
        self._block = torch.randn(1, 3, 512, 512, generator=generator)
        self._colour = torch.tensor([2.2, 2.4, 2.6]).view(1, 3, 1, 1)
        self.size = (side, side)
        self.batch = 1
        self._mask = _pieces(side, share)  # a cell is 32 px
        self._cells = self._mask.numpy()  # the same memory; asked ten times as fast

    @property
    def tissue_share(self) -> float:
        """Share of cells that hold tissue."""
        return float(self._mask.float().mean())

    def background(self, y0: int, x0: int, height: int, width: int) -> bool:
        """Whether no cell under the rectangle holds tissue."""
        rows = slice(y0 // 32, (y0 + height - 1) // 32 + 1)
        return not self._cells[rows, x0 // 32 : (x0 + width - 1) // 32 + 1].any()

    def read(self, y0: int, x0: int, height: int, width: int):  # type: ignore[no-untyped-def]
        """(1, 3, height, width) float32."""
        import torch

        y, x = torch.arange(y0, y0 + height), torch.arange(x0, x0 + width)
        top, left = y0 % 512, x0 % 512
        repeats = (-(-(top + height) // 512), -(-(left + width) // 512))
        pixels = self._block.repeat(1, 1, *repeats)[:, :, top : top + height, left : left + width]
        tissue = self._mask[y // 32][:, x // 32]
        return pixels if tissue.all() else torch.where(tissue, pixels, self._colour)


def _pieces(side: int, share: float):  # type: ignore[no-untyped-def]
    """(cells, cells) bool: three ellipses of tissue, grown until they cover ``share``."""
    import torch

    cells = -(-side // 32)
    if share >= 1:
        return torch.ones(cells, cells, dtype=torch.bool)
    y = torch.linspace(0, 1, cells)[:, None]
    x = torch.linspace(0, 1, cells)[None]
    centres = ((0.30, 0.28, 1.0, 0.8), (0.68, 0.40, 0.8, 1.2), (0.45, 0.78, 1.1, 0.7))
    low, high = 0.0, 1.0
    mask = torch.zeros(cells, cells, dtype=torch.bool)
    for _ in range(30):
        radius = (low + high) / 2
        mask = torch.zeros(cells, cells, dtype=torch.bool)
        for cy, cx, ry, rx in centres:
            mask |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < radius**2
        low, high = (radius, high) if float(mask.float().mean()) < share else (low, radius)
    return mask


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and processor seconds of one call.

    On a machine that others use too, wall time swings with their load; processor time far less.
    """
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """All figures of one run."""
    import torch
    import torchvision

    from wsi.models.runtime import fast_dtype
    from wsi.networks import stage_network
    from wsi.planning import plan
    from wsi.streaming import RunOptions, make_mode
    from wsi.streaming.meter import peak_host_bytes

    torch.manual_seed(0)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    net = stage_network(torchvision.models.resnet50(), classes=2)
    dtype = torch.bfloat16 if arguments.dtype == "bf16" else None
    run = RunOptions(autocast=dtype)
    target = torch.tensor([1])

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, target)

    in_core = make_mode("in_core", run)
    crop = NoiseSlide(arguments.crop, 1.0)

    def work(mode: MemoryMode, slide: NoiseSlide) -> StepResult | Inference:
        if arguments.inference:
            return mode.infer(net, slide, keep_embedding=False)
        return mode.step(net, slide, loss)

    def crops(count: int) -> tuple[float, float]:
        wall, processor = timed(lambda: [work(in_core, crop) for _ in range(count)])
        return wall / count, processor / count

    def planned(slide: NoiseSlide) -> MemoryPlan:
        made = plan(
            net,
            slide.size,
            None,
            int(arguments.memory * 1e9),
            disk_budget=arguments.disk * 10**9,
            dtype=dtype,
            mode="tiled",
            training=not arguments.inference,
            tissue=slide.tissue_share,
        )
        print(made.table(), flush=True)
        return made

    slides = [NoiseSlide(arguments.size, share) for share in arguments.share]
    plans = [planned(slide) for slide in slides]
    crops(2)  # the first step sets up kernels and memory
    blocks = [crops(arguments.crops)]
    rows = []
    both = zip(slides, plans, strict=True)
    for (slide, chosen), time_of in itertools.product(both, range(1, arguments.times + 1)):
        tiled = chosen.make_mode(run)
        net.zero_grad()
        wall, processor = time.perf_counter(), time.process_time()
        result = work(tiled, slide)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        peak = peak_host_bytes()
        blocks.append(crops(arguments.crops))
        scale = (arguments.size / arguments.crop) ** 2
        crop_wall, crop_processor = (
            scale * (before + after) / 2
            for before, after in zip(blocks[-2], blocks[-1], strict=True)
        )
        rows.append(
            {
                "tissue_share": round(slide.tissue_share, 3),
                "time": time_of,
                "seconds": round(wall, 2),
                "us_per_px": round(1e6 * wall / arguments.size**2, 3),
                "same_pixels_as_crops_s": round(crop_wall, 2),
                "ratio": round(wall / crop_wall, 3),
                "cpu_seconds": round(processor, 2),
                "ratio_of_cpu_time": round(processor / crop_processor, 3),
                "peak_rss_gb_so_far": round(peak / 1e9, 2),
                "counters": result.measured.counters,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return {
        "command": " ".join(["python", "benchmarks/whole_slide_update.py", *sys.argv[1:]]),
        "network": "ResNet-50, frozen BN, average pooling, batch 1",
        "size_px": arguments.size,
        "dtype": arguments.dtype,
        "crop_px": arguments.crop,
        "crop_step_s": [round(wall, 3) for wall, _ in blocks],
        "crop_step_cpu_s": [round(processor, 3) for _, processor in blocks],
        "plans": [
            {
                "tissue_share": round(made.tissue, 3),
                "groups": [(g.first, g.stop, g.tile_px) for g in made.options["groups"]],
                "boundaries": made.options["boundaries"],
                "predicted_peak_gb": round(made.device_bytes / 1e9, 2),
            }
            for made in plans
        ],
        "inference" if arguments.inference else "updates": rows,
        "machine": {
            "cpu": platform.machine(),
            "native_bf16": fast_dtype(torch.device("cpu")) == torch.bfloat16,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "load_1_5_15_min_after": [round(value, 1) for value in os.getloadavg()],
        },
    }


def markdown(figures: dict[str, object]) -> str:
    """The figures as a table."""
    lines = [
        f"`{figures['command']}`",
        "",
        f"{figures['network']}, {figures['dtype']}, {figures['size_px']} px; in-core crops of "
        f"{figures['crop_px']} px take {figures['crop_step_s']} s each. Plans: {figures['plans']}. "
        f"Machine: {figures['machine']}.",
        "",
        f"| tissue share | time | {'inference' if 'inference' in figures else 'update'}, s "
        "| us a pixel | same pixels in-core, s | ratio | ratio of CPU time "
        "| peak memory so far, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in figures.get("updates") or figures["inference"]:  # type: ignore[attr-defined]
        lines.append(
            f"| {row['tissue_share']} | {row['time']} | {row['seconds']} | {row['us_per_px']} "
            f"| {row['same_pixels_as_crops_s']} | {row['ratio']} | {row['ratio_of_cpu_time']} "
            f"| {row['peak_rss_gb_so_far']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--crop", type=int, default=1_000)
    parser.add_argument("--crops", type=int, default=6, help="in-core steps before and after")
    parser.add_argument("--share", type=float, nargs="+", default=[1.0, 0.33])
    parser.add_argument("--times", type=int, default=2, help="updates of each slide")
    parser.add_argument("--memory", type=float, default=8.0, help="budget in GB")
    parser.add_argument("--disk", type=int, default=0, help="scratch space in GB")
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--inference", action="store_true", help="score instead of training")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    figures = measure(arguments)
    what = "inference" if arguments.inference else "update"
    name = f"whole_slide_{what}_{arguments.size}"
    if arguments.share == [1.0]:
        name += "_full"
    if arguments.dtype == "bf16" and not figures["machine"]["native_bf16"]:  # type: ignore[index]
        name += "_emulated_bf16"
    (arguments.out / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    (arguments.out / f"{name}.md").write_text(markdown(figures))
    print(markdown(figures))


if __name__ == "__main__":
    restart_with_tuned_malloc()
    main()
