"""The patch classifier on real patches: validation AUC of three seeds, then two whole slides.

Data: 3,904 breast patches of 50 x 50 px, invasive ductal carcinoma or not (Cruz-Roa 2014; Janowczyk
and Madabhushi 2016), split by patient; and two slides of patients in no split. From scratch.

    python -m benchmarks.idc_patches [--seeds 3] [--epochs 30]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks.common import RESULTS, write_result
from wsi.data.augment import AugmentSpec
from wsi.data.patches import InMemory, TablePatches
from wsi.data.tables import read_table
from wsi.pipelines.patch import PatchPipeline
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore
from wsi.training.tasks.patch import PatchTask
from wsi.training.tasks.patch_config import PatchTraining
from wsi.training.trainer import Trainer

CLASSES = ("benign", "cancer")
INPUT_PX = 100  # the patches' 50 px, drawn twice as large: more cells in the last feature map
STATED_MPP, STATED_PX = 4.0, 50  # what the rebuilt slides' tags say; an estimate
LABEL_BENIGN, LABEL_CANCER = 1, 2  # in the slides' label grids


def train(data: Path, out: Path, seed: int, epochs: int) -> tuple[Trainer, float, float]:
    """One training; the trainer, its seconds and those of the processor."""
    folder = data / "idc_patches"
    archive = folder / "idc_patches.zip"
    rows = read_table(folder / "idc_patches.csv", CLASSES)
    train_set, validation = (
        InMemory(TablePatches([r for r in rows if r.split == split], archive, INPUT_PX))
        for split in ("train", "val")
    )
    config = PatchTraining(
        name=f"idc-{seed}",
        classes=CLASSES,
        mpp=STATED_MPP * STATED_PX / INPUT_PX,
        input_px=INPUT_PX,
        architecture="resnet18",
        epochs=epochs,
        overlap_px=INPUT_PX // 2,
        average=0.99,
        label_smoothing=0.05,
        seed=seed,
        augmentation=AugmentSpec(stain=0.1, brightness=0.2),
    )
    task = PatchTask(config, train_set, validation)
    trainer = Trainer(task, out, on_epoch=lambda figures: print(figures, flush=True))
    started, cpu = time.perf_counter(), time.process_time()
    trainer.run()
    return trainer, time.perf_counter() - started, time.process_time() - cpu


def cell_auc(data: Path, bundle: Path, name: str, scratch: Path) -> float:
    """AUC of the probability map over one slide's labelled cells."""
    labels = np.asarray(Image.open(data / "idc_slides" / f"{name}_grid.png"))
    pipeline = PatchPipeline.load(bundle, "cpu")
    with open_slide(data / "idc_slides" / f"{name}.tif") as slide:
        store = SlideStore(str(scratch / f"{bundle.name}-{name}.zarr"))
        result = pipeline.analyze(slide, store, no_progress)
    assert result.grid is not None
    cancer = result.layers[0].values_chw[CLASSES.index("cancer")]
    across = round(STATED_PX / result.grid.cell_level0[0])
    rows, columns = labels.shape
    padded = np.full((rows * across, columns * across), np.nan, np.float32)
    height, width = min(padded.shape[0], cancer.shape[0]), min(padded.shape[1], cancer.shape[1])
    padded[:height, :width] = cancer[:height, :width]
    cells = padded.reshape(rows, across, columns, across).mean((1, 3))
    known = (labels == LABEL_BENIGN) | (labels == LABEL_CANCER)
    # A labelled cell that the tissue mask left out scores as no cancer.
    return float(roc_auc_score(labels[known] == LABEL_CANCER, np.nan_to_num(cells[known])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=24)
    arguments = parser.parse_args()
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    data = Path(os.environ.get("WSI_TEST_DATA", default)).resolve()
    runs = []
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="AUC on validation patients")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            bundle = Path(folder) / f"idc-{seed}"
            trainer, seconds, cpu = train(data, bundle, seed, arguments.epochs)
            curve = [entry["validation_auc"] for entry in trainer.history]
            axes.plot(range(1, len(curve) + 1), curve, label=f"seed {seed}")
            slides = {n: cell_auc(data, bundle, n, Path(folder)) for n in ("idc_14082", "idc_8865")}
            runs.append(
                {
                    "seed": seed,
                    "auc_best_epoch": max(curve),
                    "auc_last_epoch": curve[-1],
                    "seconds": round(seconds),
                    "processor_seconds": round(cpu),
                    "cell_auc": slides,
                    "curve": [round(value, 4) for value in curve],
                }
            )
            print(runs[-1], flush=True)
    axes.axhline(0.873, color="#888888", linestyle=":", label="colour alone, 0.873")
    axes.legend()
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "idc_patches.svg")
    last = [run["auc_last_epoch"] for run in runs]
    cells = [value for run in runs for value in run["cell_auc"].values()]
    spread = statistics.stdev(last) if len(last) > 1 else 0.0
    write_result(
        "idc_patches",
        f"IDC patches, 765 held-out patches by patient, ResNet-18 from scratch, "
        f"{arguments.epochs} epochs: AUC after the last epoch {statistics.mean(last):.4f} "
        f"(sd {spread:.4f}, {len(last)} seeds), best epoch "
        f"{statistics.mean(run['auc_best_epoch'] for run in runs):.4f}; "
        f"{max(run['seconds'] for run in runs)} s a training at most "
        f"({max(run['processor_seconds'] for run in runs)} s of one processor). "
        f"Cell AUC of the two slides, patches overlapping by half: "
        f"{min(cells):.3f} to {max(cells):.3f}.",
        {"runs": runs},
    )


if __name__ == "__main__":
    main()
