"""Opening slides, and saying what is wrong where that fails."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from wsi.errors import (
    ConfigError,
    DamagedSlideError,
    MppError,
    NotASlideError,
    SlideError,
    UnreadableSlideError,
    UnsupportedSlideError,
)
from wsi.geometry import Mpp, Region, Size
from wsi.slides import check_slide, open_slide, read_at_mpp, require_mpp
from wsi.testing.fakes import ArraySlide
from wsi.testing.slides import synthetic_slide


@pytest.fixture(scope="module")
def tiff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_slide(tmp_path_factory.mktemp("slides") / "slide.tif", 1500, seed=1).path


def refusal(path: Path) -> SlideError:
    with pytest.raises(SlideError) as caught:
        check_slide(path)
    error = caught.value
    assert str(error).startswith(path.name), "the message names the slide"
    assert "\n" not in str(error)
    return error


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert isinstance(refusal(tmp_path / "none.svs"), UnreadableSlideError)


def test_an_empty_file_is_no_slide_and_the_text_says_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.svs"
    path.touch()
    error = refusal(path)
    assert isinstance(error, NotASlideError)
    assert "empty" in str(error)


def test_a_text_file_is_no_slide(tmp_path: Path) -> None:
    path = tmp_path / "notes.svs"
    path.write_text("this is not a slide")
    assert isinstance(refusal(path), NotASlideError)


def test_a_png_is_no_slide(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 64)).save(path)
    assert isinstance(refusal(path), NotASlideError)


def test_a_folder_without_a_slide_is_no_slide(tmp_path: Path) -> None:
    assert isinstance(refusal(tmp_path), NotASlideError)


def test_a_tiff_without_tiles_is_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, np.zeros((50, 50, 3), np.uint8))
    error = refusal(path)
    assert isinstance(error, UnsupportedSlideError)
    assert "tiles" in str(error)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_slide_cut_off_anywhere_is_damaged(tiff: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.tif"
    whole = tiff.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert isinstance(refusal(path), DamagedSlideError)


def test_a_sound_slide_passes_the_check(tiff: Path) -> None:
    check_slide(tiff)


def test_half_an_svs_is_damaged(real_data: Path, tmp_path: Path) -> None:
    whole = (real_data / "wsi" / "CMU-1-Small-Region.svs").read_bytes()
    path = tmp_path / "half.svs"
    path.write_bytes(whole[: len(whole) // 2])
    error = refusal(path)
    assert isinstance(error, DamagedSlideError)
    assert "cut off" in str(error)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("boxes.png", NotASlideError),
        ("broken.svs", NotASlideError),
        ("unopenable.tiff", UnsupportedSlideError),
        ("hs2p-test-mask.tif", UnsupportedSlideError),
        ("unreadable.svs", DamagedSlideError),
    ],
)
def test_each_bad_real_file_is_refused_for_what_it_is(
    real_data: Path, name: str, kind: type[SlideError]
) -> None:
    assert isinstance(refusal(real_data / "wsi" / "edge" / name), kind)


@pytest.mark.parametrize("name", ["boxes.tiff", "small.svs", "dicom_boxes"])
def test_each_good_real_file_passes_the_check(real_data: Path, name: str) -> None:
    check_slide(real_data / "wsi" / "edge" / name)


def test_boxes_reads_like_its_reference_picture(real_data: Path) -> None:
    edge = real_data / "wsi" / "edge"
    with open_slide(edge / "boxes.tiff") as slide:
        pixels = slide.read_region(Region.whole(slide.size), slide.size)
    reference = np.asarray(Image.open(edge / "boxes.png").convert("RGB"))
    assert pixels.shape == reference.shape
    assert np.abs(pixels.astype(int) - reference).mean() < 3


def test_a_dicom_slide_is_the_same_picture_as_its_svs_twin(real_data: Path) -> None:
    with (
        open_slide(real_data / "wsi" / "CMU-1-Small-Region.svs") as svs,
        open_slide(real_data / "wsi" / "dicom_cmu1_small_region") as dicom,
    ):
        assert svs.size == dicom.size
        assert svs.mpp == dicom.mpp
        whole = Region.whole(svs.size)
        one = svs.read_region(whole, svs.size).astype(int)
        other = dicom.read_region(whole, svs.size)
        assert np.abs(one - other).mean() < 4


def test_the_facts_of_an_svs_are_read(real_data: Path) -> None:
    with open_slide(real_data / "wsi" / "CMU-1-Small-Region.svs") as slide:
        assert slide.vendor == "aperio"
        assert slide.size == Size(2220, 2967)
        assert slide.mpp == Mpp(0.499, 0.499)
        assert slide.magnification == 20
        assert set(slide.associated_images) == {"label", "macro", "thumbnail"}
        assert slide.associated_image("label").ndim == 3


def test_a_slide_without_mpp_is_refused_with_the_way_to_give_it(real_data: Path) -> None:
    path = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
    with open_slide(path) as slide:
        assert slide.mpp is None
        with pytest.raises(MppError, match=r"TCGA-CR-7395-01A-01-TS1\.svs.*--mpp 0\.5"):
            require_mpp(slide)
    with open_slide(path, mpp=0.5) as slide:
        assert require_mpp(slide) == Mpp(0.5, 0.5)


@pytest.mark.parametrize("mpp", [Mpp(800_000, 800_000), Mpp(0.001, 0.001), Mpp(0.5, 0.53)])
def test_an_mpp_that_cannot_be_true_is_refused(mpp: Mpp) -> None:
    with pytest.raises(MppError, match="--mpp"):
        require_mpp(ArraySlide(np.zeros((9, 9, 3), np.uint8), mpp))


@pytest.mark.parametrize("mpp", [0.0, -1.0, float("nan"), float("inf")])
def test_a_given_mpp_must_be_a_positive_number(tiff: Path, mpp: float) -> None:
    with pytest.raises(ConfigError, match="positive"):
        open_slide(tiff, mpp=mpp)


def test_reading_at_a_coarser_mpp_uses_the_nearest_finer_level(tiff: Path) -> None:
    with open_slide(tiff) as slide:
        assert [round(level.downsample) for level in slide.levels][:2] == [1, 4]
        at_level = read_at_mpp(slide, Region(0, 0, 1024, 1024), 2.0)
        assert at_level.shape == (256, 256, 3)
        # The second level exactly: no resampling may touch it.
        import openslide

        with openslide.OpenSlide(tiff) as handle:
            direct = handle.read_region((0, 0), 1, (256, 256)).convert("RGB")
        np.testing.assert_array_equal(at_level, np.asarray(direct))


def test_a_checkerboard_is_averaged_and_does_not_alias() -> None:
    board = np.indices((512, 512)).sum(0) % 2 * 255
    slide = ArraySlide(np.repeat(board[:, :, None], 3, 2).astype(np.uint8), mpp=1.0)
    grey = read_at_mpp(slide, Region(0, 0, 512, 512), 8.0)
    assert np.abs(grey.astype(int) - 127).max() <= 2
