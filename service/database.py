"""Bringing the database to the schema of this version."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from wsi.jobs.database import writing

# Any number; PostgreSQL keys its advisory locks by it. Two services that start at once queue up.
_MIGRATION_LOCK = 7_350_114


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Run the migrations that this database has not seen, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
