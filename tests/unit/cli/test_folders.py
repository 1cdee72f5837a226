"""Folders on the command line: each slide of it, under a name of its own."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.test_commands import wsi
from wsi.testing.dicom import Kind, tissue_picture, write_dicom
from wsi.testing.models import untrained_patch_bundle


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two DICOM slides and one that is not read."""
    folder = tmp_path_factory.mktemp("slides") / "case"
    for number in (1, 2):
        kind = Kind(uid=(1, number, 0))
        write_dicom(folder / f"I{number}", tissue_picture(1024, 768, seed=number), kind=kind)
    write_dicom(folder / "I3", tissue_picture(), kind=Kind(uid=(1, 3, 0), focal=2))
    return folder


def test_info_shows_each_slide_of_a_folder(case: Path) -> None:
    answer = wsi("info", case, "--json")
    assert [facts["slide"] for facts in json.loads(answer.stdout)] == ["case-S1-1", "case-S1-2"]
    assert answer.stderr == (
        "wsi: case-S1-3: it has two focal planes; only single-plane slides are read\n"
    )
    assert answer.exit_code == 2
    shown = wsi("info", case)
    assert shown.stdout.count("1024 x 768 px") == 2
    assert wsi("info", case / "I3").exit_code == 2


def test_analyze_scores_each_slide_of_a_folder(case: Path, tmp_path: Path) -> None:
    untrained_patch_bundle(tmp_path / "p")
    answer = wsi(
        *("analyze", case, "--pipeline", "patch", "--model", tmp_path / "p"),
        *("--out", tmp_path / "out"),
    )
    assert answer.exit_code == 2
    assert "2 of 3 slides scored; 1 failed" in answer.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["case-S1-1", "case-S1-2"]
    result = json.loads((tmp_path / "out" / "case-S1-2" / "patch.json").read_text())
    assert result["slide"] == "case-S1-2"


def test_what_needs_one_slide_refuses_a_folder_of_several(case: Path, tmp_path: Path) -> None:
    answer = wsi("tissue", case, "--out", tmp_path / "t.png")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("wsi: case: it holds 3 slides: DICOM series")
