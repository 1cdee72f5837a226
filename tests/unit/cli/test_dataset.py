"""``wsi dataset`` as a user types it."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from wsi.cli.main import main
from wsi.testing.slides import synthetic_slide


def run(*asked: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["dataset", *asked])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    lines = ["path,annotations,label,patient,split,centre"]
    for i in range(4):
        synthetic_slide(folder / f"s{i}.tif", 512, 0.5, seed=i, geojson=i == 1)
        label = ("benign", "cancer")[i % 2]
        drawn = "s1.geojson" if i == 1 else ""
        lines.append(f"s{i}.tif,{drawn},{label},p{i // 2},{'train' if i < 3 else 'val'},c{i % 2}")
    (folder / "slides.csv").write_text("\n".join(lines) + "\n")
    (folder / "predictions.csv").write_text(
        "name,p_benign,p_cancer\ns0,0.9,0.1\ns1,0.2,0.8\ns2,0.05,0.95\ns3,0.1,0.9\n"
    )
    (folder / "ratings.csv").write_text("slide,rater,label\ns0,a,cancer\ns0,b,cancer\n")
    return folder


def test_a_report_names_what_is_wrong_and_strict_fails(made: Path, tmp_path: Path) -> None:
    table, out = ["--table", str(made / "slides.csv"), "--site", "centre"], tmp_path / "out"
    more = ["--scores", str(made / "predictions.csv"), "--ratings", str(made / "ratings.csv")]
    code, output = run("report", *table, *more, "--out", str(out))
    assert code == 0, output
    assert "4 lines, 2 patients" in output
    assert "error: 1 patient(s) in more than one split: p1 (train and val)" in output
    assert "predictions.csv: 1 of 4 labels to review" in output
    data = json.loads((out / "dataset.json").read_text())
    assert data["coverage"]["classes"]["cancer"]["slides"] == 1
    assert [one["source"] for one in data["label_noise"]] == ["predictions.csv", "ratings.csv"]
    page = (out / "dataset.html").read_text()
    assert "Lines by class and site" in page
    assert "http" not in page.split("<style>")[0]
    issues = list(csv.DictReader((out / "label_issues.csv").read_text().splitlines()))
    assert [(one["path"], one["likely"]) for one in issues] == [
        ("s2.tif", "cancer"),
        ("s0.tif", "cancer"),
    ]
    assert run("report", *table, "--out", str(out), "--strict")[0] == 2


def test_a_split_table_keeps_its_columns_and_trains(made: Path, tmp_path: Path) -> None:
    table, out = str(made / "slides.csv"), tmp_path / "split.csv"
    code, output = run(
        "split", "--table", table, "--stratify", "label", "--fractions", "0.5,0.5",
        "--out", str(out),
    )  # fmt: skip
    assert code == 0, output
    assert "benign: train 1, val 1" in output
    lines = list(csv.DictReader(out.read_text().splitlines()))
    assert list(lines[0]) == ["path", "annotations", "label", "patient", "centre", "split"]
    assert len({(line["patient"], line["split"]) for line in lines}) == 2
    code, output = run("split", "--table", table, "--out", table)
    assert (code, "is the table itself" in output) == (2, True)
    code, output = run("split", "--table", table, "--fractions", "most", "--out", str(out))
    assert (code, "takes numbers" in output) == (2, True)


def test_real_patches_have_no_leak(real_data: Path, tmp_path: Path) -> None:
    patches = real_data / "idc_patches"
    asked = ["--table", str(patches / "idc_patches.csv"), "--images"]
    code, output = run(
        "report", *asked, str(patches / "idc_patches.zip"), "--out", str(tmp_path), "--strict"
    )
    assert code == 0, output
    assert "3904 lines, 197 patients" in output
