"""What every benchmark shares: the slide it measures on, and how it writes its figure."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wsi.testing.slides import SyntheticSlide, synthetic_slide

RESULTS = Path(__file__).parent / "results"


def benchmark_slide(folder: Path, size_px: int = 20_000) -> SyntheticSlide:
    """A slide of known tissue at 0.5 mpp with JPEG tiles of 256 px, 45 % tissue."""
    return synthetic_slide(folder / f"{size_px}.tif", size_px, 0.5, seed=0)


def write_result(name: str, line: str, figures: dict[str, Any]) -> None:
    """Write ``results/NAME.json`` and the line of markdown beside it, and print the line."""
    RESULTS.mkdir(exist_ok=True)
    about = {
        "benchmark": name,
        "summary": line,
        "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
        "load_average_1_min": round(os.getloadavg()[0], 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "wholeslide": version("wholeslide"),
    }
    text = json.dumps({**about, **figures}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    (RESULTS / f"{name}.md").write_text(line + "\n")
    print(text)
    print(line)


def seconds(run: Callable[[], object], repeats: int) -> list[float]:
    """Wall-clock seconds of each of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def middle(values: list[float]) -> float:
    """The median, rounded to four digits that matter."""
    return float(f"{statistics.median(values):.4g}")
