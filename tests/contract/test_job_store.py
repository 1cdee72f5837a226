"""Every JobStore keeps the JobStore contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.services import postgres_url
from wsi.jobs import JobStore, SqlJobStore, create_engine
from wsi.jobs.tables import metadata
from wsi.testing.job_store_contract import NOTIFY_AFTER_S, Clock, JobStoreContract
from wsi.testing.jobs import MemoryJobStore


class TestMemoryJobStore(JobStoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> JobStore:
        return MemoryJobStore(clock, notify_after_s=NOTIFY_AFTER_S)


class TestSqliteJobStore(JobStoreContract):
    @pytest.fixture
    def store(self, clock: Clock, tmp_path: Path) -> Iterator[JobStore]:
        engine = create_engine(f"sqlite:///{tmp_path / 'jobs.db'}")
        metadata.create_all(engine)
        yield SqlJobStore(engine, clock, notify_after_s=NOTIFY_AFTER_S)
        engine.dispose()


@pytest.mark.services
class TestPostgresJobStore(JobStoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> Iterator[JobStore]:
        with postgres_url() as url:
            engine = create_engine(url)
            metadata.create_all(engine)
            yield SqlJobStore(engine, clock, notify_after_s=NOTIFY_AFTER_S)
            engine.dispose()
