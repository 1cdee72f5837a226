"""Cost of the patch pipeline against the size of the slide: linear time, flat memory.

Each size runs in a process of its own; the network is small, so that reading and bookkeeping show.

    python -m benchmarks.cost [--sizes 5000 10000 20000 40000 80000]
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.common import RESULTS, benchmark_slide, write_result
from wsi.pipelines.base import load_pipeline
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore
from wsi.testing.models import untrained_patch_bundle

MPP, INPUT_PX = 2.0, 128


def analyze(slide_path: Path, bundle: Path, scratch: Path) -> dict[str, Any]:
    """Seconds, patches and peak memory of one analysis."""
    pipeline = load_pipeline("patch", bundle, "cpu")
    with open_slide(slide_path) as slide:
        started = time.perf_counter()
        result = pipeline.analyze(slide, SlideStore(str(scratch)), no_progress)
        seconds = time.perf_counter() - started
        area_mm2 = slide.size.area * 0.5**2 / 1e6
    return {
        "side_px": slide.size.width,
        "tissue_mm2": round(area_mm2 * result.details["tissue_share"], 1),
        "patches": result.details["patches"],
        "seconds": round(seconds, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[5_000, 10_000, 20_000, 40_000, 80_000]
    )
    arguments = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "small"
        untrained_patch_bundle(bundle, mpp=MPP, input_px=INPUT_PX)
        for size in arguments.sizes:
            made = benchmark_slide(Path(folder), size)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                runs.append(pool.apply(analyze, (made.path, bundle, Path(folder) / f"{size}.zarr")))
            made.path.unlink()
            print(runs[-1], flush=True)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    areas = [run["tissue_mm2"] for run in runs]
    time_axes.plot(areas, [run["seconds"] for run in runs], "o-")
    time_axes.set(xlabel="tissue, mm2", ylabel="seconds", xlim=(0, None), ylim=(0, None))
    memory_axes.plot(areas, [run["peak_mb"] for run in runs], "o-")
    memory_axes.set(xlabel="tissue, mm2", ylabel="peak memory, MB", xlim=(0, None), ylim=(0, None))
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "cost.svg")
    first, last = runs[0], runs[-1]
    write_result(
        "cost",
        f"Patch pipeline from {first['side_px']} to {last['side_px']} px a side: "
        f"{1000 * first['seconds'] / first['patches']:.1f} ms a patch at {first['patches']} "
        f"patches, {1000 * last['seconds'] / last['patches']:.1f} ms at {last['patches']}; "
        f"peak memory {first['peak_mb']} and {last['peak_mb']} MB.",
        {"runs": runs},
    )


if __name__ == "__main__":
    main()
