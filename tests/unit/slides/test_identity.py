"""The digest of a slide: equal for equal bytes wherever they lie, another for another slide."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsi.errors import ChangedSlideError, NotASlideError, UnreadableSlideError
from wsi.slides import identity, open_slide
from wsi.slides.identity import require_unchanged, slide_digest, slide_stamp
from wsi.slides.slide_files import slide_files
from wsi.testing.dicom import Kind, tissue_picture, write_dicom, write_other, write_pyramid
from wsi.testing.fakes import ArraySlide
from wsi.testing.slides import synthetic_slide


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_slide(tmp_path_factory.mktemp("s") / "case.tif", 1024, 0.5, seed=1).path


@pytest.fixture
def slide(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "case.tif"))


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are looked at as large ones are, each limit a ten-thousandth or so."""
    for name, value in {
        "WHOLE_BYTES": 1000, "SMALL_BYTES": 2000, "EDGE_BYTES": 512, "EDGES_BYTES": 4096,
        "BLOCKS": 50, "BLOCK_BYTES": 16, "IMAGE_BYTES": 16_000,
    }.items():  # fmt: skip
        monkeypatch.setattr(identity, name, value)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_a_copy_under_another_name_is_the_same_slide(slide: Path, tmp_path: Path) -> None:
    other = shutil.copy(slide, tmp_path / "another name.tif")
    assert slide_digest(slide) == slide_digest(other)
    assert len(slide_digest(slide)) == 32
    with open_slide(slide, name="x") as opened:
        assert slide_digest(opened) == slide_digest(str(slide))


def test_another_scan_of_the_same_size_is_another_slide(slide: Path, tmp_path: Path) -> None:
    other = synthetic_slide(tmp_path / "b.tif", 1024, 0.5, seed=2).path
    assert slide_digest(slide) != slide_digest(other)


@pytest.mark.parametrize("place", [0.1, 0.37, 0.5, 0.9])
def test_every_bit_of_a_slide_of_usual_size_counts(slide: Path, place: float) -> None:
    before = slide_digest(slide)
    flip(slide, int(slide.stat().st_size * place))
    assert slide_digest(slide) != before


def test_a_large_slide_is_sampled_the_same_way_each_time(slide: Path, sampled: None) -> None:
    assert slide_digest(slide) == slide_digest(slide)
    handle = os.open(slide, os.O_RDONLY)
    os.close(handle)


def pages(path: Path) -> list[tuple[list[int], list[int], int]]:
    """Offsets and lengths of each page's tiles, and where its directory begins."""
    with tifffile.TiffFile(path) as tiff:
        return [(list(p.dataoffsets), list(p.databytecounts), p.offset) for p in tiff.pages]  # type: ignore[union-attr]


def test_of_a_large_slide_edges_tables_coarse_levels_and_blocks_count(
    slide: Path, sampled: None
) -> None:
    before = slide_digest(slide)
    size = slide.stat().st_size
    fine, coarse = pages(slide)[0], pages(slide)[-1]
    assert sum(fine[1]) > 16_000 > sum(coarse[1])
    with tifffile.TiffFile(slide) as tiff:
        table = tiff.pages[0].tags["TileByteCounts"].valueoffset  # type: ignore[union-attr]
    step = size // 50
    for offset in (0, size - 1, table + 5, coarse[0][0] + 9, 7 * step + 3, 33 * step + 15):
        flip(slide, offset)
        assert slide_digest(slide) != before, offset
        flip(slide, offset)
    assert slide_digest(slide) == before


def test_what_it_cannot_see_is_what_its_docstring_says(slide: Path, sampled: None) -> None:
    """A byte of a large file between the blocks; ``require_unchanged`` sees its time."""
    step = slide.stat().st_size // 50
    stamp, before = slide_stamp(slide), slide_digest(slide)
    offsets, counts, _ = pages(slide)[0]
    unseen = 20 * step + 200
    assert any(o <= unseen < o + c for o, c in zip(offsets, counts, strict=True))
    flip(slide, unseen)
    assert slide_digest(slide) == before
    assert slide_stamp(slide) != stamp
    assert "2,048 n / N" in (slide_digest.__doc__ or "")


def test_an_edit_of_a_region_in_place_of_a_large_slide_is_noticed(
    slide: Path, sampled: None
) -> None:
    before = slide_digest(slide)
    offsets, counts, _ = pages(slide)[0]
    data = bytearray(slide.read_bytes())
    # Two tiles of sixteen, their entropy-coded bytes turned round: no length changes.
    for offset, count in list(zip(offsets, counts, strict=True))[5:7]:
        middle = slice(offset + count // 2, offset + count - 2)
        data[middle] = data[middle][::-1]
    slide.write_bytes(data)
    assert slide_digest(slide) != before


def test_a_cut_slide_is_another(slide: Path, sampled: None) -> None:
    before = slide_digest(slide)
    slide.write_bytes(slide.read_bytes()[:-1])
    assert slide_digest(slide) != before


def test_a_broken_tiff_has_a_digest_too(tmp_path: Path, sampled: None) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + b"\xff" * 5000)
    assert slide_digest(path) == slide_digest(path)


def test_a_missing_file_is_said_to_be(tmp_path: Path) -> None:
    for ask in (slide_digest, slide_stamp):
        with pytest.raises(
            UnreadableSlideError, match=r"a\.mrxs: the file cannot be read: No such"
        ):
            ask(tmp_path / "a.mrxs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotASlideError):
        slide_digest(tmp_path / "empty")


def test_a_mirax_slide_is_all_its_files(tmp_path: Path) -> None:
    entry = tmp_path / "a.b.mrxs"
    entry.write_bytes(b"x")
    assert [name for name, _ in slide_files(entry)] == [""]
    folder = tmp_path / "a.b"
    folder.mkdir()
    (folder / "Data0000.dat").write_bytes(b"tiles")
    (folder / "Slidedat.ini").write_bytes(b"[GENERAL]")
    assert [name for name, _ in slide_files(entry)] == ["", "Data0000.dat", "Slidedat.ini"]
    before, stamp = slide_digest(entry), slide_stamp(entry)
    (folder / "Data0000.dat").write_bytes(b"tilez")
    assert slide_digest(entry) != before
    assert slide_stamp(entry) != stamp
    (folder / "Data0000.dat").write_bytes(b"tiles")
    assert slide_digest(entry) == before
    (folder / "Data0000.dat").rename(folder / "Data0001.dat")
    assert slide_digest(entry) != before


def test_of_many_large_files_each_is_sampled(tmp_path: Path, sampled: None) -> None:
    entry = tmp_path / "a.mrxs"
    entry.write_bytes(b"x" * 100)
    (tmp_path / "a").mkdir()
    rng = np.random.default_rng(0)
    files = [tmp_path / "a" / f"Data{number}.dat" for number in range(20)]
    for file in files:
        file.write_bytes(rng.bytes(3000))
    before = slide_digest(entry)
    for file in files:
        flip(file, 2999)
        assert slide_digest(entry) != before
        flip(file, 2999)
    flip(entry, 50)
    assert slide_digest(entry) != before


def test_a_hamamatsu_index_names_its_files(tmp_path: Path) -> None:
    entry = tmp_path / "a.vms"
    entry.write_text("[Virtual Microscope Specimen]\nImageFile=a.jpg\nMapFile=../out.jpg\nX=\n")
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path.parent / "out.jpg").write_bytes(b"x")
    assert [name for name, _ in slide_files(entry)] == ["", "a.jpg"]


def test_a_dicom_slide_is_the_instances_of_its_pyramid_with_its_label(tmp_path: Path) -> None:
    entry = write_pyramid(tmp_path, tissue_picture(), kind=Kind(uid=(1, 1, 1)))[0]
    label, other = Kind(flavour="LABEL"), Kind(uid=(1, 1, 2))
    write_dicom(tmp_path / "label.dcm", tissue_picture(256, 256), kind=label)
    write_dicom(tmp_path / "other.dcm", tissue_picture(seed=1), kind=other)
    write_other(tmp_path / "seg.dcm", "1.2.840.10008.5.1.4.1.1.66.4", uid=(1, 1, 1))
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x30\0\0\0UI\0\0")
    (tmp_path / "notes.txt").write_bytes(b"1.2.3")
    (tmp_path / "folder").mkdir()
    found = {path.name for _, path in slide_files(entry)}
    assert found == {entry.name, "label.dcm", "level-1.dcm"}
    before = slide_digest(entry)
    write_dicom(tmp_path / "another.dcm", tissue_picture(seed=2), kind=Kind(uid=(1, 2, 0)))
    assert slide_digest(entry) == before, "another slide in the folder is no change of this one"
    flip(tmp_path / "level-1.dcm", -3)
    assert slide_digest(entry) != before


def test_a_dicom_slide_is_the_same_under_other_names(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "wsi" / "dicom_cmu1_small_region"
    folder = tmp_path / "slide"
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    files = sorted(folder.glob("*.dcm"))
    before = slide_digest(folder)
    assert [path for _, path in slide_files(folder)] == files
    for file in files:
        with open_slide(folder) as opened:
            assert slide_digest(opened) == before
        assert slide_digest(file) == before, "any of its images means the slide"
    (folder / "notes.txt").write_text("beside it")
    files[0].rename(folder / "renamed.dcm")
    assert slide_digest(folder) == before
    flip(folder / "renamed.dcm", -1)
    assert slide_digest(folder) != before


def test_a_slide_that_is_written_to_while_it_is_read_is_refused(slide: Path) -> None:
    with open_slide(slide) as opened:
        slide_digest(opened)
        require_unchanged(opened)
        os.utime(slide, ns=(1, 1))
        with pytest.raises(ChangedSlideError, match=r"case\.tif: its file was replaced or written"):
            require_unchanged(opened)


def test_a_slide_that_is_replaced_while_it_is_open_keeps_the_digest_of_what_was_opened(
    slide: Path, tmp_path: Path
) -> None:
    other = synthetic_slide(tmp_path / "b.tif", 1024, 0.5, seed=2).path
    with open_slide(slide) as opened:
        before = slide_digest(opened)
        other.replace(slide)
        assert slide_digest(opened) == before
        with pytest.raises(ChangedSlideError):
            require_unchanged(opened)
    with open_slide(slide) as opened:
        assert slide_digest(opened) != before


@pytest.fixture
def arrays() -> list[ArraySlide]:
    return [ArraySlide(np.full((8, 8, 3), value, np.uint8)) for value in (1, 1, 2)]


def test_a_reader_without_a_file_says_itself_what_it_holds(arrays: list[ArraySlide]) -> None:
    first, same, other = (slide_digest(array) for array in arrays)
    assert first == same != other
    require_unchanged(arrays[0])
