"""Services that integration tests need: present, or the test is skipped; in CI it fails."""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

POSTGRES = os.environ.get("WSI_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
REDIS = os.environ.get("WSI_TEST_REDIS", "redis://127.0.0.1:6379/0")
RABBITMQ = os.environ.get("WSI_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")


def need_service(name: str, url: str) -> None:
    """Skip the calling test where nothing listens at ``url``; with CI=true, fail it."""
    parsed = sa.make_url(url)
    try:
        socket.create_connection((parsed.host or "", parsed.port or 0), timeout=3).close()
    except OSError as error:
        text = f"{name} does not listen on {parsed.host}:{parsed.port} ({error})"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)


@contextmanager
def postgres_url() -> Iterator[str]:
    """A PostgreSQL URL whose tables live in a schema of their own, dropped afterwards."""
    need_service("PostgreSQL", POSTGRES)
    schema = f"wsi_{uuid.uuid4().hex}"
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    try:
        yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()
