"""LazySlide on one slide, by its own interpreter: python lazyslide_run.py SLIDE OUT PATCH_PX MPP

Its tissue polygons, its tile dataset in torch's loader with two workers, and its feature extraction
with torchvision's ResNet-18, in float32: its bfloat16
fails on a plain torch network (it asks numpy for bfloat16). Writes figures and the mask.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import cv2
import lazyslide as zs
import numpy as np
import torch
import torchvision
from torch.utils.data import DataLoader
from wsidata import open_wsi

MASK_PX = 16


def main() -> None:
    slide, out, patch_px, mpp = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    torch.set_num_threads(2)
    started = time.perf_counter()
    wsi = open_wsi(slide, store=str(out / "store.zarr"))
    zs.pp.find_tissues(wsi)
    tissue_s = time.perf_counter() - started
    height, width = wsi.properties.shape
    mask = np.zeros((-(-height // MASK_PX), -(-width // MASK_PX)), np.uint8)
    for shape in wsi.shapes["tissues"].geometry:
        cv2.fillPoly(mask, [np.asarray(shape.exterior.coords, np.int32) // MASK_PX], 1)
        for hole in shape.interiors:
            cv2.fillPoly(mask, [np.asarray(hole.coords, np.int32) // MASK_PX], 0)
    np.save(out / "mask.npy", mask > 0)

    zs.pp.tile_tissues(wsi, patch_px, mpp=mpp, background_fraction=0.9)
    dataset = wsi.ds.tile_images(tile_key="tiles")
    started = time.perf_counter()
    count = 0
    for batch in DataLoader(dataset, batch_size=32, num_workers=2):
        count += len(batch["image"])
    read_s = time.perf_counter() - started

    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=3).eval()
    started = time.perf_counter()
    zs.tl.feature_extraction(
        wsi,
        model=network,
        model_name="resnet18",
        transform=torchvision.transforms.Compose(
            [
                torchvision.transforms.ToTensor(),
                torchvision.transforms.Normalize([0.5] * 3, [0.25] * 3),
            ]
        ),
        device="cpu",
        batch_size=32,
        num_workers=2,
        pbar=False,
    )
    score_s = time.perf_counter() - started
    figures = {
        "version": version("lazyslide"),
        "tissue_s": tissue_s,
        "patches": count,
        "read_per_s": count / read_s,
        "score_per_s": count / score_s,
        "precision": "float32",
    }
    (out / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
