"""Several processes train what one trains: started by torchrun, joined by gloo."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wsi.models.bundle import load_bundle
from wsi.testing.slides import synthetic_slide

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    lines = ["path,label,patient,split"]
    for index in range(6):
        synthetic_slide(folder / f"{index}.tif", 768, 1.0, seed=index, cancer=index % 2 == 0)
        split = "train" if index < 4 else "val"
        lines.append(f"{index}.tif,{['benign', 'cancer'][index % 2 == 0]},p{index},{split}")
    (folder / "table.csv").write_text("\n".join(lines))
    return folder / "table.csv"


def train(
    table: Path, out: Path, *launcher: str, accumulate: int = 2
) -> "subprocess.CompletedProcess[str]":
    command = [
        *(sys.executable, *launcher, "-m", "wsi"),
        *("train", "whole-slide", "--table", str(table), "--out", str(out), "--mpp", "4"),
        *("--architecture", "resnet10", "--norm", "cell", "--epochs", "1", "--device", "cpu"),
        *("--precision", "float32", "--memory", "in_core", "--accumulate", str(accumulate)),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")


def test_two_processes_make_the_update_of_one(table: Path, tmp_path: Path) -> None:
    alone = train(table, tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    together = train(table, tmp_path / "together", *TORCHRUN)
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("validation_auc") == 1, "one process speaks"
    one, other = (load_bundle(tmp_path / name)[1] for name in ("alone", "together"))
    for key in one:
        # Sums of two processes' gradients round differently; AdamW's first steps magnify that
        # to a share of the learning rate of 1e-4.
        torch.testing.assert_close(one[key], other[key], atol=2e-5, rtol=1e-4, msg=key)


@pytest.mark.long
def test_an_update_smaller_than_the_processes_is_refused(table: Path, tmp_path: Path) -> None:
    answer = train(table, tmp_path / "m", *TORCHRUN, accumulate=1)
    assert answer.returncode != 0
    assert "cannot be shared by 2 processes; raise accumulate" in answer.stderr


def test_two_processes_train_one_patch_classifier(table: Path, tmp_path: Path) -> None:
    annotated = table.with_name("annotated.csv")
    lines = ["slide,annotations,patient,split"]
    for index, split in enumerate(["train", "train", "val"]):
        synthetic_slide(table.parent / f"a{index}.tif", 768, 1.0, seed=index, geojson=True)
        lines.append(f"a{index}.tif,a{index}.geojson,p{index},{split}")
    annotated.write_text("\n".join(lines))
    command = [
        *(sys.executable, *TORCHRUN, "-m", "wsi", "train", "patch", "--table", str(annotated)),
        *("--out", str(tmp_path / "m"), "--mpp", "2", "--patch-px", "32", "--epochs", "2"),
        *("--architecture", "resnet10", "--batch-size", "16", "--unlabelled", "benign"),
        *("--device", "cpu", "--precision", "float32", "--tensorboard", str(tmp_path / "log")),
        *("--hard-negatives", "2"),
    ]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("validation_auc ") == 1
    card, _ = load_bundle(tmp_path / "m")
    assert len(card.training["history"]) == 2
    report = (tmp_path / "m" / "report.html").read_text()
    assert "Worst mistakes" in report
    assert "not a medical device" in report.lower()
    assert any((tmp_path / "log").iterdir())
