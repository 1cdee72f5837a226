"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

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
