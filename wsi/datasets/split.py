"""Splits of a dataset table: groups stay whole, strata keep their shares.

scikit-learn's StratifiedGroupKFold makes folds of equal size. The same greedy rule serves for
unequal ones: the largest groups first, each to the split that it brings nearest to what is wanted.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ConfigError, DatasetError
from wsi.files import write_text
from wsi.identifiers import identifiers_of
from wsi.tables import need_columns, read_lines

NAMES = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """What is asked.

    Attributes:
        by: column whose groups stay whole: ``patient``, ``site``.
        stratify: columns whose combined values shall have the same shares in every split.
        fractions: of train, val and test; the last may be left out.
        seed: of the order among groups of one size.
    """

    by: str = "patient"
    stratify: tuple[str, ...] = ()
    fractions: tuple[float, ...] = (0.7, 0.15, 0.15)
    seed: int = 0

    def __post_init__(self) -> None:
        sums_up = abs(sum(self.fractions) - 1) < 1e-6
        if not 2 <= len(self.fractions) <= 3 or min(self.fractions) <= 0 or not sums_up:
            raise ConfigError(
                f"fractions of train, val and test must be positive and add up to 1, got "
                f"{', '.join(f'{f:g}' for f in self.fractions)}"
            )


def split_lines(lines: Sequence[Mapping[str, str]], spec: SplitSpec, source: str) -> list[str]:
    """The split of each line.

    Lines of one patient stay together even where groups are sites, and lines of one file always.

    Raises:
        DatasetError: a column is missing or a cell of ``by`` empty, or there are fewer groups than
            splits.
    """
    need_columns([dict(lines[0])], [spec.by, *spec.stratify], source)
    for number, line in enumerate(lines, start=2):
        if not line[spec.by].strip():
            raise DatasetError(f"{source}, line {number}: {spec.by} is empty")
    together = [name for name in ("path", "file", "slide") if name in lines[0]]
    columns = [[line[name].strip() for line in lines] for name in together]
    for name in dict.fromkeys((spec.by, "patient")):
        if name in lines[0] and (found := identifiers_of(lines, name, source)):
            columns.append(found)
    group_n = _groups(columns)
    strata = ["\t".join(line[name] for name in spec.stratify) for line in lines]
    if (count := int(group_n.max()) + 1) < len(spec.fractions):
        raise DatasetError(
            f"{source}: {count} group(s) by {spec.by} cannot fill {len(spec.fractions)} splits"
        )
    _, stratum_n = np.unique(strata, return_inverse=True)
    chosen_g = assign(group_n, stratum_n, spec.fractions, spec.seed)
    return [NAMES[index] for index in chosen_g[group_n]]


def _groups(columns: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """(N,) a number for each set of lines that share a value in any of the columns."""
    parent = list(range(len(columns[0])))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for values in columns:
        first: dict[str, int] = {}
        for index, value in enumerate(values):
            if value:
                parent[root(index)] = root(first.setdefault(value, index))
    roots = [root(index) for index in range(len(parent))]
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def assign(
    group_n: NDArray[np.int64],
    stratum_n: NDArray[np.int64],
    fractions: Sequence[float],
    seed: int,
) -> NDArray[np.int64]:
    """(G,) the split of each group.

    Args:
        group_n, stratum_n: (N,) of each line.
        fractions: wanted share of each split.
        seed: of the order among groups that are alike.
    """
    shape = int(group_n.max()) + 1, int(stratum_n.max()) + 1
    counts_gs = np.zeros(shape)
    np.add.at(counts_gs, (group_n, stratum_n), 1)
    total_s = counts_gs.sum(0)
    wanted_fs = np.outer(fractions, total_s)
    held_fs = np.zeros_like(wanted_fs)
    order = np.random.default_rng(seed).permutation(shape[0])
    # The largest first: late on, only small ones are left to even things out.
    order = order[np.argsort(-counts_gs[order].max(1), kind="stable")]
    chosen = np.zeros(shape[0], np.int64)
    for place, group in enumerate(order):
        empty = np.flatnonzero(held_fs.sum(1) == 0)
        # As many groups left as empty splits: each of these gets one.
        options = empty if len(order) - place <= len(empty) else np.arange(len(fractions))
        after_ofs = held_fs + (np.eye(len(fractions))[:, :, None] * counts_gs[group])
        # Each stratum weighs alike, however rare it is; so does the size of the splits.
        gap_ofs = ((after_ofs - wanted_fs) / total_s) ** 2 / np.array(fractions)[:, None]
        size_of = (after_ofs - wanted_fs).sum(2) / total_s.sum()
        cost = gap_ofs.mean(2).sum(1) + (size_of**2 / np.array(fractions)).sum(1)
        best = options[int(np.argmin(cost[options]))]
        chosen[group] = best
        held_fs[best] += counts_gs[group]
    return chosen


def split_table(table: Path, spec: SplitSpec, out: Path) -> dict[str, dict[str, int]]:
    """Write the table with a fresh column ``split``.

    Returns:
        Stratum to the number of its lines in each split.

    Raises:
        DatasetError: see ``split_lines``; or the file cannot be written.
    """
    lines = read_lines(table)
    splits = split_lines(lines, spec, str(table))
    text = io.StringIO()
    header = [name for name in lines[0] if name != "split"]
    writer = csv.DictWriter(text, [*header, "split"], lineterminator="\n")
    writer.writeheader()
    told: dict[str, dict[str, int]] = {}
    for line, split in zip(lines, splits, strict=True):
        writer.writerow({**line, "split": split})
        stratum = ", ".join(line[name] for name in spec.stratify) or "all"
        counts = told.setdefault(stratum, dict.fromkeys(NAMES[: len(spec.fractions)], 0))
        counts[split] += 1
    write_text(out, text.getvalue())
    return dict(sorted(told.items()))
