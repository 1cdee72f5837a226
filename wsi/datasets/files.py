"""The files that a dataset table names: missing, twice, unreadable, without a resolution."""

import hashlib
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from wsi.datasets.table import Entry, Problem, few
from wsi.errors import MppError, SlideError
from wsi.progress import Progress, no_progress
from wsi.slides import open_slide, require_mpp


def check_files(
    entries: Sequence[Entry],
    root: Path,
    *,
    images: bool = False,
    progress: Progress = no_progress,
) -> list[Problem]:
    """What is wrong with the files.

    Files are the same if their bytes are: only those of one size are read.

    Args:
        entries: of the table.
        root: folder, or zip of ready patches, that paths are relative to.
        images: the files are ready patches: they are not opened as slides, and two that are alike
            only warn, as two patches of bare glass may be.
        progress: told about each file.
    """
    rows = [entry for entry in entries if entry.path]
    inside = zipfile.ZipFile(root) if images and zipfile.is_zipfile(root) else None
    try:
        sizes = _sizes(rows, root, inside)
        missing = [row.path for row in rows if row.path not in sizes]
        problems = []
        if missing:
            message = (
                f"{len(missing)} of {len(rows)} files are missing under {root}: {few(missing)}"
            )
            problems.append(Problem(severity="error", kind="file_missing", message=message))
        there = [row for row in rows if row.path in sizes]
        problems += _same_path(there)
        problems += _same_bytes(there, sizes, root, inside, images)
    finally:
        if inside:
            inside.close()
    if not images:
        problems += _same_names(rows)
        problems += _unreadable(there, root, progress)
    return problems


def _sizes(rows: Sequence[Entry], root: Path, inside: zipfile.ZipFile | None) -> dict[str, int]:
    """Bytes of each file that is there; 0 for a folder, which is not compared."""
    if inside:
        known = {info.filename: info.file_size for info in inside.infolist()}
        return {row.path: known[row.path] for row in rows if row.path in known}
    found = {}
    for row in rows:
        path = root / row.path
        if path.is_file():
            found[row.path] = path.stat().st_size
        elif path.is_dir():
            found[row.path] = 0
    return found


def _same_path(rows: Sequence[Entry]) -> list[Problem]:
    lines: dict[str, list[Entry]] = defaultdict(list)
    for row in rows:
        lines[row.path].append(row)
    return [
        _twice("one file in several lines", path, found, images=False)
        for path, found in lines.items()
        if len(found) > 1
    ]


def _same_names(rows: Sequence[Entry]) -> list[Problem]:
    """Slides of one name in different folders: likely copies, and results tell them not apart."""
    names: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        names[row.name].add(row.path)
    twice = sorted(name for name, paths in names.items() if len(paths) > 1)
    if not twice:
        return []
    message = (
        f"{len(twice)} slide name(s) occur at several paths: {few(twice)}; results are stored "
        "by name, and copies of a slide must not be in two splits"
    )
    return [Problem(severity="warning", kind="same_name", message=message)]


def _same_bytes(
    rows: Sequence[Entry],
    sizes: dict[str, int],
    root: Path,
    inside: zipfile.ZipFile | None,
    images: bool,
) -> list[Problem]:
    of_size: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        of_size[sizes[row.path]].add(row.path)
    digests: dict[str, set[str]] = defaultdict(set)
    for size, paths in of_size.items():
        if size and len(paths) > 1:
            for path in sorted(paths):
                digests[_digest(path, root, inside)].add(path)
    alike = {path: key for key, paths in digests.items() if len(paths) > 1 for path in paths}
    copies: dict[str, list[Entry]] = defaultdict(list)
    for row in rows:
        if row.path in alike:
            copies[alike[row.path]].append(row)
    found = [
        _twice("the same file under several names", few([r.path for r in lines]), lines, images)
        for lines in copies.values()
    ]
    if images and len(found) > 1:  # a line a pair of white patches would bury the rest
        across = sum("different splits" in one.message for one in found)
        message = f"{len(found)} patches occur under several names, {across} in different splits"
        return [Problem(severity="warning", kind="same_file", message=message)]
    return found


def _twice(what: str, which: str, rows: Sequence[Entry], images: bool) -> Problem:
    reasons = []
    if len({row.split for row in rows}) > 1:
        reasons.append(f"in different splits ({', '.join(sorted({row.split for row in rows}))})")
    if len({row.label for row in rows}) > 1:
        reasons.append(f"with different labels ({', '.join(sorted({row.label for row in rows}))})")
    if len({row.patient for row in rows}) > 1:
        reasons.append("of different patients")
    where = few([str(row.line) for row in rows])
    return Problem(
        severity="error" if reasons and not images else "warning",
        kind="same_file",
        message=f"{what}: {which} (lines {where})" + (f", {', '.join(reasons)}" if reasons else ""),
    )


def _digest(path: str, root: Path, inside: zipfile.ZipFile | None) -> str:
    if inside:
        return hashlib.sha256(inside.read(path)).hexdigest()
    with (root / path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(rows: Sequence[Entry], root: Path, progress: Progress) -> list[Problem]:
    """Slides that do not open, or state no usable resolution where the table gives none."""
    torn, bare = [], []
    for number, row in enumerate(rows):
        try:
            with open_slide(root / row.path, mpp=row.given_mpp) as slide:
                require_mpp(slide)
        except MppError as error:
            bare.append(f"{row.path} ({error.reason.split(';')[0]})")
        except SlideError as error:
            torn.append(f"{row.path} ({error.reason})")
        progress("opening slides", (number + 1) / len(rows))
    problems = []
    if torn:
        message = f"{len(torn)} slide(s) cannot be read: {few(torn)}"
        problems.append(Problem(severity="error", kind="unreadable", message=message))
    if bare:
        message = (
            f"{len(bare)} slide(s) without a usable resolution: {few(bare)}; give it in a column "
            "mpp"
        )
        problems.append(Problem(severity="error", kind="no_mpp", message=message))
    return problems
