"""The benchmark scripts run at a tiny size on a CPU and write figures that make sense."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def _run(script: str, out: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *arguments, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("what", ["update", pytest.param("inference", marks=pytest.mark.long)])
def test_the_whole_slide_benchmark_writes_ratio_and_peak(tmp_path: Path, what: str) -> None:
    _run(
        "whole_slide_update.py",
        tmp_path,
        "--size",
        "192",
        "--crop",
        "96",
        "--crops",
        "1",
        "--share",
        "1.0",
        "--memory",
        "2",
        *(["--inference"] if what == "inference" else []),
    )
    (written,) = tmp_path.glob(f"whole_slide_{what}_192*.json")  # named for emulated bf16, too
    figures = json.loads(written.read_text())
    first, update = figures["inference" if what == "inference" else "updates"]
    assert (first["time"], update["time"]) == (1, 2)
    assert update["ratio"] == pytest.approx(
        update["seconds"] / update["same_pixels_as_crops_s"], rel=0.2
    )
    assert 0.1 < update["peak_rss_gb_so_far"] < 8
    assert "| 1.0 |" in written.with_suffix(".md").read_text()


@pytest.mark.long
def test_the_gpu_benchmark_runs_every_mode_without_a_gpu(tmp_path: Path) -> None:
    _run(
        "whole_slide_gpu.py",
        tmp_path,
        "--device",
        "cpu",
        "--size",
        "96",
        "--reference",
        "96",
        "--minutes",
        "10",  # five updates a row end it; on a busy machine a small limit would
    )
    rows = json.loads((tmp_path / "whole_slide_gpu_96.json").read_text())["rows"]
    assert {"in_core", "tiled", "offload"} <= {row["mode"] for row in rows if "mode" in row}
    assert all(row["images_per_s"] > 0 for row in rows if "mode" in row)
