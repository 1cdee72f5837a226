"""Log lines of service and workers, as text or JSON. Each says which request or job it is about.

Secrets do not belong into messages; what looks like one is blotted out here all the same.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from opentelemetry import trace

Format = Literal["text", "json"]

_SECRETS = re.compile(
    # our keys, tokens of providers, passwords in addresses
    r"wsk_[\w-]{8,}|eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
# Of the process and not of a thread: a worker process has one job, and all its threads work on it.
_job_id: str | None = None


@contextmanager
def about_request(request_id: str) -> Iterator[None]:
    """What is logged within is about this request."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


@contextmanager
def about_job(job_id: str) -> Iterator[None]:
    """What this process logs within is about this job. For workers: one job at a time."""
    global _job_id
    before, _job_id = _job_id, job_id
    try:
        yield
    finally:
        _job_id = before


def set_up_logging(level: str, format: Format) -> None:
    """Log to stderr, instead of what was set up before."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


class TextLines(logging.Formatter):
    """``time level process logger [request ...] [job ...]: message``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(process)d %(name)s%(about)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        about = _about(record)
        record.about = "".join(f" [{kind} {value}]" for kind, value in about.items() if value)
        return without_secrets(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object a line; ``request_id`` and ``job_id`` are always there, null or not."""

    def format(self, record: logging.LogRecord) -> str:
        about = _about(record)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            "request_id": about["request"],
            "job_id": about["job"],
            "trace_id": about["trace"],
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return without_secrets(json.dumps(line, ensure_ascii=False))


def without_secrets(text: str) -> str:
    """The text with what looks like a key, a token or a password blotted out."""
    return _SECRETS.sub("[secret]", text)


def _about(record: logging.LogRecord) -> dict[str, str | None]:
    """Ids of the request, job and trace; a record may name its own by ``extra``."""
    span = trace.get_current_span().get_span_context()
    return {
        "request": getattr(record, "request_id", None) or _request_id.get(),
        "job": getattr(record, "job_id", None) or _job_id,
        "trace": trace.format_trace_id(span.trace_id) if span.is_valid else None,
    }
