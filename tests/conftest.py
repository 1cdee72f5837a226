"""Fixtures that all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import end_survivors, mark_run

_ROOT = Path(__file__).parent.parent


def data_dir() -> Path | None:
    """The folder of real slides, where it is there."""
    folder = Path(os.environ.get("WSI_TEST_DATA", _ROOT / ".." / "shared" / "data")).resolve()
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides; the test is skipped without it."""
    folder = data_dir()
    if folder is None:
        pytest.skip("no real slides here: set WSI_TEST_DATA to their folder")
    return folder


# The slowest first, so that all workers end together.
_FIRST = (
    "tests/integration",
    "tests/notebooks",
    "tests/unit/streaming",
    "tests/unit/training",
    "tests/unit/pipelines",
    "tests/browser",
)


def pytest_configure(config: pytest.Config) -> None:
    mark_run()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        found = (n for n, folder in enumerate(_FIRST) if item.nodeid.startswith(f"{folder}/"))
        return next(found, len(_FIRST))

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    if hasattr(session.config, "workerinput"):
        return  # The controller looks, once all workers have ended.
    if survivors := end_survivors():
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line("")
            reporter.write_line("started by tests and alive after them (killed now):", red=True)
            for line in survivors:
                reporter.write_line(f"  {line}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
