"""Training patches read as they are needed: memory, and speed beside data that lies ready.

One run measures everything, turn by turn, so that its ratios mean something on a shared machine:

    python -m benchmarks.data_loading --out /tmp/data-loading
"""

import argparse
import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import benchmark_slide, middle, write_result
from wsi.data.annotated_patches import LabelledSlide, SlidePatches
from wsi.data.augment import AugmentSpec, augment
from wsi.data.loader import load_batches
from wsi.data.tables import Row
from wsi.models.backbones import build_backbone
from wsi.models.runtime import to_input
from wsi.patches import PatchGrid, PatchSpec, resolve_grid
from wsi.seeding import seeded
from wsi.slides import open_slide

LISTED, SIDE = 1_000_000, 224


def listed(slide_path: Path, count: int) -> SlidePatches:
    """So many patches of one slide; each place is listed again and again."""
    with open_slide(slide_path) as slide:
        grid = resolve_grid(slide, PatchSpec(mpp=0.5, size_px=SIDE), None)
    cells_n2 = np.resize(grid.cells_n2, (count, 2))
    many = PatchGrid(
        spec=grid.spec,
        patch_level0=grid.patch_level0,
        stride_level0=grid.stride_level0,
        shape=grid.shape,
        cells_n2=cells_n2,
    )
    row = Row(path=slide_path.name, label=None, patient="a", split="train")
    return SlidePatches([LabelledSlide(row, slide_path, many, np.arange(count) % 2)])


def batches_of(count: int, steps: int, size: int) -> list[NDArray[np.int64]]:
    """Random patches, as a training draws them."""
    return np.array_split(np.random.default_rng(0).permutation(count)[: steps * size], steps)


def augmented(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """A batch as the network gets it."""
    images = to_input(pixels, (0.0,) * 3, (1.0,) * 3, torch.device("cpu"))
    return augment(images, AugmentSpec(), seeded(0))


def training_step() -> Callable[[NDArray[np.uint8]], None]:
    """One update of a ResNet-18."""
    network = build_backbone("resnet18", 2).train()
    optimizer = torch.optim.AdamW(network.parameters())

    def step(pixels: NDArray[np.uint8]) -> None:
        optimizer.zero_grad(set_to_none=True)
        network(augmented(pixels)).float().logsumexp(1).mean().backward()
        optimizer.step()

    return step


class Memory:
    """Highest memory of this process and its workers, shared pages counted once, in bytes."""

    def __init__(self) -> None:
        self.peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            workers = (child.pid for child in multiprocessing.active_children())
            self.peak = max(self.peak, sum(map(_pss, ("self", *workers))))


def _pss(process: object) -> int:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the slide")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    source = listed(benchmark_slide(arguments.out, 10_000).path, LISTED)
    size, steps, workers = arguments.batch_size, arguments.steps, arguments.workers

    def timed(step: Callable[[Any], object], batches: Any) -> float:
        """Patches per second, from the second batch on: starting workers is not the loop."""
        started, seen = 0.0, 0
        for pixels in batches:
            step(pixels)
            if started:
                seen += len(pixels)
            else:
                started = time.perf_counter()
        return seen / (time.perf_counter() - started)

    order = batches_of(LISTED, steps, size)
    ready = [source.read(batch) for batch in order]
    step = training_step()
    step(ready[0])
    loop, beside, reading, plain = [], [], [], []
    with Memory() as memory:
        for _ in range(arguments.repeats):
            beside.append(timed(step, ready))
            loop.append(timed(step, load_batches(source, order, workers)))
            plain.append(timed(augmented, map(source.read, order)))
            many = batches_of(LISTED, 4 * steps, size)
            reading.append(timed(augmented, load_batches(source, many, workers)))
    ratio = middle([one / other for one, other in zip(loop, beside, strict=True)])
    gain = middle([one / other for one, other in zip(reading, plain, strict=True)])
    write_result(
        "data_loading",
        f"With {LISTED:,} patches listed, training took {memory.peak / 1e9:.2f} GB, network and "
        f"{workers} workers included. The loop ran at {ratio:.2f} of the same ResNet-18 step on "
        f"data that lay ready; with a step that does nothing {middle(reading):.0f} augmented "
        f"patches/s came, {gain:.2f} times those of one thread.",
        {
            "workers": workers,
            "batch_size": size,
            "peak_bytes": memory.peak,
            "loop_to_ready": ratio,
            "augmented_patches_per_s": middle(reading),
            "augmented_to_one_thread": gain,
        },
    )


if __name__ == "__main__":
    main()
