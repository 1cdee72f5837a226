"""What watchers of jobs are shown."""

from collections.abc import Sequence

import sqlalchemy as sa

from service.jobs.schemas import JobOut, job_out
from wsi.jobs.database import reading
from wsi.jobs.sql_store import job_from_row
from wsi.jobs.tables import jobs


def read_jobs(engine: sa.Engine, ids: Sequence[str]) -> dict[str, tuple[JobOut, bool]]:
    """Each job that exists, and whether it has ended."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(jobs).where(jobs.c.id.in_(ids)))
        found = [job_from_row(row) for row in rows]
    return {job.id: (job_out(job), job.status.is_final) for job in found}
