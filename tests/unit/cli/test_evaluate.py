"""``wsi evaluate`` as a user types it."""

import json
from pathlib import Path

from click.testing import CliRunner

from wsi.cli.main import main


def write_table(folder: Path) -> Path:
    path = folder / "scores.csv"
    lines = [
        f"s{i},p{i // 2},{i % 2},{0.1 * i + 0.3 * (i % 2):.2f},{0.05 * i:.2f}" for i in range(8)
    ]
    path.write_text("slide,patient,y,a,b\n" + "\n".join(lines) + "\n")
    return path


def test_a_table_becomes_a_report_and_json(tmp_path: Path) -> None:
    out = tmp_path / "out"
    table = str(write_table(tmp_path))
    asked = ["--label", "y", "--score", "a", "--score", "b", "--patient", "patient"]
    done = CliRunner().invoke(
        main, ["evaluate", "scores", table, *asked, "--replicates", "50", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    data = json.loads((out / "evaluation.json").read_text())
    assert [score["name"] for score in data["scores"]] == ["a", "b"]
    assert data["scores"][0]["patients"] == 4
    assert data["by_patient"] is True
    assert "not a medical device" in (out / "report.html").read_text()
    assert (out / "figures" / "roc.svg").exists()


def test_a_missing_column_is_one_line_and_exit_code_two(tmp_path: Path) -> None:
    table = str(write_table(tmp_path))
    done = CliRunner().invoke(
        main, ["evaluate", "scores", table, "--label", "truth", "--score", "a", "--out", "x"]
    )
    assert done.exit_code == 2
    assert "column missing: truth" in done.output


def test_one_class_only_is_reported_and_succeeds(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("y,s\n1,0.5\n1,0.7\n")
    done = CliRunner().invoke(
        main,
        ["evaluate", "scores", str(table), "--label", "y", "--score", "s", "--out", str(tmp_path)],
    )
    assert done.exit_code == 0
    assert "all 2 cases are positive" in done.output
    assert "null" in (tmp_path / "evaluation.json").read_text()


def test_cases_can_be_patients(tmp_path: Path) -> None:
    table = str(write_table(tmp_path))
    asked = ["--label", "y", "--score", "a", "--patient", "patient", "--per-patient"]
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["evaluate", "scores", table, *asked, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads((out / "evaluation.json").read_text())["scores"][0]["cases"] == 4
