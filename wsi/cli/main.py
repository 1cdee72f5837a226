"""``wsi ...``: thin commands over the library. Heavy libraries are imported inside them."""

import click

from wsi.cli.analyze import analyze
from wsi.cli.console import quiet_libraries
from wsi.cli.dataset import dataset
from wsi.cli.demo import demo
from wsi.cli.doctor import doctor
from wsi.cli.evaluate import evaluate
from wsi.cli.inspect import info, models, tissue
from wsi.cli.plan import plan
from wsi.cli.processes import serve, worker
from wsi.cli.quantize import quantize
from wsi.cli.remote import remote
from wsi.cli.reviews import reviews
from wsi.cli.strip import strip_labels
from wsi.cli.study import study
from wsi.cli.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="wholeslide")
def main() -> None:
    """Whole-slide pathology cancer detection.

    Research use only; not a medical device.
    """
    quiet_libraries()


remote.add_command(reviews)
_LOOKING = (info, tissue, strip_labels, dataset, models, plan)
_WORKING = (analyze, train, evaluate, study)
_SERVING = (serve, worker, remote, demo)
for _command in (*_LOOKING, *_WORKING, *_SERVING):
    main.add_command(_command)
main.add_command(quantize)
main.add_command(doctor)
