"""Memory modes on one GPU: images a second and peak device memory, in one run of ten minutes.

    python benchmarks/whole_slide_gpu.py --size 10000

For each mode a warm-up update and then timed ones of ResNet-50 in bf16: tiled as a plan for the
given device memory chooses it and where tiles keep nothing; in_core and offload with frozen and
with train-mode BatchNorm; offload as a plan for 24 and for 80 GB chooses it, with grouping and
prefetch and without either; and unified at ``--reference`` px, the published way, in managed
memory that the card has free. Planned rows run under a hard limit of the memory that they were
planned for. The reference is the in-core pixel rate of the same card at ``--reference`` px in the
same run. A mode that does not fit is a row that says so. Prints a table and writes JSON under
results/; ``--device cpu --size 512`` tries it without a GPU.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from wsi.errors import WsiError
from wsi.networks import NormKind, StagedNetwork, stage_network
from wsi.planning import calibrate, plan
from wsi.streaming import RunOptions, make_mode
from wsi.streaming.api import MemoryMode

HOST_BYTES = 110 * 10**9


class NoiseImage:
    """Noise that lies on the device in bf16: reading and decoding are not what is measured."""

    def __init__(self, side: int, device: str) -> None:
        self._pixels = torch.randn(1, 3, side, side, dtype=torch.bfloat16, device=device)
        self.size = (side, side)
        self.batch = 1

    def read(self, y0: int, x0: int, height: int, width: int) -> Tensor:
        """(1, 3, height, width) bfloat16, a view."""
        return self._pixels[:, :, y0 : y0 + height, x0 : x0 + width]


def loss(logits: Tensor) -> Tensor:
    """Cross-entropy against class 1."""
    return torch.nn.functional.cross_entropy(logits, torch.tensor([1], device=logits.device))


def network(device: str, norm: NormKind) -> StagedNetwork:
    """ResNet-50 on the device."""
    torch.manual_seed(0)
    net = stage_network(torchvision.models.resnet50(), classes=2, norm=norm)
    net = net.to(device)
    return net.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Case:
    """A row: what runs.

    Attributes:
        name: in the table.
        size: side of the image in px.
        mode, options: for ``make_mode``.
        norm: of the network.
        limit: of the device memory that torch may reserve, in bytes; ``None`` for all of it.
        predicted_s, predicted_bytes: by the plan, where it made the options.
        refused: by the plan, and why; then nothing runs.
    """

    name: str
    size: int
    mode: str
    options: dict[str, Any] = field(default_factory=dict)
    norm: NormKind = "frozen"
    limit: int | None = None
    predicted_s: float | None = None
    predicted_bytes: int | None = None
    refused: str | None = None


def first_line(error: Exception) -> str:
    """An error as a cell of the table."""
    return str(error).splitlines()[0][:160]


def cases(arguments: argparse.Namespace) -> list[Case]:
    """Every row, the reference first."""
    size, reference = arguments.size, arguments.reference
    cuda = arguments.device != "cpu"
    run = RunOptions(device=arguments.device, autocast=torch.bfloat16)
    calibration_px = None if cuda else min(512, size)
    speed = calibrate(network(arguments.device, "frozen"), run, calibration_px)

    def planned(mode: str, norm: NormKind, gigabytes: float) -> Case:
        """What a plan for so much device memory chooses, the image in it."""
        limit = int(gigabytes * 1e9) if cuda else None
        image_bytes = 3 * size**2 * 2
        budget = None if limit is None else limit - image_bytes
        name = f"{mode}, planned for {gigabytes:g} GB"
        name += ", train-mode BN" if norm == "batch" else ""
        try:
            chosen = plan(
                network("meta", norm),
                (size, size),
                budget,
                HOST_BYTES,
                disk_budget=0 if cuda else HOST_BYTES,
                dtype=torch.bfloat16,
                mode=mode,
                speed=speed,
            )
        except WsiError as error:
            return Case(name, size, mode, norm=norm, refused=first_line(error))
        print(chosen.table(), flush=True)
        return Case(
            name,
            size,
            mode,
            chosen.options,
            norm,
            limit=limit,
            predicted_s=chosen.seconds,
            predicted_bytes=chosen.device_bytes + image_bytes,
        )

    tiled = planned("tiled", "frozen", arguments.memory)
    all_tiled = {"tile_px": min(2048, size), "boundaries": "device" if cuda else "host"}
    grouped = {"group_bytes": 2**30}
    alone = {**grouped, "prefetch": False}
    neither = {"group_bytes": 1, "prefetch": False}
    rows = [
        Case("in_core reference", reference, "in_core"),
        tiled,
        Case("tiled, nothing kept", size, "tiled", all_tiled),
        Case(
            "tiled, boundaries on the host", size, "tiled", {**tiled.options, "boundaries": "host"}
        ),
        Case("in_core", size, "in_core"),
        Case("in_core, train-mode BN", size, "in_core", norm="batch"),
    ]
    if cuda:
        managed = {**grouped, "limit_bytes": int(16e9)}
        not_asked = {**managed, "prefetch": False}
        rows += [
            Case("unified, small", reference, "unified", managed),
            Case("unified, small, no prefetch", reference, "unified", not_asked),
        ]
    # The last of the offload rows need the most pinned memory, which takes a minute to have.
    return [
        *rows,
        Case("offload, small", reference, "offload", grouped),
        Case("offload", size, "offload", grouped),
        Case("offload, no prefetch", size, "offload", alone),
        Case("offload, no groups, no prefetch", size, "offload", neither),
        planned("offload", "batch", 80),
        planned("offload", "batch", 24),
        Case("offload, train-mode BN", size, "offload", grouped, norm="batch"),
    ]


@contextmanager
def memory_limit(nbytes: int | None) -> Iterator[None]:
    """Torch may reserve no more of the device than this."""
    if nbytes is None:
        yield
        return
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(nbytes / torch.cuda.mem_get_info()[1])
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


class Modes:
    """The mode of the row before; offload's serves the next, with the memory that it pinned."""

    def __init__(self, run: RunOptions) -> None:
        self._run = run
        self._mode: MemoryMode | None = None

    def get(self, case: Case) -> MemoryMode:
        """The mode of a row."""
        new = make_mode(case.mode, self._run, **case.options)
        if case.mode == "offload" and self._mode is not None and self._mode.name == "offload":
            self._mode.settings = new.settings  # type: ignore[attr-defined]
            return self._mode
        self.close()
        self._mode = new
        return new

    def close(self) -> None:
        """Give back what is held."""
        close = getattr(self._mode, "close", None)
        if close is not None:
            close()
        self._mode = None


def measure(case: Case, modes: Modes, device: str, seconds: float) -> dict[str, Any]:
    """One row; ``seconds`` is the time left for timed updates."""
    row = {key: value for key, value in asdict(case).items() if value is not None}
    row["options"] = {key: str(value) for key, value in case.options.items()}
    if case.refused is not None:
        return row
    cuda = device != "cpu"
    try:
        with memory_limit(case.limit):
            net, image = network(device, case.norm), NoiseImage(case.size, device)
            mode = modes.get(case)
            start = time.perf_counter()
            mode.step(net, image, loss)  # kernels are chosen and slabs pinned here
            row["first_update_s"] = round(time.perf_counter() - start, 3)
            times: list[float] = []
            peak = reserved = 0
            start = time.perf_counter()
            while not times or (len(times) < 5 and time.perf_counter() - start < seconds):
                net.zero_grad()
                measured = mode.step(net, image, loss).measured
                times.append(measured.seconds)
                peak = max(peak, measured.peak_device_bytes)
                reserved = max(reserved, torch.cuda.max_memory_reserved() if cuda else 0)
            row["counters"] = measured.counters
    except (WsiError, torch.cuda.OutOfMemoryError) as error:
        # A mode that does not fit this card is a result of the benchmark, not its failure.
        row["refused"] = first_line(error)
        return row
    finally:
        if cuda:
            torch.cuda.empty_cache()
    best = min(times)
    row["updates_s"] = [round(seconds, 4) for seconds in times]
    row["update_s"] = round(best, 4)
    row["images_per_s"] = round(1 / best, 4)
    row["megapixels_per_s"] = round(case.size**2 / best / 1e6, 3)
    row["peak_device_gb"] = round(peak / 1e9, 3)
    row["peak_reserved_gb"] = round(reserved / 1e9, 3)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown; the rate against the reference row's."""
    lines = [
        "| mode | size, px | update, s | images/s | Mpx/s | of in-core rate | peak device, GB "
        "| reserved, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    reference = rows[0].get("megapixels_per_s")
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['name']} | {row['size']} | {row['refused']} | | | | | |")
            continue
        share = row["megapixels_per_s"] / reference if reference else float("nan")
        lines.append(
            f"| {row['name']} | {row['size']} | {row['update_s']} | {row['images_per_s']} "
            f"| {row['megapixels_per_s']} | {share:.2f} | {row['peak_device_gb']} "
            f"| {row['peak_reserved_gb']} |"
        )
    return "\n".join(lines) + "\n"


def write(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """Write what is measured so far; returns the text."""
    figures = {
        "command": " ".join(["python", "benchmarks/whole_slide_gpu.py", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name() if arguments.device != "cpu" else "cpu",
        "torch": torch.__version__,
        "rows": rows,
    }
    name = f"whole_slide_gpu_{arguments.size}"
    (arguments.out / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    text = f"`{figures['command']}` on {figures['device']}\n\n{table(rows)}"
    (arguments.out / f"{name}.md").write_text(text)
    return text


def main() -> None:
    """Parse, measure until the time is up, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--reference", type=int, default=3_000)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--memory", type=float, default=16.0, help="device budget of tiled, GB")
    parser.add_argument("--minutes", type=float, default=9.0, help="for the whole run")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    # Tiles have many shapes: searching for the fastest kernels costs more than it saves.
    torch.backends.cudnn.benchmark = False
    rows: list[dict[str, Any]] = []
    waiting = cases(arguments)
    modes = Modes(RunOptions(device=arguments.device, autocast=torch.bfloat16))
    while waiting:
        left = end - time.monotonic()
        case = waiting.pop(0)
        if left < 0:
            rows.append({"name": case.name, "size": case.size, "refused": "out of time"})
            continue
        share = left / (2 * (len(waiting) + 1))
        rows.append(measure(case, modes, arguments.device, share))
        print(json.dumps(rows[-1]), flush=True)
        write(rows, arguments)
    modes.close()
    print(write(rows, arguments))


if __name__ == "__main__":
    main()
