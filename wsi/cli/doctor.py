"""``wsi doctor``: what this machine has, what will work on it, and how long a slide will take."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from wsi.cli import checkup
from wsi.cli.console import errors_in_one_line
from wsi.cli.options import device_option, json_option
from wsi.system import format_bytes


@click.command()
@click.option(
    "--architecture",
    default="resnet50",
    show_default=True,
    help="A ResNet of torchvision, or resnet10.",
)
@device_option
@click.option("--fast", is_flag=True, help="Measure nothing; leave out disk and predictions.")
@json_option
@errors_in_one_line
def doctor(architecture: str, device: str, fast: bool, as_json: bool) -> None:
    """Show what this machine has, which modes work, and how long a 10,000 px slide takes.

    Databases and brokers are looked for where the settings (WSI_...) say. The exit code is 1 where
    something that they name does not answer.
    """
    found = _examine(architecture, device, fast)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found)
    if any(service["problem"] for service in found["services"].values()):
        sys.exit(1)


def _examine(architecture: str, device: str, fast: bool) -> dict[str, Any]:
    from typing import cast

    from torchvision.models import ResNet

    from wsi.heap import tune_heap
    from wsi.models.backbones import build_backbone
    from wsi.models.runtime import resolve_device
    from wsi.networks import stage_network

    tune_heap()
    where = str(resolve_device(device))
    backbone = cast(ResNet, build_backbone(architecture, 2))
    network = stage_network(backbone, classes=2, pooling="lse").to(where)
    found: dict[str, Any] = {
        "architecture": architecture,
        "machine": checkup.machine(),
        "software": checkup.software(),
        "services": checkup.services(),
        "engines": checkup.engines(),
        "memory_modes": checkup.memory_modes(network, where),
    }
    if not fast:
        found["disk"] = checkup.disk_speed(_existing(Path(os.environ.get("WSI_DATA_DIR", "data"))))
        found["predictions"] = checkup.predictions(
            network, where, checkup.measured_speed(network, where)
        )
    return found


def _existing(folder: Path) -> Path:
    return folder if folder.is_dir() else Path(tempfile.gettempdir())


def _print(found: dict[str, Any]) -> None:
    # Wide enough for the longest reason where the output is no terminal.
    console = Console() if sys.stdout.isatty() else Console(width=140)
    for title, rows in (
        ("This machine", _machine_rows(found)),
        ("Software", _software_rows(found["software"])),
        ("Services of the settings", _service_rows(found["services"])),
        ("Engines on a CPU", _engine_rows(found["engines"])),
        (f"Memory modes, {found['architecture']} at 10,000 px", _mode_rows(found["memory_modes"])),
        ("A slide of 10,000 x 10,000 px, all tissue", _prediction_rows(found.get("predictions"))),
    ):
        if rows:
            table = Table(title=title, title_justify="left", show_header=False)
            for row in rows:
                table.add_row(*row)
            console.print(table)


def _machine_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    about = found["machine"]
    gpus = [f"{gpu['name']}, {format_bytes(gpu['memory_bytes'])}" for gpu in about["gpus"]]
    rows = [
        ("system", about["system"]),
        ("cores", f"{about['cores']} of {about['cores_of_the_machine']}"),
        (
            "memory",
            f"{format_bytes(about['memory_free_bytes'])} free; "
            f"container's limit: {format_bytes(about['memory_limit_bytes'], unknown='none')}",
        ),
        ("GPU", "; ".join(gpus) or "none that torch can use"),
        ("scratch", f"{format_bytes(about['scratch_free_bytes'])} free"),
    ]
    if disk := found.get("disk"):
        write, read = (disk[f"{what}_bytes_per_s"] / 1e6 for what in ("write", "read"))
        rows.append(("disk", f"{write:,.0f} MB/s written, {read:,.0f} MB/s read"))
    return rows


def _software_rows(software: dict[str, Any]) -> list[tuple[str, str]]:
    extras = ", ".join(f"{name} {'yes' if ok else 'no'}" for name, ok in software["extras"].items())
    versions = [(k, v or "missing") for k, v in software.items() if k != "extras"]
    return [*versions, ("extras", extras)]


def _service_rows(services: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (name, one["where"], "default" if one.get("default") else _verdict(one["problem"]))
        for name, one in services.items()
    ]


def _engine_rows(engines: dict[str, str | None]) -> list[tuple[str, str]]:
    return [(name, _verdict(problem)) for name, problem in engines.items()]


def _mode_rows(modes: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (mode, *(f"{use}: {_mode_verdict(said)}" for use, said in uses.items()))  # type: ignore[misc]
        for mode, uses in modes.items()
    ]


def _mode_verdict(said: dict[str, Any]) -> str:
    return _verdict(said["problem"]) if said["problem"] else f"works, {format_bytes(said['bytes'])}"


def _verdict(problem: str | None) -> str:
    return "works" if problem is None else f"no: {problem}"


def _prediction_rows(said: dict[str, Any] | None) -> list[tuple[str, str]]:
    if said is None:
        return []
    return [
        (
            "patch pipeline",
            f"{_time(said['patch_s'])} for {said['patches']:,} patches of {checkup.PATCH_PX} px "
            f"({said['patches_per_s']:.1f} a second; less tissue takes less)",
        ),
        ("whole-slide pipeline", _whole(said, "whole_slide")),
        ("whole-slide training, one update", _whole(said, "whole_slide_training_update")),
    ]


def _whole(said: dict[str, Any], name: str) -> str:
    if problem := said.get(f"{name}_problem"):
        return f"no: {problem}"
    return f"{_time(said[f'{name}_s'])} in mode {said[f'{name}_mode']}"


def _time(seconds: float) -> str:
    return f"about {seconds / 60:.1f} minutes" if seconds > 120 else f"about {seconds:.0f} seconds"
