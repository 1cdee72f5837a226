"""OpenTelemetry traces from request to worker. Off unless the environment names a collector."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from wsi.errors import MissingExtraError

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_KEY = "traceparent"
_w3c = TraceContextTextMapPropagator()


def set_up_tracing(service: str) -> None:
    """Send spans to the collector that ``OTEL_EXPORTER_OTLP_ENDPOINT`` names, if it does.

    Args:
        service: what traces call this process, unless ``OTEL_SERVICE_NAME`` does.

    Raises:
        MissingExtraError: a collector is named, and OpenTelemetry's SDK is not installed.
    """
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtraError("what OTEL_EXPORTER_OTLP_ENDPOINT asks for", "otel") from error
    name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = TracerProvider(resource=Resource.create(name))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def trace_parent() -> str | None:
    """The current span as a W3C ``traceparent``, to be handed on; ``None`` where there is none."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get(_KEY)


@contextmanager
def span(name: str, parent: str | None, **attributes: str | int) -> Iterator[Span]:
    """A span of work that another process asked for.

    Args:
        name: what is done.
        parent: the asker's ``trace_parent``; a broken one starts a trace of its own.
        attributes: what is known of it; nothing that names a patient.
    """
    context = _w3c.extract({_KEY: parent} if parent else {})
    tracer = trace.get_tracer("wholeslide")
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=SpanKind.CONSUMER,
        attributes={key.replace("_", ".", 1): value for key, value in attributes.items()},
    ) as made:
        yield made


def note_failure(kind: str) -> None:
    """Mark the current span as failed."""
    trace.get_current_span().set_status(Status(StatusCode.ERROR, kind))
