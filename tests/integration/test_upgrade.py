"""Databases of every earlier version, with rows in every table, come to the present one whole."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

import service.migrations
from service.database import migrate
from service.migrations.versions import v0013_standard_names
from service.slides.repository import SlideRepository
from tests.integration.services import postgres_url
from wsi.jobs import SqlJobStore, create_engine

Rows = dict[str, dict[str, Any]]

VALUES: dict[str, Any] = {"status": "QUEUED", "role": "ADMIN", "queue": "cpu"}
"""Columns whose values code reads as words of its own."""

RENAMED = {(table, before): after for table, before, after in v0013_standard_names.RENAMED}


def revisions() -> list[str]:
    """Every revision but the present one, oldest first."""
    config = Config()
    config.set_main_option("script_location", next(iter(service.migrations.__path__)))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    return [script.revision for script in scripts.walk_revisions()][::-1][:-1]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def engine(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
        yield made
        made.dispose()
        return
    with postgres_url() as url:
        made = create_engine(url)
        yield made
        made.dispose()


def tables_of(engine: sa.Engine) -> list[sa.Table]:
    """The tables there are, parents before children."""
    found = sa.MetaData()
    found.reflect(engine)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def value_for(column: sa.Column[Any], rows: Rows) -> Any:
    """A value that fits a column, and that differs from what a default would be."""
    for key in column.foreign_keys:
        return rows[key.column.table.name][key.column.name]
    kind = column.type
    if column.name in VALUES and isinstance(kind, sa.String):
        return VALUES[column.name]
    if isinstance(kind, sa.JSON):
        return {"made by": "the test"}
    if isinstance(kind, sa.DateTime):
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(kind, sa.Float):
        return 0.25
    if isinstance(kind, sa.Integer):
        return 7
    if isinstance(kind, sa.String):
        return f"{column.table.name} {column.name}"[: kind.length or 100]
    raise AssertionError(f"give this test a value for {column} ({kind!r})")


def fill(engine: sa.Engine) -> Rows:
    """A row in every table; returns them by table."""
    rows: Rows = {}
    with engine.execution_options(wsi_write=True).begin() as connection:
        for table in tables_of(engine):
            rows[table.name] = {column.name: value_for(column, rows) for column in table.columns}
            connection.execute(sa.insert(table).values(**rows[table.name]))
    return rows


def plain(value: Any) -> Any:
    """SQLite knows no time zones."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


@pytest.mark.parametrize("revision", revisions())
def test_every_row_of_an_earlier_version_is_there_after_the_upgrade(
    engine: sa.Engine, revision: str
) -> None:
    migrate(engine, revision)
    rows = fill(engine)
    assert {"slides", "jobs", "job_outbox"} <= set(rows)
    migrate(engine)
    now = {table.name: table for table in tables_of(engine)}
    with engine.connect() as connection:
        for name, before in rows.items():
            (after,) = connection.execute(sa.select(now[name])).mappings()
            for column, value in before.items():
                now_called = RENAMED.get((name, column), column)
                assert plain(after[now_called]) == plain(value), f"{name}.{column}"
    # The present code reads them, with what came in since.
    job = SqlJobStore(engine).get(rows["jobs"]["id"])
    assert (job.request.queue, job.request.slide_path) == ("cpu", "jobs slide_path")
    slide = SlideRepository(engine).get(rows["slides"]["id"])
    assert slide.given_mpp == 0.25
    claimed = SqlJobStore(engine).claim("w", lease_s=60)
    assert claimed is not None
    assert claimed.id == job.id
