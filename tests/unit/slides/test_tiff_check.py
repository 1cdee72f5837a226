"""A whole file is looked at for tiles that were cut off or never written."""

import shutil
from pathlib import Path

import pytest
import tifffile

from wsi.errors import DamagedSlideError
from wsi.slides import check_slide
from wsi.slides.tiff_check import check_tile_ends
from wsi.testing.slides import synthetic_slide
from wsi.testing.tiff_edits import change_tile, cut_tile, stored_tile


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return synthetic_slide(tmp_path / "a.tif", 2560, 0.5, seed=3, levels=2).path


def emptied(data: bytearray) -> None:
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)


def unstarted(data: bytearray) -> None:
    data[:8] = bytes(8)


# Not at a corner nor in the centre, where pixels are read as well.
INNER = (23, 47)


@pytest.mark.parametrize("change", [emptied, unstarted])
def test_spoiled_tiles_anywhere_are_counted_and_placed(slide: Path, change: object) -> None:
    for index in INNER:
        change_tile(slide, index, change)  # type: ignore[arg-type]
    with pytest.raises(DamagedSlideError, match=r"2 of 109 stored tiles .* x=768, y=512"):
        check_slide(slide)


def test_a_tile_that_breaks_off_is_found(slide: Path) -> None:
    cut_tile(slide, INNER[0], len(stored_tile(slide, INNER[0])) // 2)
    with pytest.raises(DamagedSlideError, match=r"1 of 109 stored tiles"):
        check_slide(slide)


def test_a_tile_without_its_end_marker_is_sound(slide: Path) -> None:
    cut_tile(slide, INNER[0], len(stored_tile(slide, INNER[0])) - 2)
    check_slide(slide)


def test_what_no_time_is_left_for_is_told(slide: Path) -> None:
    assert check_tile_ends(slide, "a") == 1
    change_tile(slide, INNER[0], emptied)
    assert check_tile_ends(slide, "a", seconds=0) == 0


def test_other_files_and_compressions_have_nothing_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no TIFF")
    assert check_tile_ends(tmp_path / "a.txt", "a") == 1
    tifffile.imwrite(tmp_path / "a.tif", shape=(64, 64), dtype="uint8")
    assert check_tile_ends(tmp_path / "a.tif", "a") == 1


def test_jpeg_2000_tiles_that_end_in_zeros_are_found(real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    shutil.copyfile(real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs", path)
    assert check_tile_ends(path, "a") == 1
    change_tile(path, INNER[0], emptied)
    with pytest.raises(DamagedSlideError, match="1 of "):
        check_tile_ends(path, "a")
