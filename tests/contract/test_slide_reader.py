"""Each SlideReader against the contract, on the kinds of files it reads."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import openslide
import pytest

from wsi.slides import RGB, SlideReader, open_slide
from wsi.testing.fakes import ArraySlide
from wsi.testing.slide_reader_contract import SlideReaderContract
from wsi.testing.slides import synthetic_slide


@lru_cache(maxsize=1)
def openslide_pixels(path: Path) -> RGB:
    """Level 0 as OpenSlide itself gives it."""
    with openslide.OpenSlide(path) as handle:
        pixels = np.asarray(handle.read_region((0, 0), 0, handle.dimensions).convert("RGB"))
    pixels.flags.writeable = False
    return pixels


class TestArraySlide(SlideReaderContract):
    @pytest.fixture
    def level0(self) -> RGB:
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (230, 310, 3), np.uint8)

    @pytest.fixture
    def slide(self, level0: RGB) -> SlideReader:
        return ArraySlide(level0)


class TestSyntheticTiff(SlideReaderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return synthetic_slide(tmp_path_factory.mktemp("slides") / "s.tif", 1100, seed=3).path

    @pytest.fixture
    def level0(self, path: Path) -> RGB:
        return openslide_pixels(path)

    @pytest.fixture
    def slide(self, path: Path) -> Iterator[SlideReader]:
        with open_slide(path) as reader:
            yield reader


class TestAperio(TestSyntheticTiff):
    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, real_data: Path) -> Path:
        return real_data / "wsi" / "CMU-1-Small-Region.svs"


class TestAperioWithTwoLevels(TestSyntheticTiff):
    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, real_data: Path) -> Path:
        return real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"


class TestDicom(TestSyntheticTiff):
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, real_data: Path) -> Path:
        return real_data / "wsi" / "dicom_cmu1_small_region"

    @pytest.fixture
    def level0(self, folder: Path) -> RGB:
        return openslide_pixels(min(folder.glob("*.dcm")))

    @pytest.fixture
    def slide(self, folder: Path) -> Iterator[SlideReader]:
        with open_slide(folder) as reader:
            yield reader
