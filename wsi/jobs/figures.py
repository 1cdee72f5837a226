"""Sums that workers keep in the database, since it is the API that shows them as metrics."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wsi.jobs.tables import stage_seconds


def add_stage_seconds(
    connection: sa.Connection, pipeline: str, seconds: Mapping[str, float]
) -> None:
    """Count one job of a pipeline in with what each of its stages took."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    # In one order everywhere, so that two workers never wait for each other's rows in a circle.
    for stage, value in sorted(seconds.items()):
        first = insert(stage_seconds).values(
            pipeline=pipeline, stage=stage[:64], jobs=1, seconds=float(value)
        )
        connection.execute(
            first.on_conflict_do_update(
                index_elements=[stage_seconds.c.pipeline, stage_seconds.c.stage],
                set_={
                    "jobs": stage_seconds.c.jobs + 1,
                    "seconds": stage_seconds.c.seconds + first.excluded.seconds,
                },
            )
        )
