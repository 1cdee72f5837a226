"""Files and folders are written whole or not at all."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsi.errors import DatasetError
from wsi.files import atomic_directory, atomic_write, write_text


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_file_is_replaced_whole_with_the_permissions_of_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with atomic_write(path) as scratch:
        scratch.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(IsADirectoryError), atomic_write(path) as scratch:  # noqa: PT012
        scratch.write_text("half")
        tmp_path.write_text("a folder is not a file")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(("mode", "file", "folder"), [(None, 0o640, 0o750), (0o644, 0o644, 0o755)])
def test_a_folder_is_replaced_whole(
    tmp_path: Path, mode: int | None, file: int, folder: int
) -> None:
    target = tmp_path / "model"
    for text in ("old", "new"):
        with atomic_directory(target, mode=mode) as scratch:
            (scratch / "deep").mkdir(mode=0o700)
            (scratch / "deep" / "card").write_text(text)
            (scratch / "deep" / "card").chmod(0o600)
    assert (target / "deep" / "card").read_text() == "new"
    assert (target / "deep" / "card").stat().st_mode & 0o777 == file
    assert {p.stat().st_mode & 0o777 for p in (target, target / "deep")} == {folder}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_directory(target) as scratch:
        (scratch / "card").write_text("old")
    with pytest.raises(IsADirectoryError), atomic_directory(target) as scratch:  # noqa: PT012
        (scratch / "card").write_text("half")
        scratch.write_text("a folder is not a file")
    assert (target / "card").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_text_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"file/report\.html: was not written"):
        write_text(tmp_path / "file" / "report.html", "x")
