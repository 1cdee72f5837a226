"""``wsi ...``: thin commands over the library. Heavy libraries are imported inside them."""

import click

from wsi.cli.analyze import analyze
from wsi.cli.console import quiet_libraries
from wsi.cli.demo import demo
from wsi.cli.evaluate import evaluate
from wsi.cli.inspect import info, models, tissue
from wsi.cli.plan import plan
from wsi.cli.processes import serve, worker
from wsi.cli.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wholeslide")
def main() -> None:
    """Whole-slide pathology cancer detection.

    Research use only; not a medical device.
    """
    quiet_libraries()


for _command in (info, tissue, analyze, train, plan, evaluate, models, serve, worker, demo):
    main.add_command(_command)
