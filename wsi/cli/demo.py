"""``wsi demo``: the whole way once, on slides made on the spot."""

# Coverage may be below 80 %: a test scores with models made before; that the demonstration
# trains them is run by .ci/run itself.

import csv
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from wsi.cli.client import ServiceClient
from wsi.cli.console import errors_in_one_line, progress_bar
from wsi.cli.options import PATH, mpp_options
from wsi.cli.processes import end_all, end_with_parent
from wsi.errors import WsiError
from wsi.extras import needs_extra
from wsi.malignancy import probability_text
from wsi.slide_names import slide_stem

MPP = 2.0  # micrometres per pixel at which the demonstration models look
_PATCH_PX = 64
_SLIDE_PX, _SLIDE_MPP = 4096, 0.5
_TRAIN, _VALIDATION = 8, 4
_START_S = 60.0
_STOPPING = (signal.SIGINT, signal.SIGTERM)


@click.command()
@click.option("--slide", type=PATH, help="Score this slide instead.")
@mpp_options
@click.option("--once", is_flag=True, help="Exit after printing the results.")
@click.option(
    "--dir",
    "folder",
    type=PATH,
    default=Path("demo"),
    show_default=True,
    help="Folder for everything; existing files are reused.",
)
@click.option(
    "--port", type=int, default=8000, show_default=True, help="Of the service, on 127.0.0.1."
)
@errors_in_one_line
def demo(
    slide: Path | None, mpp: float | None, force_mpp: bool, once: bool, folder: Path, port: int
) -> None:
    """Train a small model for each pipeline on synthetic slides and score a slide through the API.

    The models only know synthetic tissue: on a real slide they show how it works, not a finding.
    """
    for module, extra in (("uvicorn", "service"), ("sqlalchemy", "worker")):
        # Before minutes of training, not after them.
        with needs_extra(extra, "wsi demo"):
            importlib.import_module(module)
    models = folder / "models"
    slides = _make_slides(folder / "slides")
    _train_models(folder / "slides", models)
    chosen = slide or slides[-1]
    with _service(folder, port) as (client, url):
        _score(client, chosen, mpp, force_mpp, folder / "results")
        click.echo(f"\nReview page: {url}/   (research use only; not a medical device)")
        if not once:
            click.echo("Ctrl-C stops the demonstration.")
            _wait_for_signal()


def _make_slides(folder: Path) -> list[Path]:
    """Synthetic slides with their annotations, and the tables that name them."""
    from wsi.testing.slides import synthetic_slide, write_geojson

    folder.mkdir(parents=True, exist_ok=True)
    count = _TRAIN + _VALIDATION + 1
    rows, paths = [], []
    with progress_bar("slides") as tell:
        for index in range(count):
            cancer = index % 2 == 0
            path = folder / f"case-{index + 1:02d}-{'cancer' if cancer else 'benign'}.tif"
            paths.append(path)
            annotations = path.with_suffix(".geojson")
            if not annotations.exists():
                made = synthetic_slide(
                    path, _SLIDE_PX, _SLIDE_MPP, seed=index, cancer=0.25 if cancer else False
                )
                write_geojson(annotations, [("cancer", area) for area in made.cancer_polygons])
            split = "train" if index < _TRAIN else "val" if index < count - 1 else "test"
            rows.append(
                (path.name, annotations.name, ["benign", "cancer"][cancer], slide_stem(path), split)
            )
            tell("drawing", (index + 1) / count)
    with (folder / "slides.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "annotations", "label", "patient", "split"))
        writer.writerows(rows)
    return paths


def _train_models(slides: Path, models: Path) -> None:
    """One small model for each pipeline, unless an earlier run has made them."""
    from wsi.data.annotated_patches import annotated_patches
    from wsi.data.patches import InMemory
    from wsi.data.tables import read_table
    from wsi.models.card import CARD_FILE
    from wsi.training.tasks.patch import PatchTask
    from wsi.training.tasks.patch_config import PatchTraining
    from wsi.training.tasks.whole_slide import WholeSlideTask
    from wsi.training.tasks.whole_slide_config import WholeSlideTraining
    from wsi.training.trainer import Trainer

    patch_bundle, whole_bundle = models / "demo-patch", models / "demo-whole-slide"
    table = slides / "slides.csv"
    if not (patch_bundle / CARD_FILE).exists():
        classes = ("background", "benign", "cancer")
        config = PatchTraining(
            name=patch_bundle.name,
            classes=classes,
            mpp=MPP,
            input_px=_PATCH_PX,
            architecture="resnet10",
            epochs=6,
            average=0.98,
        )
        with progress_bar("patch model") as tell:
            train, validation = annotated_patches(
                table, classes, mpp=MPP, size_px=_PATCH_PX, unlabelled="benign", progress=tell
            )
            task = PatchTask(config, InMemory(train), InMemory(validation))
            card = Trainer(task, patch_bundle, progress=tell).run()
            _say(dict(card.metrics), "patch model")
    if not (whole_bundle / CARD_FILE).exists():
        whole = WholeSlideTraining(
            name=whole_bundle.name,
            classes=("benign", "cancer"),
            mpp=MPP,
            architecture="resnet10",
            start=str(patch_bundle),
            epochs=4,
            accumulate=2,
            learning_rate=3e-4,
            warmup=2,
        )
        rows = read_table(table, whole.classes, root=slides)
        with progress_bar("whole-slide model") as tell:
            whole_task = WholeSlideTask(whole, rows, slides)
            card = Trainer(whole_task, whole_bundle, progress=tell).run()
            _say(dict(card.metrics), "whole-slide model")


def _say(metrics: dict[str, float | None], what: str) -> None:
    click.echo(f"{what}: AUC {metrics['validation_auc']:.3f} on the synthetic validation slides")


@contextmanager
def _service(folder: Path, port: int) -> Iterator[tuple[ServiceClient, str]]:
    """API and worker on the embedded default; every process is ended on the way out."""
    port = _free_port(port)
    env = {
        **os.environ,
        "WSI_DATA_DIR": str((folder / "data").resolve()),
        "WSI_MODELS_DIR": str((folder / "models").resolve()),
        "WSI_DATABASE_URL": "",
        "WSI_BROKER_URL": "",
        "WSI_HOST": "127.0.0.1",
        "WSI_PORT": str(port),
    }
    log = (folder / "service.log").open("ab")
    children = [
        subprocess.Popen(
            [sys.executable, "-m", module],
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        for module in ("service", "workers")
    ]
    url = f"http://127.0.0.1:{port}"
    # SIGINT too: a shell that starts this in the background has it ignored.
    before = {number: signal.signal(number, _interrupt) for number in _STOPPING}
    try:
        with ServiceClient(url) as client:
            deadline = time.monotonic() + _START_S
            while not client.is_ready():
                ended = any(child.poll() is not None for child in children)
                if ended or time.monotonic() > deadline:
                    raise WsiError(f"the service did not start; see {folder / 'service.log'}")
                time.sleep(0.2)
            yield client, url
    finally:
        end_all(children)
        log.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _score(
    client: ServiceClient, slide: Path, mpp: float | None, force_mpp: bool, out: Path
) -> None:
    """Upload a slide, run both pipelines, print and save what they say."""
    uploaded = client.upload(slide, mpp, force_mpp=force_mpp)
    click.echo(f"\nuploaded {uploaded['name']}: {uploaded['width']} x {uploaded['height']} px")
    jobs = {name: client.start(uploaded["id"], name)["id"] for name in ("patch", "whole-slide")}
    folder = out / f"{slide_stem(slide)}-{uploaded['id'][:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, job_id in jobs.items():
        with progress_bar(name) as tell:
            client.wait(job_id, tell)
        result = client.result(job_id)
        chances = result["probabilities"].items()
        values = ", ".join(f"{k} {probability_text(p)}" for k, p in chances)
        seconds = ", ".join(f"{k} {s:.2f} s" for k, s in result["timings_s"].items())
        click.echo(f"{name:<12} {values or result['outcome']}   ({seconds})")
        for warning in result["warnings"]:
            click.echo(f"{'':<12} {warning}")
        for title, png in client.heatmaps(result):
            (folder / f"{name}-{title}.png").write_bytes(png)
    click.echo(f"heatmaps     {folder}")


def _free_port(wanted: int) -> int:
    """``wanted`` if nobody listens there, else any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_signal() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("stopping")
