"""The terminal's side of the command line: progress, tables, errors in one line."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from wsi.errors import WsiError
from wsi.identifiers import DatasetWarning
from wsi.progress import no_progress

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN_EVERY_S = 5.0


def errors_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """An error of ours, or of a file, becomes one line on stderr and exit code 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _warnings_in_one_line():
                return command(*args, **kwargs)
        except WsiError as error:
            click.echo(f"wsi: {error}", err=True)
        except OSError as error:
            if error.filename is None:  # of no file that the user could have named
                raise
            click.echo(f"wsi: {error.filename}: {error.strerror}", err=True)
        sys.exit(2)

    return run


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Our own warnings of a table become one line on stderr; others go their usual way."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, DatasetWarning):
            click.echo(f"wsi: warning: {message}", err=True)
        else:
            usual(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DatasetWarning)
        warnings.showwarning = show
        yield


def is_main_process() -> bool:
    """Whether this process speaks for those that torchrun started together."""
    return os.environ.get("RANK", "0") == "0"


def quiet_libraries() -> None:
    """What a library logs about a bad file, our own error says better."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal, a plain line every few seconds when piped; goes to stderr.

    Yields:
        a ``wsi.progress.Progress``.
    """
    if not is_main_process():
        yield no_progress
        return
    if not sys.stderr.isatty():
        yield _plain(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(f"{title}: {stage}", total=1.0)
            bar.update(tasks[stage], completed=share)

        yield tell


def _plain(title: str) -> Callable[[str, float], None]:
    last: dict[str, Any] = {"stage": None, "time": 0.0}

    def tell(stage: str, share: float) -> None:
        now = time.monotonic()
        if stage != last["stage"] or now - last["time"] > _PLAIN_EVERY_S:
            last.update(stage=stage, time=now)
            click.echo(f"{title}: {stage} {share:.0%}", err=True)

    return tell


def print_pairs(pairs: dict[str, Any]) -> None:
    """Names and values in two columns."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        click.echo(f"{name:<{width}}  {value}")


def in_words(figures: Mapping[str, float | None], digits: int = 4) -> str:
    """Named figures in one line; ``unknown`` where there is none."""
    return ", ".join(
        f"{name} unknown" if value is None else f"{name} {value:.{digits}f}"
        for name, value in figures.items()
    )
