"""Patches read per second: the stored JPEG tiles decoded directly, against OpenSlide.

All tissue patches of a 20,000 x 20,000 px JPEG slide at 0.5 mpp, two threads each, in turns in one
process. OpenSlide gets what is best for it: a handle of its own for each thread, and the raw RGBA
array without conversion. Every patch that ours gives is compared with OpenSlide's once. Ours finds
tiles that are cut off; it is also compared with itself over a decoder that does not.

    python -m benchmarks.reading [--size 20000] [--repeats 5] [--whole-tiles]

With ``--whole-tiles`` ours is compared with itself alone, by processor time, which other work on
the machine hardly changes.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import imagecodecs
import numpy as np
import openslide

from benchmarks.common import benchmark_slide, middle, seconds, write_result
from wsi.patches import PatchGrid, PatchSpec, PatchStream, resolve_grid
from wsi.slides import RGB, SlideReader, open_slide
from wsi.tissue import find_tissue

_THREADS = 2
Reads = list[tuple[int, int]]


def _in_threads(work: Callable[[int, Reads], None], cells: Reads) -> None:
    """Split the cells into runs, one for each thread."""
    parts = [
        cells[i * len(cells) // _THREADS : (i + 1) * len(cells) // _THREADS]
        for i in range(_THREADS)
    ]
    threads = [threading.Thread(target=work, args=(i, part)) for i, part in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _direct(path: Path, grid: PatchGrid, cells: Reads) -> None:
    # Opened anew each time, so that nothing is left in its cache.
    with open_slide(path, backend="direct") as slide:

        def work(_: int, part: Reads) -> None:
            for cell in part:
                slide.read_region(grid.region(*cell), grid.size)

        _in_threads(work, cells)


def _unchecked(path: Path, grid: PatchGrid, cells: Reads) -> None:
    """As ``_direct``, where a tile that breaks off decodes to grey without an error."""

    def decode(data: bytes, _: bytes) -> RGB:
        pixels: RGB = imagecodecs.jpeg8_decode(data, colorspace="YCBCR", outcolorspace="RGB")
        return pixels

    with mock.patch("wsi.slides.tiff_reader.decode_tile", decode):
        _direct(path, grid, cells)


def _openslide(path: Path, grid: PatchGrid, cells: Reads) -> None:
    handles = [openslide.OpenSlide(path) for _ in range(_THREADS)]
    size = (grid.size.width, grid.size.height)

    def work(thread: int, part: Reads) -> None:
        for cell in part:
            origin = grid.origin(*cell)
            np.asarray(handles[thread].read_region((int(origin.x), int(origin.y)), 0, size))

    _in_threads(work, cells)
    for handle in handles:
        handle.close()


def _stream(path: Path, grid: PatchGrid) -> None:
    with open_slide(path, backend="direct") as slide:
        for _ in PatchStream(slide, grid, batch_size=64, threads=_THREADS):
            pass


def _largest_difference(ours: SlideReader, path: Path, grid: PatchGrid, cells: Reads) -> int:
    with open_slide(path, backend="openslide") as theirs:
        return max(
            int(
                np.abs(
                    ours.read_region(grid.region(*cell), grid.size).astype(np.int16)
                    - theirs.read_region(grid.region(*cell), grid.size)
                ).max()
            )
            for cell in cells
        )


def measure(path: Path, size_px: int, repeats: int) -> dict[str, float]:
    """Patches a second of one grid, each way, and the largest difference of any pixel."""
    with open_slide(path, backend="direct") as slide:
        spec = PatchSpec(mpp=0.5, size_px=size_px, min_tissue=0.1)
        grid = resolve_grid(slide, spec, find_tissue(slide))
        cells: Reads = [(int(row), int(column)) for row, column in grid.cells_n2]
        difference = _largest_difference(slide, path, grid, cells)
    times: dict[str, list[float]] = {"direct": [], "unchecked": [], "openslide": [], "stream": []}
    for _ in range(repeats):
        times["direct"] += seconds(lambda: _direct(path, grid, cells), 1)
        times["unchecked"] += seconds(lambda: _unchecked(path, grid, cells), 1)
        times["openslide"] += seconds(lambda: _openslide(path, grid, cells), 1)
        times["stream"] += seconds(lambda: _stream(path, grid), 1)
    rates = {name: len(cells) / middle(values) for name, values in times.items()}
    return {
        "patch_px": size_px,
        "patches": len(cells),
        "direct_per_s": round(rates["direct"]),
        "unchecked_per_s": round(rates["unchecked"]),
        "openslide_per_s": round(rates["openslide"]),
        "patch_stream_per_s": round(rates["stream"]),
        "ratio": round(rates["direct"] / rates["openslide"], 2),
        "ratio_to_unchecked": round(rates["direct"] / rates["unchecked"], 2),
        "stream_ratio": round(rates["stream"] / rates["openslide"], 2),
        "largest_difference_grey_levels": difference,
    }


def measure_whole_tiles(path: Path, size_px: int, repeats: int) -> dict[str, float]:
    """Processor time of a patch with and without the look at whether tiles are whole."""
    with open_slide(path, backend="direct") as slide:
        spec = PatchSpec(mpp=0.5, size_px=size_px, min_tissue=0.1)
        grid = resolve_grid(slide, spec, find_tissue(slide))
    cells: Reads = [(int(row), int(column)) for row, column in grid.cells_n2]
    times: dict[str, list[float]] = {"direct": [], "unchecked": []}
    for _ in range(repeats):
        for name, read in (("direct", _direct), ("unchecked", _unchecked)):
            start = time.process_time()
            read(path, grid, cells)
            times[name].append((time.process_time() - start) / len(cells) * 1e6)
    microseconds = {name: middle(values) for name, values in times.items()}
    return {
        "patch_px": size_px,
        "patches": len(cells),
        "direct_us": microseconds["direct"],
        "unchecked_us": microseconds["unchecked"],
        "rate_to_unchecked": round(microseconds["unchecked"] / microseconds["direct"], 3),
    }


def _write_whole_tiles(path: Path, size_px: int, repeats: int) -> None:
    grids = [measure_whole_tiles(path, px, repeats) for px in (256, 224)]
    rates = [grid["rate_to_unchecked"] for grid in grids]
    line = (
        f"Reading patches with a look at whether each stored tile is whole: {rates[0]}x (224 px "
        f"grid {rates[1]}x) of the rate without, by processor time on a slide of {size_px} px."
    )
    write_result("reading_whole_tiles", line, {"slide_px": size_px, "grids": grids})


def main() -> None:
    """Measure and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--whole-tiles", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = benchmark_slide(Path(folder), options.size)
        if options.whole_tiles:
            return _write_whole_tiles(made.path, options.size, options.repeats)
        grids = [measure(made.path, px, options.repeats) for px in (256, 224)]
    aligned, other = grids
    most = max(grid["largest_difference_grey_levels"] for grid in grids)
    line = (
        f"Reading {aligned['patches']} tissue patches (256 px, 0.5 mpp, {options.size} px slide, "
        f"{_THREADS} threads): {aligned['direct_per_s']:,} a second against OpenSlide's "
        f"{aligned['openslide_per_s']:,} ({aligned['ratio']}x; 224 px grid {other['ratio']}x), and "
        f"{aligned['ratio_to_unchecked']}x (224 px: {other['ratio_to_unchecked']}x) of the rate "
        "without a look at whether tiles are whole; "
        f"pixels differ by at most {most} grey levels."
    )
    write_result("reading", line, {"slide_px": options.size, "threads": _THREADS, "grids": grids})


if __name__ == "__main__":
    main()
