"""``wsi plan``: what training a network on whole slides would need, on any machine."""

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.options import MODES, NORMS, OPTIMIZERS, POOLINGS

_SIDE = click.IntRange(min=32, max=1_000_000)


@click.command()
@click.option("--size", type=_SIDE, required=True, help="Longer side of the slide in pixels.")
@click.option("--height", type=_SIDE, help="Other side in pixels.  [default: the same]")
@click.option("--device-memory", help="Of the GPU, such as 16GB; without it a CPU is planned for.")
@click.option("--host-memory", help="Of the machine, such as 64GB.  [default: what is free]")
@click.option("--disk", help="Scratch space, such as 500GB.  [default: none]")
@click.option(
    "--tissue",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the slide that is tissue; glass is computed once.",
)
@click.option("--inference", is_flag=True, help="Plan scoring instead of training.")
@click.option(
    "--architecture",
    default="resnet50",
    show_default=True,
    help="A ResNet of torchvision, or resnet10.",
)
@click.option("--norm", type=click.Choice(NORMS), default="frozen", show_default=True)
@click.option(
    "--pooling",
    type=click.Choice(POOLINGS),
    default="lse",
    show_default=True,
    help="From feature-map positions to the slide; lse is log-sum-exp.",
)
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adamw", show_default=True)
@click.option(
    "--mode", type=click.Choice(MODES), help="Only this one.  [default: the fastest that fits]"
)
@click.option(
    "--precision", type=click.Choice(["bfloat16", "float32"]), default="bfloat16", show_default=True
)
@errors_in_one_line
def plan(
    size: int,
    height: int | None,
    device_memory: str | None,
    host_memory: str | None,
    disk: str | None,
    tissue: float,
    inference: bool,
    architecture: str,
    norm: str,
    pooling: str,
    optimizer: str,
    mode: str | None,
    precision: str,
) -> None:
    """Print how one training update would run: mode, tiles, memory and seconds, stage by stage."""
    from wsi.api import plan as make_plan

    planned = make_plan(
        (height or size, size),
        device_memory=device_memory,
        host_memory=host_memory,
        disk=disk or 0,
        architecture=architecture,
        norm=norm,
        pooling=pooling,
        optimizer=optimizer,
        mode=mode,
        precision=precision,
        training=not inference,
        tissue=tissue,
    )
    click.echo(planned.table())
