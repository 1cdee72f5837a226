"""Seconds for the tissue mask and the patch list of a 20,000 x 20,000 px slide, and their IoU.

The synthetic slide's tissue is known. Opening the file is counted. Each stage is timed alone too,
so that the figure explains itself. Then the IoU of every stain on glass of every tint, a sweep of
tints for each channel and for all, and how much a real slide's mask changes over the sweep.

    python -m benchmarks.tissue [--size 20000] [--repeats 15] [--real ../shared/data]
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import benchmark_slide, middle, seconds, write_result
from benchmarks.tissue_sets import agreement, as_table
from wsi.patches import PatchSpec, resolve_grid
from wsi.slides import open_slide
from wsi.testing.slides import SyntheticSlide
from wsi.tissue import METHODS, TissueSpec, find_quality, find_tissue
from wsi.tissue.find import tissue_of_overview
from wsi.tissue.overview import overview_mpp, read_overview

_PATCHES = PatchSpec(mpp=0.5, size_px=256, min_tissue=0.1)


def measure(made: SyntheticSlide, method: Any, repeats: int) -> dict[str, Any]:
    """One method's times in seconds, and how well it agrees with the known tissue."""
    spec = TissueSpec(method=method)

    def whole() -> int:
        with open_slide(made.path) as slide:
            return len(resolve_grid(slide, _PATCHES, find_tissue(slide, spec)))

    patches = whole()  # once before, so that the file is in the page cache for every run
    total = seconds(whole, repeats)
    cpu = time.process_time()
    whole()
    cpu = time.process_time() - cpu

    def fresh_overview() -> None:
        with open_slide(made.path) as slide:
            read_overview(slide, spec.mpp)

    with open_slide(made.path) as slide:
        tissue = find_tissue(slide, spec)
        mpp = overview_mpp(slide, spec)
        overview = read_overview(slide, mpp).pixels
        stages = {
            "open": seconds(lambda: open_slide(made.path).close(), repeats),
            "open_and_read_overview": seconds(fresh_overview, repeats),
            "mask": seconds(lambda: tissue_of_overview(overview, slide.size, mpp, spec), repeats),
            "patch_list": seconds(lambda: resolve_grid(slide, _PATCHES, tissue), repeats),
        }
        quality = seconds(lambda: find_quality(slide, tissue), 3)
    known = made.tissue_mask
    iou = float(np.sum(tissue.mask & known) / np.sum(tissue.mask | known))
    return {
        "method": method,
        "iou": round(iou, 4),
        "patches": patches,
        "seconds": middle(total),
        "slowest_seconds": round(max(total), 4),
        "cpu_seconds": round(cpu, 4),
        "stages_seconds": {name: middle(times) for name, times in stages.items()},
        "quality_layers_seconds": middle(quality),
    }


def main() -> None:
    """Measure and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--real", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = benchmark_slide(Path(folder), options.size)
        found = [measure(made, method, options.repeats) for method in METHODS]
    each = [
        f"{f['method']} {f['seconds']:.3f} s ({f['cpu_seconds']:.3f} s of CPU), IoU {f['iou']:.3f}"
        for f in found
    ]
    line = (
        f"Tissue mask and patch list of a {options.size} px slide, file opened: "
        f"{'; '.join(each)}; {found[0]['patches']} patches."
    )
    write_result("tissue", line, {"slide_px": options.size, "methods": found})
    sets = agreement(options.real)
    write_result("tissue_sets", as_table(sets), {"sets": sets})


if __name__ == "__main__":
    main()
