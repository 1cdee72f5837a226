"""``wsi dataset``: training data looked at, and split, before anything is trained."""

import sys
from pathlib import Path

import click

from wsi.cli.console import errors_in_one_line, progress_bar
from wsi.cli.options import PATH, out_option, root_option, seed_option, table_option
from wsi.errors import ConfigError

_TOLD = 20


@click.group()
def dataset() -> None:
    """Check training data before training, and split it."""


@dataset.command("report")
@table_option("CSV: path, label, patient, split; site, annotations, mpp where there are any.")
@root_option
@click.option(
    "--images", type=PATH, help="Folder or zip of the ready patches that the table names."
)
@click.option("--site", default="site", show_default=True, help="Column of site or scanner.")
@click.option(
    "--scores",
    type=PATH,
    multiple=True,
    help="Cross-validated predictions (name, p_CLASS): to list labels they contradict.",
)
@click.option(
    "--ratings",
    type=PATH,
    multiple=True,
    help="Ratings (slide, rater, label): to list labels that the raters contradict.",
)
@out_option()
@click.option("--strict", is_flag=True, help="Exit with 2 if there are errors.")
@errors_in_one_line
def dataset_report(
    table: Path,
    root: Path | None,
    images: Path | None,
    site: str,
    scores: tuple[Path, ...],
    ratings: tuple[Path, ...],
    out: Path,
    strict: bool,
) -> None:
    """Balance, leakage, missing and duplicate files, annotation coverage, label noise."""
    from wsi.data.raters import read_ratings
    from wsi.datasets.counts import check_counts, count
    from wsi.datasets.coverage import measure_coverage
    from wsi.datasets.files import check_files
    from wsi.datasets.noise import noise_by_ratings, noise_by_scores
    from wsi.datasets.report import DatasetReport, write_report
    from wsi.datasets.table import read_entries

    if images and root:
        raise ConfigError("give --root for slides or --images for ready patches, not both")
    entries = read_entries(table, site=site)
    folder = images or root or table.parent
    counts = count(entries)
    problems = check_counts(entries, counts)
    classes = [name for name in counts.by_split.rows if not name.startswith("(")]
    with progress_bar(table.name) as tell:
        problems += check_files(entries, folder, images=images is not None, progress=tell)
        coverage = None
        if any(entry.annotations for entry in entries):
            coverage = measure_coverage(entries, folder, progress=tell)
            problems += coverage.problems
    noise = [noise_by_scores(entries, path) for path in scores]
    noise += [noise_by_ratings(entries, read_ratings(path, classes)) for path in ratings]
    report = DatasetReport(
        source=table.name,
        counts=counts,
        problems=tuple(sorted(problems, key=lambda one: one.severity != "error")),
        coverage=coverage,
        noise=tuple(noise),
    )
    written = write_report(out, report)
    click.echo(f"{counts.entries} lines, {counts.patients} patients")
    for problem in report.problems[:_TOLD]:
        click.echo(f"{problem.severity}: {problem.message}", err=True)
    for one in report.noise:
        click.echo(f"{one.source}: {len(one.issues)} of {one.cases} labels to review")
    click.echo(str(written))
    if strict and report.errors:
        sys.exit(2)


@dataset.command("split")
@table_option("CSV; an existing column split is replaced.")
@click.option("--by", default="patient", show_default=True, help="Column that stays whole.")
@click.option("--stratify", default="", help="Columns to keep in proportion, such as label,site.")
@click.option(
    "--fractions", default="0.7,0.15,0.15", show_default=True, help="Shares of train,val,test."
)
@seed_option
@out_option("CSV to write.")
@errors_in_one_line
def dataset_split(
    table: Path, by: str, stratify: str, fractions: str, seed: int, out: Path
) -> None:
    """Write TABLE with a new column split; no patient and no file is in two splits."""
    from wsi.datasets.split import SplitSpec, split_table

    try:
        shares = tuple(float(text) for text in fractions.split(","))
    except ValueError:
        raise ConfigError(f"--fractions takes numbers such as 0.7,0.15,0.15: {fractions}") from None
    columns = tuple(name.strip() for name in stratify.split(",") if name.strip())
    if out.resolve() == table.resolve():
        raise ConfigError(f"{out}: is the table itself; write the new one to another file")
    spec = SplitSpec(by=by, stratify=columns, fractions=shares, seed=seed)
    for stratum, counts in split_table(table, spec, out).items():
        click.echo(f"{stratum}: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
        if columns and not all(counts.values()):
            empty = [name for name, n in counts.items() if not n]
            click.echo(f"wsi: {stratum}: none in {' and '.join(empty)}", err=True)
    click.echo(str(out))
