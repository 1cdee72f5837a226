"""TIAToolbox on one slide, by its own interpreter: python tiatoolbox_run.py SLIDE OUT PATCH_PX MPP

Its tissue mask, its patch dataset in torch's loader with two workers, and the ResNet-18 of its own
torchvision in float32, as its engine runs it. Writes figures and the mask.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torchvision
from tiatoolbox.models.dataset import WSIPatchDataset
from tiatoolbox.wsicore.wsireader import WSIReader
from torch.utils.data import DataLoader


def main() -> None:
    slide, out, patch_px, mpp = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    torch.set_num_threads(2)
    started = time.perf_counter()
    reader = WSIReader.open(slide)
    mask = reader.tissue_mask(method="otsu", resolution=8.0, units="mpp")
    tissue_s = time.perf_counter() - started
    tissue = np.asarray(mask.img) > 0
    np.save(out / "mask.npy", tissue)

    def patches() -> DataLoader:
        dataset = WSIPatchDataset(
            slide,
            input_mask=tissue,
            patch_input_shape=(patch_px, patch_px),
            stride_shape=(patch_px, patch_px),
            resolution=mpp,
            units="mpp",
            min_mask_ratio=0.1,
        )
        dataset.preproc_func = lambda image: image
        return DataLoader(dataset, batch_size=32, num_workers=2)

    started = time.perf_counter()
    count = sum(len(batch["image"]) for batch in patches())
    read_s = time.perf_counter() - started

    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=3).eval()
    started = time.perf_counter()
    with torch.inference_mode():
        for batch in patches():
            images = batch["image"].permute(0, 3, 1, 2).float() / 255
            network(images).softmax(1)
    score_s = time.perf_counter() - started
    figures = {
        "version": version("tiatoolbox"),
        "tissue_s": tissue_s,
        "patches": count,
        "read_per_s": count / read_s,
        "score_per_s": count / score_s,
        "precision": "float32",
    }
    (out / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
