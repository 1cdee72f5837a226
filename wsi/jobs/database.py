"""Engines for SQLite (WAL) and PostgreSQL that behave alike where jobs need it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import InterfaceError, OperationalError

from wsi.errors import ConfigError, JobStoreUnavailableError

_BUSY_MS = 30_000


def default_url(data_dir: Path) -> str:
    """The embedded default: one SQLite file under the data folder."""
    return f"sqlite:///{data_dir.absolute() / 'wholeslide.db'}"


def create_engine(url: str) -> sa.Engine:
    """An engine for ``sqlite:///file`` or ``postgresql+psycopg://...``.

    Raises:
        ConfigError: the URL names another database, or one that lives in memory only.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigError("the database must be a file: sqlite:////path/to/wholeslide.db")
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() == "postgresql":
        # pre_ping: a server that was stopped and started again costs one reconnect, no error.
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10},
        )
    raise ConfigError(f"the database must be SQLite or PostgreSQL, not {parsed.drivername}")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that only reads."""
    with _reachable(), engine.begin() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes.

    On SQLite it takes the write lock at its start: a read that later wants to write is refused at
    once when another writer came between, whatever the busy timeout.
    """
    with _reachable(), engine.execution_options(wsi_write=True).begin() as connection:
        yield connection


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise JobStoreUnavailableError(f"the database did not answer: {error.orig}") from error


def _set_up_sqlite(connection: Any, record: object) -> None:
    # The driver's own transaction control is off; the "begin" event says BEGIN instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Milliseconds to wait for the lock; first, since switching to WAL may have to wait as well.
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: what was committed survives a power cut as well, not only a killed process.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("wsi_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
