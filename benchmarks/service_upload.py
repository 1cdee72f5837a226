"""Upload speed, resumable (tus) and in one request (multipart), against a plain copy and SHA-256.

Whole path: bytes over loopback, on disk, digested, the slide checked and taken in. Beside it, in
turns in the same run, what any upload costs at least on this machine: copy the file, flush it to
disk and digest it.

    python -m benchmarks.service_upload [--side 12000] [--repeats 3]
"""

import argparse
import hashlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from benchmarks.common import middle, write_result
from benchmarks.served import served
from wsi.cli.client import ServiceClient
from wsi.cli.tus import Upload

_TILE = 512


def write_slide(path: Path, side: int, seed: int) -> Path:
    """An uncompressed slide whose bytes differ from every other seed's."""
    tile = np.random.default_rng(seed).integers(0, 255, (_TILE, _TILE, 3), np.uint8)
    count = math.ceil(side / _TILE) ** 2
    tifffile.imwrite(
        path,
        (tile for _ in range(count)),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(_TILE, _TILE),
        photometric="rgb",
        resolution=(2e4, 2e4),
        resolutionunit="CENTIMETER",
    )
    return path


def copy_and_digest(source: Path, target: Path) -> None:
    """What an upload costs at least."""
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
        hashlib.file_digest(file, "sha256")
    target.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=12_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[float]] = {"copy": [], "tus": [], "multipart": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with served(folder / "data") as service, ServiceClient(service.url) as client:
            for turn in range(options.repeats):
                # A new slide each time: one that is known already is not stored again.
                for offset, name in enumerate(("tus", "multipart")):
                    slide = write_slide(folder / "s.tif", options.side, 2 * turn + offset)
                    size = slide.stat().st_size
                    runs: dict[str, Callable[[], object]] = {
                        "copy": lambda slide=slide: copy_and_digest(slide, folder / "copy"),
                        name: (
                            Upload(client, slide, folder / "memory").run
                            if name == "tus"
                            else lambda slide=slide: client.upload(slide)
                        ),
                    }
                    for what, run in runs.items():
                        started = time.perf_counter()
                        run()
                        times[what].append(time.perf_counter() - started)
                shutil.rmtree(folder / "data" / "slides")
                (folder / "data" / "slides").mkdir()
    speeds = {name: size / middle(values) / 1e6 for name, values in times.items()}
    shares = {name: round(speeds[name] / speeds["copy"], 2) for name in ("tus", "multipart")}
    write_result(
        "service_upload",
        f"Upload of a {size / 1e6:.0f} MB slide, checked and stored: {speeds['tus']:.0f} MB/s "
        f"resumable, {speeds['multipart']:.0f} MB/s in one request; copying, flushing and "
        f"digesting the same file runs at {speeds['copy']:.0f} MB/s (shares {shares['tus']} "
        f"and {shares['multipart']}).",
        {
            "slide_bytes": size,
            "repeats": options.repeats,
            "megabytes_per_s": {name: round(value, 1) for name, value in speeds.items()},
            "share_of_copy": shares,
            "seconds": {name: [round(v, 3) for v in values] for name, values in times.items()},
        },
    )


if __name__ == "__main__":
    main()
