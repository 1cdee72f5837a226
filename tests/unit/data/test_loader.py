"""Batches of patches are the same however many processes read them."""

import io
import os
import signal
import zipfile

import numpy as np
import pytest
from PIL import Image

from wsi.data.annotated_patches import annotated_patches
from wsi.data.loader import default_workers, load_batches
from wsi.data.patches import PatchSource, TablePatches
from wsi.data.tables import Row
from wsi.errors import DamagedSlideError, DatasetError
from wsi.testing.slides import synthetic_slide

BATCHES = [np.array([3, 0]), np.array([2]), np.array([1, 1, 4])]


class Dying:
    """Its process ends while it reads."""

    labels_n, patients_n, slides = np.zeros(5, np.int64), np.array(["p"] * 5), ()

    def read(self, indices: np.ndarray) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((len(indices), 8, 8, 3), np.uint8)

    def describe(self, index: int) -> str:
        return "dying"


class Damaged(Dying):
    """A slide whose tiles do not decode."""

    def read(self, indices: np.ndarray) -> np.ndarray:
        raise DamagedSlideError("a.svs", "tile 7 does not decode")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> TablePatches:
    path = tmp_path_factory.mktemp("patches") / "patches.zip"
    with zipfile.ZipFile(path, "w") as file:
        for value in range(5):
            out = io.BytesIO()
            Image.new("RGB", (8, 8), (value, 9, 0)).save(out, "PNG")
            file.writestr(f"{value}.png", out.getvalue())
    rows = [Row(path=f"{v}.png", label=v % 2, patient=f"p{v}", split="train") for v in range(5)]
    return TablePatches(rows, path, 8)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> PatchSource:
    folder = tmp_path_factory.mktemp("slides")
    lines = ["slide,annotations,patient,split"]
    for name, split in (("a", "train"), ("b", "train"), ("c", "val")):
        synthetic_slide(folder / f"{name}.tif", 512, 1.0, seed=ord(name), geojson=True)
        lines.append(f"{name}.tif,{name}.geojson,{name},{split}")
    (folder / "t.csv").write_text("\n".join(lines))
    return annotated_patches(
        folder / "t.csv", ("benign", "cancer"), mpp=1.0, size_px=32, unlabelled="benign"
    )[0]


@pytest.mark.parametrize("kind", ["archive", "slides"])
def test_worker_processes_read_what_a_thread_reads(
    kind: str, request: pytest.FixtureRequest
) -> None:
    source: PatchSource = request.getfixturevalue(kind)
    # Open here first: a worker must not share the position of this file.
    expected = [source.read(batch) for batch in BATCHES]
    for workers in (0, 2):
        found = list(load_batches(source, BATCHES, workers))
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_error_of_a_worker_names_the_slide() -> None:
    with pytest.raises(DamagedSlideError, match=r"a\.svs: tile 7 does not decode") as caught:
        list(load_batches(Damaged(), BATCHES, workers=1))
    assert caught.value.slide == "a.svs"


def test_a_worker_that_dies_ends_the_reading_with_a_reason() -> None:
    with pytest.raises(DatasetError, match=r"a process that reads patches has ended.*--workers"):
        list(load_batches(Dying(), BATCHES, workers=1))


def test_workers_ignore_a_stop_that_is_sent_to_the_process_group(archive: TablePatches) -> None:
    from multiprocessing import active_children

    before = {child.pid for child in active_children()}
    reading = load_batches(archive, BATCHES * 4, workers=1)
    first = next(reading)
    (worker,) = [child for child in active_children() if child.pid not in before]
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGTERM)
    assert len([first, *reading]) == len(BATCHES) * 4


def test_few_patches_are_read_without_worker_processes() -> None:
    assert default_workers(100) == 0
    assert 1 <= default_workers(1_000_000) <= 8
