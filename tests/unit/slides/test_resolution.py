"""Which resolution a slide has: what the file states, what a user gives, what can be true."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsi.errors import ConfigError, MppError
from wsi.geometry import Mpp, Size
from wsi.slides import open_slide, require_mpp
from wsi.slides.resolution import (
    Resolution,
    implausible,
    require_detail,
    settle,
)
from wsi.slides.stated import Stated

SMALL = Size(200, 200)
PLAIN = Stated(mpp=Mpp.square(0.25))
NOTHING = Stated(mpp=None)
PRINTER = Stated(mpp=Mpp.square(25_400 / 300), by_tags_alone=True)
OBLONG = Stated(mpp=Mpp(0.25, 0.5))


def settled(stated: Stated, given: float | None = None, *, force: bool = False) -> Resolution:
    return settle("a.tif", stated, Size(3000, 2400), given, force=force)


def write(path: Path, size: Size = SMALL, **tags: object) -> Path:
    pixels = np.full((size.height, size.width, 3), 240, np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression="jpeg", **tags)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("mpp", [0.05, 0.1, 0.2273, 0.25, 0.5, 1, 2, 4, 8, 10, 16, 30, 40])
def test_what_scanners_and_exported_overviews_state_is_taken(mpp: float) -> None:
    side = min(3000, round(70_000 / mpp))
    assert implausible(Mpp.square(mpp), Size(side, side), tags_alone=True) == ""


@pytest.mark.parametrize("size", [Size(1, 1), SMALL, Size(150_000, 50_000), Size(300_000, 200_000)])
def test_no_size_of_a_slide_on_glass_is_refused(size: Size) -> None:
    assert implausible(Mpp.square(0.5), size) == ""


@pytest.mark.parametrize("mpp", [0.00025, 0.04, 41.0, 250.0, 800_000.0])
def test_a_resolution_that_no_scanner_has_is_implausible(mpp: float) -> None:
    assert "scanners give 0.05 to 40 um/px" in implausible(Mpp.square(mpp), Size(9, 9))


@pytest.mark.parametrize(
    ("dpi", "unit"),
    [(dpi, "inch") for dpi in (72, 96, 150, 254, 300, 600, 1200, 2400)]
    + [(dpi, "whole pixels a centimetre") for dpi in (300, 600, 1200, 2400)],
)
def test_a_printers_resolution_is_implausible_where_only_tags_state_it(dpi: int, unit: str) -> None:
    mpp = 25_400 / dpi if unit == "inch" else 10_000 / round(dpi / 2.54)
    reason = implausible(Mpp.square(mpp), SMALL, tags_alone=True)
    assert f"{dpi} dpi, a resolution for printing" in reason


def test_a_printers_resolution_is_taken_where_the_scanners_software_states_it() -> None:
    assert implausible(Mpp.square(25_400 / 1200), SMALL) == ""


def test_a_slide_larger_than_glass_is_implausible() -> None:
    reason = implausible(Mpp.square(4.0), Size(100_000, 20_000))
    assert "the slide would measure 400 x 80 mm" in reason
    assert implausible(Mpp.square(0.25), Size(100_000, 20_000)) == ""
    assert "155" not in implausible(Mpp.square(1.0), Size(150_000, 100_000))


def test_an_implausible_resolution_is_not_used_and_one_text_says_why() -> None:
    found = settled(PRINTER)
    assert found.used is None
    with pytest.raises(
        MppError, match=r"a\.tif: its resolution of 84\.67 um/px is implausible"
    ) as e:
        found.require("a.tif")
    assert "254 x 203 mm" in str(e.value)
    assert "--mpp" in str(e.value)


def test_a_given_resolution_counts_where_the_file_states_none() -> None:
    found = settled(NOTHING, 0.5)
    assert found.require("a.tif") == Mpp(0.5, 0.5)
    assert (found.given, found.warnings) == (0.5, ())


def test_a_given_resolution_suffices_where_the_stated_one_is_implausible_and_both_are_named() -> (
    None
):
    found = settled(PRINTER, 0.5)
    assert found.require("a.tif") == Mpp(0.5, 0.5)
    assert found.warnings == (
        "resolution 0.5 um/px given by the user; the file states 84.67 um/px",
    )


def test_an_implausible_resolution_can_be_confirmed_by_giving_it_and_forcing_it() -> None:
    with pytest.raises(MppError, match=r"the given resolution of 84\.67 um/px is implausible"):
        settled(PRINTER, 84.67)
    found = settled(PRINTER, 84.67, force=True)
    assert found.require("a.tif").mean == pytest.approx(84.67)
    assert any("implausible" in text for text in found.warnings)


def test_a_given_resolution_that_contradicts_the_file_is_refused_with_both() -> None:
    with pytest.raises(
        MppError, match=r"0\.5 um/px was given, but the file states 0\.25 um/px"
    ) as e:
        settled(PLAIN, 0.5)
    assert "--force-mpp" in str(e.value)
    assert '"force_mpp": true' in str(e.value)


def test_a_forced_resolution_counts_and_both_are_named() -> None:
    found = settled(PLAIN, 0.5, force=True)
    assert found.require("a.tif") == Mpp(0.5, 0.5)
    assert found.warnings == ("resolution 0.5 um/px given by the user; the file states 0.25 um/px",)


@pytest.mark.parametrize("given", [0.2480, 0.25, 0.2520])
def test_a_given_resolution_that_agrees_leaves_the_stated_one(given: float) -> None:
    found = settled(PLAIN, given)
    assert found.require("a.tif") == Mpp(0.25, 0.25)
    assert (found.given, found.warnings) == (None, ())


@pytest.mark.parametrize("given", [0.2470, 0.2530])
def test_more_than_one_per_cent_is_another_resolution(given: float) -> None:
    with pytest.raises(MppError, match="but the file states"):
        settled(PLAIN, given)


def test_pixels_that_are_not_square_are_refused_and_never_squared_in_silence() -> None:
    with pytest.raises(MppError, match=r"not square \(0\.25 x 0\.5 um.*--force-mpp"):
        settled(OBLONG).require("a.tif")
    with pytest.raises(MppError, match=r"but the file states 0\.25 x 0\.5 um/px"):
        settled(OBLONG, 0.5)
    found = settled(OBLONG, 0.7, force=True)
    used = found.require("a.tif")
    assert used.y / used.x == pytest.approx(2)
    assert used.mean == pytest.approx(0.7)
    assert "the ratio of its sides is kept" in found.warnings[0]


def test_a_given_resolution_keeps_the_ratio_of_implausible_pixels() -> None:
    stated = Stated(mpp=Mpp(25_400 / 300, 25_400 / 150), by_tags_alone=True)
    with pytest.raises(MppError, match="not square"):
        settled(stated, 0.5).require("a.tif")
    slightly = settled(Stated(mpp=Mpp(80.0, 82.0)), 0.5).require("a.tif")
    assert slightly.y / slightly.x == pytest.approx(82 / 80)


def test_where_one_of_two_tags_is_nonsense_pixels_are_taken_as_square_and_that_is_said() -> None:
    found = settled(Stated(mpp=Mpp(0.25, 25_400.0)), 0.25)
    assert found.require("a.tif") == Mpp(0.25, 0.25)
    assert "its pixels are taken as square" in found.warnings[0]


@pytest.mark.parametrize("given", [0.0, -1.0, float("nan"), float("inf")])
def test_a_given_resolution_must_be_a_positive_number(given: float) -> None:
    with pytest.raises(ConfigError, match="positive"):
        settled(NOTHING, given, force=True)


@pytest.mark.parametrize(
    ("times", "warned"), [(0.1, False), (1.0, False), (1.1, False), (1.2, True)]
)
def test_a_slide_a_little_too_coarse_is_warned_of_with_both_numbers(
    times: float, warned: bool
) -> None:
    told = require_detail("a.tif", Mpp.square(2 * times), 2.0, "the model 'm'")
    assert bool(told) is warned
    if warned:
        assert "2.4 um/px" in told[0]
        assert "2 um/px" in told[0]


@pytest.mark.parametrize(("mpp", "wanted"), [(4.0, 2.0), (30.0, 0.5), (0.76, 0.5)])
def test_a_slide_much_too_coarse_is_refused_with_both_numbers(mpp: float, wanted: float) -> None:
    with pytest.raises(MppError) as error:
        require_detail("a.tif", Mpp.square(mpp), wanted, "the model 'm'")
    assert f"the slide has {mpp:g} um/px, and the model 'm' needs {wanted:g} um/px" in str(
        error.value
    )


def test_half_again_is_still_taken() -> None:
    assert require_detail("a.tif", Mpp.square(0.75), 0.5, "the model 'm'")


def test_a_file_with_a_printers_resolution_opens_and_has_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", resolution=(600, 600), resolutionunit="INCH")
    with open_slide(path) as slide:
        assert slide.mpp is None
        with pytest.raises(MppError, match="600 dpi"):
            require_mpp(slide)
    with open_slide(path, mpp=0.5) as slide:
        assert require_mpp(slide) == Mpp(0.5, 0.5)
        assert "42.33" in slide.warnings[0]


def test_a_file_that_states_another_resolution_is_not_opened_with_a_given_one(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.tif", resolution=(40_000, 20_000), resolutionunit="CENTIMETER")
    with pytest.raises(MppError, match=r"the file states 0\.25 x 0\.5 um/px"):
        open_slide(path, mpp=0.5)
    with open_slide(path, mpp=0.5, force_mpp=True) as slide:
        used = require_mpp(slide)
    assert used.y / used.x == pytest.approx(2)
