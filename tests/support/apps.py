"""Services in this process, without the time that routes and migrations take each time."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from fastapi import FastAPI

from service.app import create_app
from service.database import migrate
from service.settings import Settings
from wsi.jobs import create_engine, default_url


def app_for(settings: Settings) -> FastAPI:
    """``create_app(settings)``, on a new SQLite database that is migrated already.

    Apps with the same routes and limits are one app: only the last one asked for may be started.
    """
    database = settings.data_dir / "wholeslide.db"
    if not settings.database_url and not database.exists():
        database.parent.mkdir(parents=True, exist_ok=True)
        database.write_bytes(migrated_database())
    app = _app(settings.auth, settings.max_body_bytes)
    app.state.settings = settings
    return app


@cache
def migrated_database() -> bytes:
    """An SQLite file with this version's empty tables."""
    folder = Path(tempfile.mkdtemp())
    try:
        engine = create_engine(default_url(folder))
        migrate(engine)
        engine.dispose()
        return (folder / "wholeslide.db").read_bytes()
    finally:
        shutil.rmtree(folder)


@cache
def _app(auth: str, max_body_bytes: int) -> FastAPI:
    return create_app(Settings(auth=auth, max_body_bytes=max_body_bytes))
