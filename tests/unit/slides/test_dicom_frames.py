"""DICOM slides of which not every tile is stored, or whose frames do not say where they lie."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.slides.test_dicom import PICTURE, WHOLE, refusal, sizes
from wsi.errors import UnsupportedSlideError
from wsi.geometry import Size
from wsi.slides import open_slide
from wsi.testing.dicom import Kind, tissue_picture, write_dicom


def test_tiles_that_are_not_stored_are_glass_on_every_level(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a" / "0.dcm", PICTURE, kind=Kind(sparse=True, skip={(1, 1)}))
    write_dicom(tmp_path / "a" / "1.dcm", PICTURE[::2, ::2])
    with open_slide(tmp_path / "a") as slide:
        assert slide.warnings == ("1 of its 6 tiles are not stored: they are read as glass",)
        fine = slide.read_region(WHOLE, Size(768, 512))
        assert (fine[256:512, 256:512] == 255).all()
        assert np.abs(fine[:256].astype(int) - PICTURE[:256]).mean() < 5
        coarse = slide.read_region(WHOLE, Size(384, 256))
        assert (coarse[128:256, 128:256] == 255).all()
        assert (coarse[:128] < 255).any(axis=2).mean() > 0.95


def test_a_coarse_level_without_some_tiles_of_the_slide_is_left_out(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a" / "0.dcm", PICTURE)
    write_dicom(tmp_path / "a" / "1.dcm", PICTURE[::2, ::2], kind=Kind(sparse=True, skip={(0, 1)}))
    with open_slide(tmp_path / "a") as slide:
        assert sizes(slide) == [(768, 512)]
        assert "some of its tiles are not stored" in slide.warnings[0]


def test_gaps_that_a_coarse_level_shares_with_the_finest_do_not_cost_it(tmp_path: Path) -> None:
    picture = tissue_picture(1024, 1024)
    gaps = {(row, column) for row in (0, 1) for column in (2, 3)}
    write_dicom(tmp_path / "0.dcm", picture, kind=Kind(sparse=True, skip=gaps))
    write_dicom(tmp_path / "1.dcm", picture[::2, ::2], kind=Kind(sparse=True, skip={(0, 1)}))
    with open_slide(tmp_path) as slide:
        assert sizes(slide) == [(1024, 1024), (512, 512)]


def test_frames_without_positions_fill_the_grid_in_order(tmp_path: Path) -> None:
    silent = {"DimensionOrganizationType": None}
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(more=silent))
    with open_slide(tmp_path / "a.dcm") as slide:
        assert slide.warnings == ()
        read = slide.read_region(WHOLE, Size(768, 512)).astype(int)
        assert np.abs(read - PICTURE).mean() < 5
    write_dicom(tmp_path / "few" / "b.dcm", PICTURE, kind=Kind(more=silent, stored_frames=5))
    with pytest.raises(UnsupportedSlideError, match="5 frames of 6 tiles and does not say where"):
        open_slide(tmp_path / "few")


@pytest.mark.parametrize(
    ("column", "reason"), [(129, "do not lie on a grid"), (257, "several frames for one tile")]
)
def test_sparse_frames_must_lie_on_tiles_of_their_own(
    tmp_path: Path, column: int, reason: str
) -> None:
    file = tmp_path / "a.dcm"
    instance = write_dicom(file, PICTURE, kind=Kind(sparse=True))
    frame = instance.PerFrameFunctionalGroupsSequence[0].PlanePositionSlideSequence[0]
    frame.ColumnPositionInTotalImagePixelMatrix = column
    instance.save_as(file)
    assert reason in str(refusal(file))


def test_more_frames_than_tiles_are_refused_where_nothing_says_what_they_are(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a.dcm"
    instance = write_dicom(file, PICTURE, kind=Kind(focal=2))
    instance.TotalPixelMatrixFocalPlanes = 1
    instance.save_as(file)
    assert "12 frames for 6 tiles" in str(refusal(file))
