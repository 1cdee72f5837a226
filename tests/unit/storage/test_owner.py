"""A store belongs to one slide's content; stores of earlier versions are read and not used again.

``data/store_without_owner.zip`` was written by the last version that recorded no owner: of another
slide than ``old_slide``, of its size and resolution; with a result, heatmaps (one all zeros) and
embeddings.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsi.errors import StoreError
from wsi.slides import open_slide
from wsi.slides.identity import slide_digest
from wsi.storage import SlideStore, find_result, get_result
from wsi.storage import tissue_store as module
from wsi.storage.store import SlideOwner
from wsi.storage.tissue_layers import tissue_layers
from wsi.storage.tissue_store import quality_of, tissue_of
from wsi.tissue import QualitySpec, TissueSpec

RESULT = "patch-5cb7d9569b80627c"


@pytest.fixture
def old_store(tmp_path: Path) -> SlideStore:
    with zipfile.ZipFile(Path(__file__).parent / "data" / "store_without_owner.zip") as zipped:
        zipped.extractall(tmp_path)
    return SlideStore(str(tmp_path / "store.zarr"))


@pytest.fixture(scope="module")
def old_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disc_slide(tmp_path_factory.mktemp("s") / "case.tif", 150)


def disc_slide(path: Path, x: int) -> Path:
    """512 px at 2 um/px with round tissue at a place."""
    rows, columns = np.mgrid[:512, :512]
    pixels = np.full((512, 512, 3), 242, np.uint8)
    pixels[np.hypot(columns - x, rows - 256) < 110] = (190, 120, 180)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        compression="jpeg",
        resolution=(5000, 5000),
        resolutionunit="CENTIMETER",
    )
    return path


def test_a_store_of_another_slide_is_refused_by_name(tmp_path: Path) -> None:
    url = str(tmp_path / "store.zarr")
    SlideStore(url).claim("a" * 32, "a.tif")
    assert SlideStore(url).owner == SlideOwner("a" * 32, "a.tif")
    SlideStore(url).claim("a" * 32, "renamed.tif")
    wanted = r"store.zarr belongs to a.tif \(digest aaaaaaaaaaaa\), not to b.tif \(digest bbbbbbb"
    with pytest.raises(StoreError, match=wanted):
        SlideStore(url).claim("b" * 32, "b.tif")


def test_of_two_that_claim_a_store_at_once_one_is_refused(tmp_path: Path) -> None:
    url = str(tmp_path / "store.zarr")
    first, second = SlideStore(url), SlideStore(url)
    first.claim("a" * 32, "a.tif")
    with pytest.raises(StoreError, match="belongs to a"):
        second.claim("b" * 32, "b.tif")
    # Had both found it free, the one whose claim was written over finds out at its next one.
    second.assign("b" * 32, "b.tif")
    with pytest.raises(StoreError, match="belongs to b"):
        first.claim("a" * 32, "a.tif")


def test_a_store_without_an_owner_is_read(old_store: SlideStore) -> None:
    assert old_store.owner is None
    result = get_result(SlideStore(old_store.url, read_only=True), RESULT)
    assert result.probabilities == {"benign": 0.25, "cancer": 0.75}
    assert result.slide_digest == ""
    probability, cam = (layer.values_chw for layer in result.layers)
    assert np.isnan(probability[:, 0, 0]).all()
    np.testing.assert_allclose(probability[1].ravel()[1:], np.linspace(0, 1, 24)[13:], rtol=1e-6)
    # A chunk that is not there may have been zeros: it says nothing now.
    assert np.isnan(cam).all()
    layers = tissue_layers(old_store, 2.0)
    assert 0.1 < layers.layers["tissue"].mean() < 0.9
    assert set(old_store.get("embeddings", "0123456789abcdef").arrays) == {
        "cells", "embeddings", "probabilities",
    }  # fmt: skip


def test_nothing_in_a_store_without_an_owner_is_used_again(
    old_store: SlideStore, old_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    find = module.find_tissue
    monkeypatch.setattr(module, "find_tissue", lambda *a: (looked.append("x"), find(*a))[1])
    with open_slide(old_slide) as slide:
        digest = slide_digest(slide)
        old_store.claim(digest, slide.name)
        assert find_result(old_store, slide, digest, "patch", "abc") is None
        for _ in range(2):
            mask = tissue_of(slide, old_store, TissueSpec())
            quality_of(slide, old_store, mask, QualitySpec())
    assert looked == ["x"], "found anew once, then kept"
    assert len(old_store.digests("tissue")) == 2
    # The page shows what was found of the slide as it is.
    shown = tissue_layers(SlideStore(old_store.url), 2.0)
    np.testing.assert_array_equal(shown.layers["tissue"], mask.mask)
    assert old_store.get("quality", shown.digest).meta["spec"]["slide_digest"] == digest


def test_two_slides_of_one_size_and_resolution_never_share_a_mask(tmp_path: Path) -> None:
    store = SlideStore(str(tmp_path / "store.zarr"))
    masks = []
    for number, x in enumerate((150, 360)):
        with open_slide(disc_slide(tmp_path / f"{number}.tif", x)) as slide:
            masks.append(tissue_of(slide, store, TissueSpec()).mask)
    assert (masks[0] != masks[1]).any()
    assert len(store.digests("tissue")) == 2
