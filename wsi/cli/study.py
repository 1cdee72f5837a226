"""``wsi study``: one training repeated under several conditions."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.options import (
    device_option,
    force_mpp_option,
    out_option,
    root_option,
    table_option,
)
from wsi.errors import ConfigError, DatasetError
from wsi.tables import of_split

if TYPE_CHECKING:
    from wsi.data.tables import Row

_ASKED = "asked.json"
_STOPPED = (143, -15, -2)
"""Exit codes of a command that was told to stop: ours of SIGTERM, SIGTERM, SIGINT."""
_OURS = (
    *("--table", "--root", "--mpp", "--force-mpp", "--seed", "--out", "--resume", "--device"),
    "--images",
)


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What is asked, the same for every cell."""

    table: Path
    root: Path | None
    pipeline: str
    split: str
    out: Path
    device: str
    more: tuple[str, ...]
    slides: str
    force: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """What decides the results of a cell, besides its resolution and seed."""
        return {
            "table": hashlib.sha256(self.table.read_bytes()).hexdigest(),
            "slides": self.slides,
            "pipeline": self.pipeline,
            "split": self.split,
            "options": [*self.more, *self.force],
        }


class _StudyStopped(Exception):  # noqa: N818 - not an error: it was asked to stop
    """A cell's command was told to stop, and so is the study."""


@click.group()
def study() -> None:
    """Repeat a training under several conditions and compare."""


@study.command("resolution", context_settings={"ignore_unknown_options": True})
@table_option("CSV of slides: path, label, patient, split; for patch models annotations too.")
@root_option
@force_mpp_option()
@click.option("--pipeline", type=click.Choice(["whole-slide", "patch"]), required=True)
@click.option("--mpp", "mpps", required=True, help="Micrometres per pixel, such as 2,4,8.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Trainings a resolution.",
)
@click.option("--split", default="test", show_default=True, help="Split to evaluate on.")
@device_option
@out_option()
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
@errors_in_one_line
def study_resolution(
    table: Path,
    root: Path | None,
    force_mpp: bool,
    pipeline: str,
    mpps: str,
    seeds: int,
    split: str,
    device: str,
    out: Path,
    more: tuple[str, ...],
) -> None:
    """Train at several resolutions and draw accuracy against cost.

    Options of wsi train follow after --: wsi study resolution ... -- --epochs 10. Run the same
    command again to continue; what is finished is not repeated. Each training and scoring runs in
    its own process, so that its peak memory can be measured.
    """
    from wsi.evaluation.study import read_cell, resolutions, write_study

    if taken := sorted(set(more) & set(_OURS)):
        raise ConfigError(f"{taken[0]} is not for --: the study sets it or does not support it")
    asked = _Study(
        table=table,
        root=root,
        pipeline=pipeline,
        split=split,
        out=out,
        device=device,
        more=more,
        slides=_content_of(table, root),
        force=("--force-mpp",) if force_mpp else (),
    )
    rows = _rows(asked)
    grid = [(mpp, seed) for mpp in _numbers(mpps) for seed in range(seeds)]
    failed = []
    for number, (mpp, seed) in enumerate(grid, start=1):
        what = f"{mpp:g} um/px, seed {seed} ({number} of {len(grid)})"
        try:
            problem = _run_cell(asked, rows, mpp, seed, what)
        except _StudyStopped:
            click.echo("wsi: stopped; run the same command to continue", err=True)
            sys.exit(143)
        if problem:
            click.echo(f"wsi: {what}: {problem}", err=True)
            failed.append(f"{what}: {problem}")
    read = [read_cell(_folder(asked, mpp, seed)) for mpp, seed in grid]
    cells = [cell for cell in read if cell]
    if not cells:
        raise DatasetError(f"{out}: no cell has finished")
    found = resolutions(cells)
    for one in found:
        click.echo(f"{one.mpp:g} um/px: AUC {one.auc}, training {one.seconds:.0f} s")
    notes = [
        f"{pipeline}, {table.name}, evaluated on {split}; options: {' '.join(more) or 'none'}."
    ]
    notes += [f"Failed: {one}." for one in failed]
    click.echo(str(write_study(out, f"Resolution study of {pipeline}", found, notes)))
    if failed:
        sys.exit(2)


def _content_of(table: Path, root: Path | None) -> str:
    """Names the content of every slide of the table: a replaced one makes another study."""
    from wsi.datasets.table import read_entries
    from wsi.errors import SlideError
    from wsi.slides.identity import slide_digest

    whole = hashlib.sha256()
    for entry in read_entries(table):
        try:
            digest = slide_digest((root or table.parent) / entry.path)
        except SlideError:  # a training will say what is wrong with it
            digest = ""
        whole.update(f"{entry.path}\t{digest}\n".encode())
    return whole.hexdigest()


def _numbers(text: str) -> list[float]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise ConfigError(f"--mpp takes numbers such as 2,4,8: {text}") from None
    if min(found) <= 0:
        raise ConfigError(f"--mpp must be positive: {text}")
    return found


def _rows(asked: _Study) -> "list[Row]":
    """The slides to judge by; checked before hours of training."""
    from wsi.data.tables import read_table
    from wsi.datasets.table import read_entries

    entries = read_entries(asked.table)
    classes = sorted({entry.label for entry in entries if entry.label})
    read = read_table(asked.table, classes, root=asked.root, needs_label=False)
    rows = of_split(read, asked.split, asked.table)
    if bare := next((row for row in rows if row.label is None), None):
        raise DatasetError(f"{asked.table}: {bare.path} has no label to evaluate against")
    if len({row.label for row in rows}) < 2:
        raise DatasetError(f"{asked.table}: all slides of the split {asked.split} are of one class")
    return rows


def _folder(asked: _Study, mpp: float, seed: int) -> Path:
    return asked.out / "cells" / f"{mpp:g}um-seed{seed}"


def _run_cell(asked: _Study, rows: "Sequence[Row]", mpp: float, seed: int, what: str) -> str:
    """Train and score one cell unless it is finished; what went wrong, or nothing."""
    from wsi.evaluation.study import read_cell
    from wsi.models.card import CARD_FILE

    folder = _folder(asked, mpp, seed)
    _same_question(folder, asked.identity())
    if read_cell(folder):
        click.echo(f"{what}: finished before")
        return ""
    model, results = folder / f"{asked.pipeline}-{folder.name}", folder / "results"
    common = ["--table", str(asked.table), "--device", asked.device]
    common += ["--root", str(asked.root)] if asked.root else []
    common += asked.force
    if not (model / CARD_FILE).is_file():
        click.echo(f"{what}: training")
        train = ["train", asked.pipeline, *common, "--mpp", f"{mpp:g}", "--seed", str(seed)]
        if not _wsi([*train, "--out", str(model), "--resume", *asked.more]):
            return "the training failed"
    click.echo(f"{what}: scoring")
    score = ["analyze", *common, "--split", asked.split, "--pipeline", asked.pipeline]
    all_scored = _wsi([*score, "--model", str(model), "--out", str(results)])
    return _collect(asked, rows, mpp, seed, model, results, all_scored)


def _same_question(folder: Path, identity: dict[str, Any]) -> None:
    from wsi.files import write_text

    path = folder / _ASKED
    if path.is_file() and json.loads(path.read_text()) != identity:
        raise ConfigError(
            f"{folder}: made with another table, split or options, or other slides; "
            "give another --out"
        )
    write_text(path, json.dumps(identity, indent=1) + "\n")


def _wsi(arguments: Sequence[str]) -> bool:
    """Run a command of ours in a process of its own; whether it succeeded."""
    process: subprocess.Popen[bytes] | None = None
    asked = False

    # A study that is told to stop passes it on: a training then writes its checkpoint.
    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        if process is not None:
            process.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        process = subprocess.Popen([sys.executable, "-m", "wsi", *arguments])
        if asked:  # while it was being started
            process.terminate()
        code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    if code in _STOPPED:
        raise _StudyStopped
    return code == 0


def _collect(
    asked: _Study,
    rows: "Sequence[Row]",
    mpp: float,
    seed: int,
    model: Path,
    results: Path,
    all_scored: bool,
) -> str:
    """Write the finished cell; what went wrong, or nothing."""
    from wsi.data.tables import read_table
    from wsi.evaluation.costs import scoring_cost
    from wsi.evaluation.result_set import read_results
    from wsi.evaluation.study import Cell, write_cell
    from wsi.models.aggregators import slide_classes
    from wsi.models.card import read_card
    from wsi.slide_names import slide_stem

    card = read_card(model)
    classes = slide_classes(card.classes)
    labelled = {
        row.path: row.label
        for row in read_table(asked.table, classes, root=asked.root, needs_label=False)
        if row.split == asked.split
    }
    try:
        read = read_results(results, asked.pipeline)
    except DatasetError as error:
        return f"nothing was scored: {error}"
    done = [row for row in rows if _is_scored(read, row)]
    if not done:
        return "no slide was scored"
    names = [slide_stem(row.path) for row in done]
    cost = scoring_cost(read, names)
    write_cell(
        model.parent,
        Cell(
            mpp=mpp,
            seed=seed,
            classes=classes,
            names=tuple(names),
            patients=tuple(row.patient for row in done),
            labels=tuple(classes[labelled[row.path] or 0] for row in done),
            probabilities_nk=tuple(
                tuple(read.results[name].data["probabilities"][k] for k in classes)
                for name in names
            ),
            training=card.training["cost"],
            scoring={
                "seconds_median": cost.seconds_median,
                "peak_host_bytes": cost.peak_host_bytes or 0,
                **({"peak_device_bytes": cost.peak_device_bytes} if cost.peak_device_bytes else {}),
            },
        ),
    )
    if not all_scored or len(done) < len(rows):
        click.echo(f"wsi: {len(rows) - len(done)} of {len(rows)} slides have no score", err=True)
    return ""


def _is_scored(read: Any, row: "Row") -> bool:
    from wsi.slide_names import slide_stem

    result = read.results.get(slide_stem(row.path))
    return bool(result and result.scored)
