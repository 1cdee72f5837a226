"""Tables: patients, labels, numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from tests.cases import Case
from wsi.cli import main


def _last_line(arguments: list[str]) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2, done.output
    return done.stderr.strip().splitlines()[-1]


def _leak(written: Callable[[str], str]) -> Callable[[Path], str]:
    """Every patient is in training and in validation, there written in another way."""

    def run(folder: Path) -> str:
        lines = ["path,label,patient,split"]
        for number in range(16):
            patient, split = str(number // 2 + 1), ("train", "val")[number % 2]
            Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(folder / f"{number}.png")
            name = written(patient) if split == "val" else patient
            lines.append(f"{number}.png,{('benign', 'cancer')[number // 2 % 2]},{name},{split}")
        table = folder / "patches.csv"
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        asked = ["--table", str(table), "--images", str(folder), "--mpp", "0.5"]
        asked += ["--classes", "benign,cancer", "--out", str(folder / "model")]
        return _last_line(["train", "patch", *asked])

    return run


def _table(*lines: str, head: str = "path,label,patient,split") -> Callable[[Path], str]:
    """Training on a table of which this is the text, beside files that need not be there."""

    def run(folder: Path) -> str:
        table = folder / "slides.csv"
        table.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        asked = ["--table", str(table), "--mpp", "0.5", "--classes", "benign,cancer"]
        return _last_line(["train", "whole-slide", *asked, "--out", str(folder / "model")])

    return run


def _shared_number(folder: Path) -> str:
    lines = ["path,label,patient,split"]
    lines += [f"{n}.png,{n % 2},GT20124{n}0,train" for n in range(6)]
    lines += [f"{n}.png,{n % 2},GTXC20124{n - 6}0,val" for n in range(6, 8)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    out = ["--out", str(folder / "report")]
    done = CliRunner().invoke(main, ["dataset", "report", "--table", str(folder / "t.csv"), *out])
    found = [line for line in done.output.splitlines() if "share a number" in line]
    assert found, done.output
    return found[0]


def _truth(third: str) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        rows = ["slide,truth,score", "a,cancer,0.9", "b,benign,0.2", f"c,{third},0.8"]
        (folder / "scores.csv").write_text("\n".join(rows) + "\n")
        asked = ["--label", "truth", "--score", "score", "--positive", "cancer"]
        table, out = str(folder / "scores.csv"), ["--out", str(folder / "report")]
        return _last_line(["evaluate", "scores", table, *asked, *out])

    return run


CASES = (
    Case(input='a patient written `1` and `"1 "`', run=_leak(lambda name: f"{name} ")),
    Case(input="a patient followed by a no-break space", run=_leak(lambda name: f"{name}\u00a0")),
    Case(input="a patient written `1` and `1.0`", run=_leak(lambda name: f"{name}.0")),
    Case(input="a patient written `1` and `01`", run=_leak(lambda name: f"0{name}")),
    Case(input="lines without a patient among others", run=_leak(lambda name: "")),
    Case(input="one case number under two prefixes", run=_shared_number),
    Case(
        input="one slide in train and in val, under two patients and two paths",
        run=_table("a.svs,0,p1,train", "./x/../a.svs,0,p2,val"),
    ),
    Case(input="one slide with two labels", run=_table("a.svs,0,p1,train", "a.svs,1,p1,train")),
    Case(
        input="a column `Patient`, where `patient` is read",
        run=_table("a.svs,0,p1,train", head="path,label,Patient,split"),
    ),
    Case(
        input="patients that a spreadsheet shortened",
        run=_table("a.svs,0,2.01247E+11,train", "b.svs,0,p2,val"),
    ),
    Case(
        input="a patient written `1,0` in a table with semicolons",
        run=_table("a.svs;0;1;train", "b.svs;0;1,0;val", head="path;label;patient;split"),
    ),
    Case(input="truth written `cancer` and `Cancer`", run=_truth("Cancer")),
    Case(input="truth written `NA`", run=_truth("NA")),
    Case(input="truth of a third class", run=_truth("normal")),
)
