"""What a dataset table says by itself."""

from pathlib import Path

import pytest

from wsi.datasets.counts import check_counts, count
from wsi.datasets.table import read_entries
from wsi.errors import DatasetError


def table(folder: Path, *lines: str, header: str = "path,label,patient,split,site") -> Path:
    path = folder / "slides.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def kinds(folder: Path, *lines: str, **more: str) -> dict[str, str]:
    entries = read_entries(table(folder, *lines, **more))
    return {one.kind: one.message for one in check_counts(entries, count(entries))}


def sound(index: int, label: str, split: str, site: str) -> str:
    return f"{split}{label}{index}{site}.svs,{label},p{split}{label}{index}{site},{split},{site}"


GOOD = [
    sound(i, label, split, site)
    for i in range(3)
    for label in ("benign", "cancer")
    for split in ("train", "val", "test")
    for site in ("A", "B")
]


def test_a_sound_table_has_no_problem_and_its_counts_by_hand(tmp_path: Path) -> None:
    assert kinds(tmp_path, *GOOD) == {}
    counts = count(read_entries(table(tmp_path, *GOOD)))
    assert (counts.entries, counts.patients) == (36, 36)
    assert counts.by_split.rows == ("benign", "cancer")
    assert counts.by_split.columns == ("train", "val", "test")
    assert counts.by_split.counts == ((6, 6, 6), (6, 6, 6))
    assert counts.site_association == pytest.approx(0)
    assert counts.lines_per_patient == {1: 36}


def test_a_patient_in_two_splits_is_named(tmp_path: Path) -> None:
    found = kinds(tmp_path, *GOOD, "x.svs,benign,p9,train,A", "y.svs,benign,p9,Validation,B")
    assert (
        "1 patient(s) in more than one split: p9 (train and val)" in found["patient_in_two_splits"]
    )


def test_a_class_that_a_split_lacks_is_an_error_and_a_rare_one_a_warning(tmp_path: Path) -> None:
    lines = [line for line in GOOD if "testcancer" not in line]
    assert kinds(tmp_path, *lines)["class_missing"] == "split test has no cancer"
    more = [sound(i, "benign", "val", "A") for i in range(100, 160)]
    assert "split val has little of cancer (6 of 72)" in kinds(tmp_path, *GOOD, *more)["class_rare"]


def test_sites_that_tell_the_label_are_pointed_out(tmp_path: Path) -> None:
    lines = [
        sound(i, label, split, {"benign": "A", "cancer": "B"}[label])
        for i in range(3)
        for label in ("benign", "cancer")
        for split in ("train", "val", "test")
    ]
    found = kinds(tmp_path, *lines)
    assert "2 site(s) with a single class: A, B" in found["site_of_one_class"]
    assert "Cramér's V 1.00" in found["site_confounded"]


def test_holes_in_the_table_are_named_by_line(tmp_path: Path) -> None:
    header = "path,label,patient,split,site,mpp"
    lines = [f"{line}," for line in GOOD]
    lines += ["z.svs,,p1,train,A,", "w.svs,benign,p2,tset,A,half", ",benign,p3,train,A,"]
    found = kinds(tmp_path, *lines, header=header)
    assert found["no_label"].endswith("line 38")
    assert found["no_split"].endswith("line 39")
    assert found["no_mpp_number"].endswith("line 39")
    assert found["no_path"].endswith("line 40")


def test_a_table_without_patients_says_what_that_hides(tmp_path: Path) -> None:
    found = kinds(tmp_path, "a.svs,benign,train", "b.svs,cancer,train", header="path,label,split")
    assert "the table names no patients" in found["no_patients"]


def test_a_table_without_paths_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="path or file or slide; it has: image, label"):
        read_entries(table(tmp_path, "a.svs,benign", header="image,label"))
