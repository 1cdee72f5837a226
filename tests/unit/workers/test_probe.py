"""The health check of a worker looks at what it lives from."""

from pathlib import Path

import pytest

from tests.integration.deployment import free_port
from workers import probe
from wsi.jobs import create_engine, default_url
from wsi.jobs.tables import metadata


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSI_DATA_DIR", str(tmp_path))
    return tmp_path


def prepare(folder: Path) -> None:
    engine = create_engine(default_url(folder))
    metadata.create_all(engine)
    engine.dispose()


def test_a_worker_whose_database_is_not_prepared_is_not_well(data: Path) -> None:
    assert probe.main() == 1


def test_a_worker_that_reaches_its_jobs_is_well(data: Path) -> None:
    prepare(data)
    assert probe.main() == 0


def test_a_worker_whose_broker_is_away_is_not_well(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(data)
    monkeypatch.setenv("WSI_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")
    assert probe.main() == 1
    assert "refused" in capsys.readouterr().err
