"""Does the whole-slide network learn from slide labels alone, and does resolution matter?

No tumour-free slide is at hand, so slides are collages of real patches: a slide a patient, that
patient's patches on white glass, seven of invasive ductal carcinoma and seven without in a
positive slide, fourteen without in a negative one (fewer where the patient has fewer). Patches and
the split by patient: Cruz-Roa 2014, Janowczyk and Madabhushi 2016. Validation patients choose the
best epoch too, for both pipelines. A collage is easier than a slide: half of a positive one is
cancer.

The same slides are drawn at the patches' own scale and enlarged, and the same training runs at
full, half and quarter resolution. The patch pipeline learns from the labels of the same patients'
patches, and scores the same validation slides, as it is and with gated attention trained on the
training slides' embeddings.

    python -m benchmarks.collages [--seeds 3] [--patch-models FOLDER] [--processes 2] [--resume]
    python -m benchmarks.collages --draw FOLDER

With ``--resume`` trainings whose figures the results file holds already are kept and the rest is
trained: three enlarged ones at full resolution take an hour on two cores.
The second command trains nothing: it writes the slides, where cancer lies in them (GeoJSON) and
all.csv.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.collage_slides import OWN, Scale, draw_only, draw_slides
from benchmarks.common import RESULTS, write_result
from benchmarks.idc_patches import CLASSES, STATED_MPP
from benchmarks.idc_patches import train as train_patches
from wsi.data.augment import AugmentSpec
from wsi.data.bags import read_bags
from wsi.data.tables import Row
from wsi.models.aggregators.stored import join_bundles
from wsi.models.bundle import load_bundle
from wsi.pipelines.aggregator_inputs import write_inputs
from wsi.pipelines.patch import PatchPipeline
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore
from wsi.training.tasks.attention import AttentionTask, AttentionTraining
from wsi.training.tasks.whole_slide import WholeSlideTask
from wsi.training.tasks.whole_slide_config import WholeSlideTraining
from wsi.training.trainer import Trainer

INTERVAL_DRAWS = 2000


ENLARGED = Scale(enlarge=4, margin=1, epochs=7)
SHARES = (0.25, 0.5, 1.0)
PATCH, ATTENDED = "patch pipeline", "patch pipeline, gated attention"


def train_whole(
    rows: list[Row], root: Path, out: Path, mpp: float, epochs: int, seed: int
) -> dict[str, Any]:
    """One training from scratch; its best epoch's validation scores and the AUC of each epoch.

    GroupNorm spans the image, so slides run in-core; they are small. With ``norm="cell"``, which
    tiles can do, some seeds learnt next to nothing in as many epochs.
    """
    config = WholeSlideTraining(
        name=out.name,
        classes=CLASSES,
        mpp=mpp,
        architecture="resnet10",
        norm="group",
        pooling="average",
        epochs=epochs,
        accumulate=1,
        learning_rate=3e-4,
        weight_decay=0.05,
        warmup=20,
        label_smoothing=0.05,
        checkpoint_updates=1000,
        seed=seed,
        augmentation=AugmentSpec(stain=0.1, brightness=0.2),
    )
    task = WholeSlideTask(config, rows, root, on_plan=print)
    trainer = Trainer(task, out)
    trainer.run()
    validation = [row for row in rows if row.split == "val"]
    # The bundle holds the best epoch's weights, the task the last one's.
    task.network.load_state_dict(load_bundle(out)[1])
    scores = task.predict(validation)[:, 1]
    curve = [round(figures["validation_auc"], 4) for figures in trainer.history]
    return {"seed": seed, "scores": scores.round(5).tolist(), "curve": curve}


def score_patch(bundle: Path, rows: list[Row], root: Path, scratch: Path) -> NDArray[np.float64]:
    """The patch pipeline's probability of cancer of each validation slide."""
    pipeline = PatchPipeline.load(bundle, "cpu")
    scores = []
    for row in rows:
        with open_slide(root / row.path) as slide:
            store = SlideStore(str(scratch / f"{bundle.name}-{row.patient}.zarr"))
            result = pipeline.analyze(slide, store, no_progress)
        scores.append(result.probabilities["cancer"])
    return np.array(scores)


def add_attention(bundle: Path, rows: list[Row], root: Path, folder: Path, seed: int) -> Path:
    """The bundle with gated attention (Ilse 2018) trained on the training slides' embeddings."""
    pipeline = PatchPipeline.load(bundle, "cpu")
    for outcome in write_inputs(pipeline, rows, root, folder / "inputs"):
        assert not outcome.problem, outcome.problem
    bags = read_bags(folder / "inputs" / "bags.csv", folder / "inputs", CLASSES)
    config = AttentionTraining(name="attention", kind="gated-attention", classes=CLASSES, seed=seed)
    Trainer(AttentionTask(config, bags), folder / "alone").run()
    join_bundles(bundle, folder / "alone", folder / f"{bundle.name}-attention")
    return folder / f"{bundle.name}-attention"


def summarize(labels: NDArray[np.int64], scores: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """AUC of each seed, their mean, and its 95 % interval over draws of the patients."""
    aucs = [float(roc_auc_score(labels, values)) for values in scores]
    rng = np.random.default_rng(0)
    means = []
    while len(means) < INTERVAL_DRAWS:
        drawn = rng.integers(len(labels), size=len(labels))
        if 0 < labels[drawn].sum() < len(labels):
            means.append(np.mean([roc_auc_score(labels[drawn], v[drawn]) for v in scores]))
    low, high = np.quantile(means, (0.025, 0.975))
    return {
        "auc_mean": round(statistics.mean(aucs), 4),
        "auc_sd": round(statistics.stdev(aucs), 4) if len(aucs) > 1 else 0.0,
        "interval_95": [round(float(low), 3), round(float(high), 3)],
        "auc_of_seeds": [round(value, 4) for value in aucs],
    }


def train_and_score_patches(
    data: Path, bundle: Path, rows: list[Row], root: Path, scratch: Path, seed: int, epochs: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Validation scores of one patch pipeline, as it is and with gated attention."""
    if not bundle.exists():
        train_patches(data, bundle, seed, epochs)
    validation = [row for row in rows if row.split == "val"]
    joined = add_attention(bundle, rows, root, scratch / f"attention-{seed}", seed)
    plain = score_patch(bundle, validation, root, scratch)
    return plain, score_patch(joined, validation, root, scratch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--patch-models", type=Path, help="Bundles idc-0, idc-1 ...; those not there are trained."
    )
    parser.add_argument("--patch-epochs", type=int, default=30)
    parser.add_argument("--enlarged-seeds", type=int, default=3)
    parser.add_argument("--only", choices=["own", "enlarged"])
    parser.add_argument(
        "--processes", type=int, default=2, help="Trainings at once; they share the cores."
    )
    parser.add_argument("--resume", action="store_true", help="Keep the figures that are there.")
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="Only write the slides.")
    arguments = parser.parse_args()
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    data = Path(os.environ.get("WSI_TEST_DATA", default)).resolve()
    if arguments.draw:
        draw_only(data / "idc_patches", arguments.draw)
        return
    threads = max(1, (os.cpu_count() or 1) // arguments.processes)
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(arguments.processes, spawn, torch.set_num_threads, (threads,)) as pool,
    ):
        run(arguments, data, Path(name), pool)


def run(arguments: argparse.Namespace, data: Path, folder: Path, pool: Executor) -> None:
    """Every training of both pipelines; the figures are written as they come."""
    figures: dict[str, Any] = {}
    written = RESULTS / f"{result_name(arguments.only)}.json"
    if arguments.resume and written.exists():
        figures = json.loads(written.read_text())["figures"]
    rows: list[Row] = []
    for kind, scale, seeds in (
        ("own", OWN, arguments.seeds),
        ("enlarged", ENLARGED, arguments.enlarged_seeds),
    ):
        if arguments.only not in (None, kind) or not seeds:
            continue
        root = folder / kind
        root.mkdir()
        rows = draw_slides(data / "idc_patches", root, scale)
        for label, entry in run_scale(rows, root, kind, scale, seeds, pool, figures):
            figures[label] = entry
            print(label, entry, flush=True)
            write_figures(figures, rows, arguments.only)
        if kind == "own" and PATCH not in figures:
            scored = run_patches(arguments, data, folder, rows, root, pool)
            for label, values in zip((PATCH, ATTENDED), scored, strict=True):
                found = summarize(validation_labels(rows), values)
                figures[label] = found | {"patch_epochs": arguments.patch_epochs}
    write_figures(figures, rows, arguments.only)


def run_patches(
    arguments: argparse.Namespace,
    data: Path,
    folder: Path,
    rows: list[Row],
    root: Path,
    pool: Executor,
) -> Iterator[Sequence[NDArray[np.float64]]]:
    """Each seed's validation scores of the patch pipeline: as it is, then with attention."""
    trained = [
        pool.submit(
            train_and_score_patches,
            data,
            (arguments.patch_models or folder) / f"idc-{seed}",
            rows,
            root,
            folder,
            seed,
            arguments.patch_epochs,
        )
        for seed in range(arguments.seeds)
    ]
    return zip(*(future.result() for future in trained), strict=True)


def result_name(only: str | None) -> str:
    """Of the files under results/: named after the scale where only one was run."""
    return f"collages_{only}" if only else "collages"


def validation_labels(rows: list[Row]) -> NDArray[np.int64]:
    """Of the slides that ``train_whole`` and ``score_patch`` score, in their order."""
    return np.array([row.label for row in rows if row.split == "val"])


def run_scale(
    rows: list[Row],
    root: Path,
    kind: str,
    scale: Scale,
    seeds: int,
    pool: Executor,
    known: dict[str, Any],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every training on one set of collages; a label and its figures so far after each of them.

    Trainings whose scores are among ``known`` are left out.
    """
    with open_slide(root / rows[0].path) as slide:
        size = (slide.size.width, slide.size.height)
    runs = {
        share: [r for r in known.get(label_of(kind, share), {}).get("runs", []) if "scores" in r]
        for share in SHARES
    }
    trained = [
        (
            share,
            pool.submit(
                train_whole,
                rows,
                root,
                root / f"model-{share}-{seed}",
                STATED_MPP / scale.enlarge / share,
                scale.epochs,
                seed,
            ),
        )
        for share in SHARES
        for seed in range(seeds)
        if seed not in [run["seed"] for run in runs[share]]
    ]
    for share, future in trained:
        runs[share] = [*runs[share], future.result()]
        scores = [np.array(run["scores"]) for run in runs[share]]
        summary = summarize(validation_labels(rows), scores)
        pixels = [round(side * share) for side in size]
        more = {"slide_px": pixels, "epochs": scale.epochs, "runs": runs[share]}
        yield label_of(kind, share), summary | more


def label_of(kind: str, share: float) -> str:
    """What the figures of a resolution go by."""
    return f"whole-slide, {kind} scale, {share:g} of the resolution"


def write_figures(figures: dict[str, Any], rows: list[Row], only: str | None) -> None:
    """The table, the line and the plot."""
    name = result_name(only)
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.add_subplot(ylabel="AUC on validation patients", ylim=(0.4, 1.02))
    for number, entry in enumerate(figures.values()):
        low, high = entry["interval_95"]
        axes.plot([number, number], [low, high], color="#777777")
        axes.plot([number] * len(entry["auc_of_seeds"]), entry["auc_of_seeds"], "o", alpha=0.6)
    short = [
        label.replace("whole-slide, ", "").replace(" of the resolution", "").replace(", ", "\n")
        for label in figures
    ]
    axes.set_xticks(range(len(short)), short, fontsize=7)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / f"{name}.svg")
    counts = {
        split: [sum(r.split == split and r.label == label for r in rows) for label in (0, 1)]
        for split in ("train", "val")
    }
    lines = "; ".join(
        f"{label}: {entry['auc_mean']:.3f} (95 % {entry['interval_95'][0]:.2f} to "
        f"{entry['interval_95'][1]:.2f}, sd over {len(entry['auc_of_seeds'])} seed(s) "
        f"{entry['auc_sd']:.3f})"
        for label, entry in figures.items()
    )
    write_result(
        name,
        f"Collages of IDC patches, a slide a patient, {counts['train'][0]} negative and "
        f"{counts['train'][1]} positive slides to train on, {counts['val'][0]} and "
        f"{counts['val'][1]} to validate. Slide AUC on validation patients: {lines}.",
        {"slides": counts, "figures": figures},
    )


if __name__ == "__main__":
    main()
