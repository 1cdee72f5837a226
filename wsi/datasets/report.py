"""The report of a dataset: ``dataset.html``, ``dataset.json``, ``label_issues.csv``."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsi.datasets.counts import Counts, Crossing
from wsi.datasets.coverage import Coverage
from wsi.datasets.noise import LabelNoise
from wsi.datasets.table import Problem
from wsi.evaluation.page import heading, page, paragraph, table
from wsi.evaluation.report import NOTICE
from wsi.files import write_text

_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """Everything that was found.

    Attributes:
        source: the table.
        counts: in numbers.
        problems: errors first.
        coverage: ``None`` where no line names annotations.
        noise: by each source that was given.
    """

    source: str
    counts: Counts
    problems: tuple[Problem, ...]
    coverage: Coverage | None
    noise: tuple[LabelNoise, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What must be mended before a training means anything."""
        return tuple(one for one in self.problems if one.severity == "error")


def write_report(folder: Path, report: DatasetReport) -> Path:
    """Write the report.

    Returns:
        The page.

    Raises:
        DatasetError: a file cannot be written.
    """
    write_text(folder / "dataset.json", json.dumps(_json(report), indent=1) + "\n")
    if report.noise:
        write_text(folder / "label_issues.csv", _issues_csv(report.noise))
    parts = [
        paragraph(_summary(report)),
        _problems(report.problems),
        heading("Classes"),
        _crossing("Lines by class and split", report.counts.by_split),
        _crossing("Patients by class and split", report.counts.patients_by_split),
        table(
            "Lines a patient",
            ["lines", "patients"],
            list(report.counts.lines_per_patient.items()),
        ),
        *_sites(report.counts),
        *([] if report.coverage is None else _coverage(report.coverage)),
        *(part for noise in report.noise for part in _noise(noise)),
    ]
    written = folder / "dataset.html"
    write_text(written, page(f"Dataset {report.source}", parts))
    return written


def _summary(report: DatasetReport) -> str:
    counts, errors = report.counts, len(report.errors)
    return (
        f"{counts.entries} lines of {counts.patients} patients. {errors} error(s), "
        f"{len(report.problems) - errors} warning(s)."
    )


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return paragraph("No problems were found.")
    rows = [[one.severity, one.message] for one in problems]
    return table("Problems", ["", "what"], rows)


def _crossing(caption: str, crossing: Crossing) -> str:
    rows = [
        [name, *line, sum(line)] for name, line in zip(crossing.rows, crossing.counts, strict=True)
    ]
    return table(caption, ["", *crossing.columns, "all"], rows)


def _sites(counts: Counts) -> list[str]:
    if counts.by_site is None or counts.site_splits is None:
        return [paragraph("The table names no sites.")]
    known = counts.site_association
    return [
        heading("Sites"),
        _crossing("Lines by class and site", counts.by_site),
        _crossing("Lines by split and site", counts.site_splits),
        paragraph(
            "Association of site and class (Cramér's V, 0 none, 1 complete): "
            + (f"{known:.3f}." if known is not None else "not defined with one of either.")
        ),
    ]


def _coverage(coverage: Coverage) -> list[str]:
    classes = [
        [name, slides, f"{share:.1%}"] for name, (slides, share) in coverage.by_class().items()
    ]
    rows = [
        [
            one.entry.path,
            f"{one.any_share:.1%}",
            f"{one.on_glass:.1%}",
            "; ".join(f"{name} {share:.1%}" for name, share in one.shares.items()),
        ]
        for one in sorted(coverage.slides, key=lambda one: one.any_share)[:_SHOWN]
    ]
    return [
        heading("Annotation coverage"),
        paragraph(
            f"{coverage.annotated} lines name annotations, {coverage.unannotated} do not. Shares "
            "are of the tissue that is found on a slide."
        ),
        table("By class", ["", "slides", "mean share of their tissue"], classes),
        table(
            f"By slide, least annotated first (at most {_SHOWN})",
            ["slide", "annotated", "outside the tissue", "classes"],
            rows,
        ),
    ]


def _noise(noise: LabelNoise) -> list[str]:
    joint = [
        [name, *(f"{share:.1%}" for share in line)]
        for name, line in zip(noise.classes, noise.joint_kk, strict=True)
    ]
    rows = [
        [one.entry.line, one.entry.path, one.entry.label, one.likely,
         f"{one.given_probability:.3f}", f"{one.likely_probability:.3f}"]
        for one in noise.issues[:_SHOWN]
    ]  # fmt: skip
    header = ["line", "slide", "label", "may be", "probability of the label", "of the other"]
    return [
        heading(f"Label noise by {noise.source}"),
        paragraph(
            f"{noise.cases} labels compared, {noise.unmatched} without a match. Estimated share of "
            f"wrong labels: {noise.noise_share:.1%}; {len(noise.issues)} to review."
        ),
        table("Estimated joint: label by row, truth by column", ["", *noise.classes], joint),
        table(f"Review these, worst first (at most {_SHOWN})", header, rows),
    ]


def _json(report: DatasetReport) -> dict[str, Any]:
    coverage = report.coverage
    return {
        "notice": NOTICE,
        "source": report.source,
        "problems": [asdict(one) for one in report.problems],
        "counts": asdict(report.counts),
        "coverage": None
        if coverage is None
        else {
            "annotated": coverage.annotated,
            "unannotated": coverage.unannotated,
            "classes": {
                name: {"slides": slides, "mean_share": share}
                for name, (slides, share) in coverage.by_class().items()
            },
            "slides": [
                {
                    "path": one.entry.path,
                    "shares": one.shares,
                    "any_share": one.any_share,
                    "on_glass": one.on_glass,
                }
                for one in coverage.slides
            ],
        },
        "label_noise": [
            {
                "source": noise.source,
                "classes": noise.classes,
                "cases": noise.cases,
                "unmatched": noise.unmatched,
                "joint": noise.joint_kk.tolist(),
                "noise_share": noise.noise_share,
                "issues": len(noise.issues),
            }
            for noise in report.noise
        ],
    }


def _issues_csv(found: Sequence[LabelNoise]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "line", "path", "label", "likely", "p_label", "p_likely"])
    for noise in found:
        for one in noise.issues:
            values = [f"{one.given_probability:.6f}", f"{one.likely_probability:.6f}"]
            entry = one.entry
            writer.writerow(
                [noise.source, entry.line, entry.path, entry.label, one.likely, *values]
            )
    return text.getvalue()
