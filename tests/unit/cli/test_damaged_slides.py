"""What the command line makes of slides of which a part does not decode."""

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from wsi.cli import main
from wsi.testing.models import untrained_patch_bundle
from wsi.testing.slides import synthetic_slide
from wsi.testing.tiff_edits import cut_tile, stored_tile


def test_a_damaged_tile_costs_its_own_patches_and_not_the_result(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "case.tif", 1024, 1.0, seed=3, mask_px=8)
    rows, columns = np.nonzero(made.tissue_mask)
    tile = int(np.median(rows)) * 8 // 256 * 4 + int(np.median(columns)) * 8 // 256
    cut_tile(made.path, tile, len(stored_tile(made.path, tile)) // 2)
    untrained_patch_bundle(tmp_path / "model")
    asked = ["--pipeline", "patch", "--model", str(tmp_path / "model"), "--out", str(tmp_path)]
    done = CliRunner().invoke(main, ["analyze", str(made.path), *asked])
    assert done.exit_code == 0, done.stderr
    assert "patches could not be decoded and were left out" in done.stdout
    assert json.loads((tmp_path / "case" / "patch.json").read_text())["damaged"]
    with Image.open(tmp_path / "case" / "thumbnail.jpg") as picture:
        assert picture.size == (1024, 1024)
    assert (tmp_path / "case" / "patch-probability-cancer.png").is_file()
