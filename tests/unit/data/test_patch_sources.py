"""Ready patches from folders and zips."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi.data.patches import InMemory, TablePatches
from wsi.data.tables import Row, read_table
from wsi.errors import DatasetError


def png(value: int, side: int = 10) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (value, 0, 0)).save(out, "PNG")
    return out.getvalue()


ROWS = [Row(path=f"{i}.png", label=i % 2, patient=f"p{i}", split="train") for i in range(4)]


@pytest.fixture(params=["folder", "zip"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "folder":
        for i in range(4):
            (tmp_path / f"{i}.png").write_bytes(png(i))
        return tmp_path
    with zipfile.ZipFile(tmp_path / "patches.zip", "w") as file:
        for i in range(4):
            file.writestr(f"{i}.png", png(i))
    return tmp_path / "patches.zip"


def test_patches_are_read_in_any_order(root: Path) -> None:
    source = TablePatches(ROWS, root, 10)
    assert source.read(np.array([2, 0]))[:, 0, 0, 0].tolist() == [2, 0]
    assert source.labels_n.tolist() == [0, 1, 0, 1]
    assert "p3" in source.describe(3)


def test_patches_of_another_size_are_resized(root: Path) -> None:
    assert TablePatches(ROWS, root, 16).read(np.array([1])).shape == (1, 16, 16, 3)


def test_missing_files_are_counted_and_named_before_training(root: Path) -> None:
    rows = [*ROWS, Row(path="gone.png", label=0, patient="p9", split="train")]
    with pytest.raises(DatasetError, match=r"1 of 5 patches are missing.*gone\.png"):
        TablePatches(rows, root, 10)


def test_a_patch_that_does_not_decode_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"0\.png does not decode"):
        TablePatches(ROWS[:1], tmp_path, 10).read(np.array([0]))


def test_memory_holds_the_same_patches(root: Path) -> None:
    source = TablePatches(ROWS, root, 10)
    kept = InMemory(source)
    order = np.array([3, 1, 2])
    np.testing.assert_array_equal(kept.read(order), source.read(order))
    assert kept.describe(1) == source.describe(1)


def test_the_real_patch_table_is_split_by_patient(real_data: Path) -> None:
    folder = real_data / "idc_patches"
    rows = read_table(folder / "idc_patches.csv", ("benign", "cancer"))
    assert len(rows) == 3904
    validation = [row for row in rows if row.split == "val"]
    source = TablePatches(validation[:8], folder / "idc_patches.zip", 50)
    assert source.read(np.arange(8)).shape == (8, 50, 50, 3)
