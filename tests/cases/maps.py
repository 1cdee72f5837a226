"""Networks and heatmaps."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from tests.cases import Case
from wsi.cli import main


def _train(architecture: str, pixels: int, folder: Path) -> str:
    rng = np.random.default_rng(0)
    lines = ["path,label,patient,split"]
    for number in range(8):
        name, split = f"{number}.png", "train" if number < 6 else "val"
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / name)
        lines.append(f"{name},{('benign', 'cancer')[number % 2]},p{number},{split}")
    (folder / "patches.csv").write_text("\n".join(lines) + "\n")
    asked = ["--table", str(folder / "patches.csv"), "--images", str(folder), "--mpp", "0.5"]
    asked += ["--classes", "benign,cancer", "--architecture", architecture]
    asked += ["--patch-px", str(pixels), "--out", str(folder / "model")]
    done = CliRunner().invoke(main, ["train", "patch", *asked])
    assert done.exit_code == 2, done.output
    return done.stderr.strip().splitlines()[-1]


CASES = (
    Case(
        input="a vision transformer as patch classifier",
        run=lambda folder: _train("timm:vit_tiny_patch16_224", 224, folder),
    ),
    Case(
        input="a Swin transformer as patch classifier",
        run=lambda folder: _train("timm:swin_tiny_patch4_window7_224", 224, folder),
    ),
    Case(
        input="a network of fixed size with patches of another",
        run=lambda folder: _train("timm:mixer_s16_224", 96, folder),
    ),
)
