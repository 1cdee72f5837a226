"""Memory modes on one GPU: images a second and peak device memory, in one run of ten minutes.

    python benchmarks/whole_slide_gpu.py --size 10000

For each mode a warm-up update and then timed ones of ResNet-50 in bf16: in_core (frozen and
train-mode BatchNorm), tiled (all stages tiled, and late stages in-core, as a plan for the given
device memory chooses), offload with grouping and prefetch and without either. The reference is
the in-core pixel rate of the same card at ``--reference`` px in the same run. A mode that does
not fit is a row that says so. Prints a table and writes JSON under results/; ``--device cpu
--size 512`` tries it without a GPU.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from wsi.errors import WsiError
from wsi.memory import NormKind, RunOptions, StagedNetwork, make_mode, plan, stage_network


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


def cases(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every row: name, norm, size, mode, options."""
    size, reference = arguments.size, arguments.reference
    net = network("meta", "frozen")
    cuda = arguments.device != "cpu"
    budget = int(arguments.memory * 1e9)
    planned = plan(
        net, (size, size), budget if cuda else None, 64 * 10**9, dtype=torch.bfloat16, mode="tiled"
    )
    place = "device" if cuda else "host"
    grouped = {"group_bytes": 2**30}
    rows = [
        ("in_core reference", "frozen", reference, "in_core", {}),
        ("tiled, planned", "frozen", size, "tiled", planned.options),
        (
            "tiled, all stages",
            "frozen",
            size,
            "tiled",
            {"tile_px": min(2048, size), "boundaries": place},
        ),
        ("in_core", "frozen", size, "in_core", {}),
        ("offload", "frozen", size, "offload", grouped),
        ("offload, no prefetch", "frozen", size, "offload", {**grouped, "prefetch": False}),
        (
            "offload, no groups, no prefetch",
            "frozen",
            size,
            "offload",
            {"group_bytes": 1, "prefetch": False},
        ),
        ("in_core, train-mode BN", "batch", size, "in_core", {}),
        ("offload, train-mode BN", "batch", size, "offload", grouped),
    ]
    return [
        {"name": name, "norm": norm, "size": side, "mode": mode, "options": options}
        for name, norm, side, mode, options in rows
    ]


def measure(case: dict[str, Any], arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """One row; ``seconds`` is the time left for timed updates."""
    row = {
        "name": case["name"],
        "mode": case["mode"],
        "size_px": case["size"],
        "norm": case["norm"],
    }
    run = RunOptions(device=arguments.device, autocast=torch.bfloat16)
    net = network(arguments.device, case["norm"])
    image = NoiseImage(case["size"], arguments.device)
    mode = make_mode(case["mode"], run, **case["options"])
    try:
        mode.step(net, image, loss)  # kernels are chosen and slabs pinned here
        times: list[float] = []
        peak = 0
        start = time.perf_counter()
        while not times or (len(times) < 5 and time.perf_counter() - start < seconds):
            net.zero_grad()
            measured = mode.step(net, image, loss).measured
            times.append(measured.seconds)
            peak = max(peak, measured.peak_device_bytes)
    except (WsiError, torch.cuda.OutOfMemoryError) as error:
        # A mode that does not fit this card is a result of the benchmark, not its failure.
        row["refused"] = str(error).splitlines()[0][:160]
        return row
    finally:
        close = getattr(mode, "close", None)
        if close is not None:
            close()
        if arguments.device != "cpu":
            torch.cuda.empty_cache()
    best = min(times)
    row["update_s"] = round(best, 4)
    row["images_per_s"] = round(1 / best, 4)
    row["megapixels_per_s"] = round(case["size"] ** 2 / best / 1e6, 3)
    row["peak_device_gb"] = round(peak / 1e9, 3)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown; the rate against the reference row's."""
    lines = [
        "| mode | size, px | update, s | images/s | Mpx/s | of in-core rate | peak device, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    reference = rows[0].get("megapixels_per_s")
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['name']} | {row['size_px']} | {row['refused']} | | | | |")
            continue
        share = row["megapixels_per_s"] / reference if reference else float("nan")
        lines.append(
            f"| {row['name']} | {row['size_px']} | {row['update_s']} | {row['images_per_s']} "
            f"| {row['megapixels_per_s']} | {share:.2f} | {row['peak_device_gb']} |"
        )
    return "\n".join(lines) + "\n"


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
    torch.backends.cudnn.benchmark = (
        False  # tiles of many shapes: searching costs more than it saves
    )
    rows = []
    waiting = cases(arguments)
    while waiting:
        left = end - time.monotonic()
        case = waiting.pop(0)
        if left < 0:
            rows.append({"name": case["name"], "size_px": case["size"], "refused": "out of time"})
            continue
        rows.append(measure(case, arguments, left / (2 * (len(waiting) + 1))))
        print(json.dumps(rows[-1]), flush=True)
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
    print(text)


if __name__ == "__main__":
    main()
