"""Tiles decoded directly show what OpenSlide shows, wherever both can be asked the same."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsi.errors import ConfigError, DamagedSlideError, UnsupportedSlideError
from wsi.geometry import Region, Size
from wsi.slides import jpeg_tile, open_slide
from wsi.slides.openslide_reader import OpenSlideReader, whole_pixel_start
from wsi.slides.tiff_open import settle_tiff
from wsi.slides.tiff_reader import TiffReader
from wsi.testing.slides import corrupt_tiles, synthetic_slide, write_slide
from wsi.testing.tiff_edits import change_tile

Pair = tuple[TiffReader, OpenSlideReader]


def _pair(path: Path) -> Pair:
    direct = settle_tiff(OpenSlideReader(path, path.name))
    assert direct is not None
    return direct, OpenSlideReader(path, path.name)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    path = tmp_path_factory.mktemp("slides") / "a.tif"
    pair = _pair(synthetic_slide(path, Size(1600, 1088), seed=3).path)
    yield pair
    for reader in pair:
        reader.close()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    level=st.integers(0, 2),
    x=st.integers(-400, 1700),
    y=st.integers(-400, 1200),
    width=st.integers(1, 600),
    height=st.integers(1, 600),
)
def test_stored_pixels_equal_openslide_at_any_offset_and_over_every_border(
    synthetic: Pair, level: int, x: int, y: int, width: int, height: int
) -> None:
    direct, reference = synthetic
    box = (level, x, y, width, height)
    assert np.array_equal(direct.read_level(*box), reference.read_level(*box))


@pytest.mark.parametrize("mpp", [0.5, 0.7, 1.0, 3.3, 8.0])
def test_resampled_regions_equal_openslide(synthetic: Pair, mpp: float) -> None:
    direct, reference = synthetic
    region = Region(333.3, 120.7, 900, 700)
    assert direct.mpp is not None
    size = region.size_at(mpp, direct.mpp)
    assert np.array_equal(direct.read_region(region, size), reference.read_region(region, size))


@pytest.mark.parametrize("format", ["tiff", "svs"])
def test_vendors_metadata_is_openslides(tmp_path: Path, format: str) -> None:
    path = write_slide(
        tmp_path / "a.svs",
        np.full((600, 500, 3), 200, np.uint8),
        0.5,
        format="svs" if format == "svs" else "tiff",
        associated={"label": np.full((30, 40, 3), 7, np.uint8)},
    )
    direct, reference = _pair(path)
    for name in ("vendor", "size", "levels", "mpp", "magnification", "properties", "path", "name"):
        assert getattr(direct, name) == getattr(reference, name)
    assert direct.associated_images == reference.associated_images
    for name in direct.associated_images:
        assert np.array_equal(direct.associated_image(name), reference.associated_image(name))
    direct.close()
    reference.close()


def test_real_svs_with_shared_tables_and_rgb_jpeg_equals_openslide(real_data: Path) -> None:
    direct, reference = _pair(real_data / "wsi" / "CMU-1-Small-Region.svs")
    with direct, reference:
        for box in ((0, 0, 2220, 2967), (101, 67, 700, 555), (2100, 2900, 300, 300)):
            assert np.array_equal(direct.read_level(0, *box), reference.read_level(0, *box))


@pytest.mark.parametrize(
    ("photometric", "subsampling", "tile"),
    [
        ("ycbcr", (1, 1), (256, 256)),
        ("ycbcr", (2, 1), (256, 256)),
        ("ycbcr", (2, 2), (240, 240)),
        ("ycbcr", (2, 2), (128, 512)),
        ("rgb", None, (256, 256)),
    ],
)
def test_every_jpeg_layout_equals_openslide(
    tmp_path: Path, photometric: str, subsampling: tuple[int, int] | None, tile: tuple[int, int]
) -> None:
    y, x = np.mgrid[:700, :900]
    pixels = np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric=photometric,
        subsampling=subsampling,
        tile=tile,
        compression="jpeg",
        compressionargs={"level": 80, "outcolorspace": photometric},
        metadata=None,
    )
    direct, reference = _pair(tmp_path / "a.tif")
    with direct, reference:
        for box in ((0, 0, 900, 700), (-7, 33, 400, 300), (777, 555, 300, 300)):
            assert np.array_equal(direct.read_level(0, *box), reference.read_level(0, *box))


BOXES = [
    (0, 0, 375, 250),
    (-9, -5, 60, 50),
    (118, 71, 64, 48),
    (250, 100, 130, 160),
    (1, 1, 1, 1),
]


def test_levels_of_odd_sizes_hold_the_stored_pixels_exactly(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", Size(1501, 1003), seed=3)
    direct, reference = _pair(made.path)
    with direct, reference, tifffile.TiffFile(made.path) as tiff:
        assert direct.levels[1].downsample != 4
        page = tiff.pages[1]
        assert isinstance(page, tifffile.TiffPage)
        stored = np.pad(page.asarray(), ((60, 60), (60, 60), (0, 0)), constant_values=255)
        for x, y, width, height in BOXES:
            expected = stored[y + 60 : y + 60 + height, x + 60 : x + 60 + width]
            assert np.array_equal(direct.read_level(1, x, y, width, height), expected)
            assert np.array_equal(reference.read_level(1, x, y, width, height), expected)


@pytest.mark.parametrize(
    "box", [(0, 0, 256, 256), (777, 500, 256, 256), (2000, 1500, 221, 283), (1900, 90, 130, 70)]
)
def test_a_real_fractional_level_is_read_in_whole_pixels(
    real_data: Path, box: tuple[int, int, int, int]
) -> None:
    path = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
    x, y, width, height = box
    with open_slide(path) as slide, tifffile.TiffFile(path) as tiff:
        assert isinstance(slide, OpenSlideReader)
        assert slide.levels[1].downsample == pytest.approx(2.0005, abs=1e-4)
        page = tiff.pages[2]
        assert isinstance(page, tifffile.TiffPage)
        stored = page.asarray()[y : y + height, x : x + width]
        assert np.array_equal(slide.read_level(1, *box), stored)


@settings(max_examples=100, deadline=None)
@given(
    pixel=st.integers(0, 100_000),
    step=st.sampled_from([1.0, 2.0005, 4.0037, 4.00004, 15.99, 64.02, 512.3]),
    reach=st.integers(0, 2048),
)
def test_reading_begins_at_a_whole_pixel_within_reach_or_where_asked(
    pixel: int, step: float, reach: int
) -> None:
    start = whole_pixel_start(pixel, step, reach)
    assert 0 <= pixel - start <= reach
    off = abs(round(start * step) / step - start)
    assert off < 1 / 512 or start == pixel


def test_reading_begins_at_the_nearest_whole_pixel() -> None:
    assert whole_pixel_start(1000, 4.0, 2048) == 1000
    assert whole_pixel_start(0, 4.0037, 2048) == 0
    assert whole_pixel_start(40, 4.0625, 2048) == 32
    assert whole_pixel_start(40, 4.0625, 4) == 40


def test_grid_of_stored_tiles_is_read_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 1024, levels=1)
    decoded = 0
    decode = jpeg_tile.decode_tile

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(*args, **options)

    monkeypatch.setattr("wsi.slides.tiff_reader.decode_tile", counting)
    with open_slide(made.path, backend="direct") as slide:
        for y in range(0, 1024, 224):
            for x in range(0, 1024, 224):
                slide.read_region(Region(x, y, 224, 224), Size(224, 224))
    assert decoded == 16


def test_cache_stays_within_its_bytes(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 1024, levels=1)
    tile_bytes = 256 * 256 * 3
    reader = settle_tiff(OpenSlideReader(made.path, "a"), cache_bytes=3 * tile_bytes)
    assert reader is not None
    with reader:
        reader.read_level(0, 0, 0, 1024, 1024)
        assert reader._cache._held == 3 * tile_bytes
        assert len(reader._cache._tiles) == 3


def test_stored_tile_cannot_be_changed_through_what_was_read(synthetic: Pair) -> None:
    tile = synthetic[0].read_level(0, 256, 256, 256, 256)
    with pytest.raises(ValueError, match="read-only"):
        tile[0, 0, 0] = 0


def test_corrupt_tile_is_an_error_there_and_nowhere_else(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 1024)
    corrupt_tiles(made.path, [5])
    with open_slide(made.path, backend="direct") as slide:
        for index in range(16):
            region = Region(index % 4 * 256, index // 4 * 256, 256, 256)
            if index == 5:
                with pytest.raises(DamagedSlideError, match=r"x=256, y=256 .* does not decode"):
                    slide.read_region(region, Size(256, 256))
            else:
                slide.read_region(region, Size(256, 256))


def test_a_level_whose_only_tile_is_half_zeros_is_damaged_and_not_left_to_openslide(
    tmp_path: Path,
) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 1024, 1.0, seed=3)

    def spoil(data: bytearray) -> None:
        half = len(data) * 7 // 10
        data[half:] = bytes(len(data) - half)

    with tifffile.TiffFile(made.path) as tiff:
        coarsest = next(n for n, page in enumerate(tiff.pages) if len(page.dataoffsets) == 1)
    change_tile(made.path, 0, spoil, page=coarsest)
    with open_slide(made.path) as slide:
        assert isinstance(slide, TiffReader)
        side = slide.levels[-1].size.width
        with pytest.raises(DamagedSlideError):
            slide.read_region(Region.whole(slide.size), Size(side, side))
        slide.read_region(Region(0, 0, 512, 512), Size(512, 512))


def test_openslide_reader_goes_on_after_a_corrupt_tile_with_threads(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 1024)
    corrupt_tiles(made.path, [5])
    failed: list[int] = []
    with open_slide(made.path, backend="openslide") as slide:

        def read() -> None:
            for index in [*range(16)] * 3:
                region = Region(index % 4 * 256, index // 4 * 256, 256, 256)
                try:
                    slide.read_region(region, Size(256, 256))
                except DamagedSlideError:
                    failed.append(index)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == [5] * 9


def test_file_cut_short_is_an_error_where_it_ends(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", np.full((512, 512, 3), 99, np.uint8), 0.5, levels=1)
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[0].dataoffsets[3]
    with open_slide(path, backend="direct") as slide:
        with path.open("r+b") as file:
            file.truncate(last + 10)
        with pytest.raises(DamagedSlideError, match="10 of"):
            slide.read_region(Region(256, 256, 256, 256), Size(256, 256))


def test_threads_read_the_same_pixels_as_one(synthetic: Pair) -> None:
    direct, reference = synthetic
    wrong: list[int] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(40):
            x, y = int(rng.integers(0, 1300)), int(rng.integers(0, 800))
            one = direct.read_level(0, x, y, 224, 224)
            if not np.array_equal(one, reference.read_level(0, x, y, 224, 224)):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "name", ["TCGA-CR-7395-01A-01-TS1.svs", "edge/boxes.tiff", "dicom_cmu1_small_region"]
)
def test_other_compressions_and_containers_fall_back_to_openslide(
    real_data: Path, name: str
) -> None:
    path = real_data / "wsi" / name
    with open_slide(path) as slide:
        assert isinstance(slide, OpenSlideReader)
    with pytest.raises(UnsupportedSlideError, match="JPEG"):
        open_slide(path, backend="direct")


def test_backend_chooses_the_reader(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", np.full((300, 300, 3), 99, np.uint8), 0.5)
    with open_slide(path) as slide:
        assert isinstance(slide, TiffReader)
    with open_slide(path, backend="openslide") as slide:
        assert isinstance(slide, OpenSlideReader)
    with pytest.raises(ConfigError, match="backend"):
        open_slide(path, backend="magic")  # type: ignore[arg-type]


def test_a_forced_mpp_overrides_the_files(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", np.full((300, 300, 3), 99, np.uint8), 0.5)
    with open_slide(path, mpp=0.25, force_mpp=True, backend="direct") as slide:
        assert slide.mpp is not None
        assert slide.mpp.x == 0.25
        assert slide.resolution.stated is not None
        assert slide.resolution.stated.x == pytest.approx(0.5)


def test_reading_after_close_is_an_error(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", np.full((300, 300, 3), 99, np.uint8), 0.5)
    slide = open_slide(path, backend="direct")
    slide.close()
    slide.close()
    with pytest.raises(ValueError, match="closed"):
        slide.read_region(Region(0, 0, 64, 64), Size(64, 64))
