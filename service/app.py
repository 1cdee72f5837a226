"""The application: ``create_app(settings)``."""

import logging
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, FastAPI

from service.annotations import endpoints as annotations
from service.annotations.repository import AnnotationRepository
from service.auth import endpoints as access
from service.auth import login_page
from service.auth.access import roles_of
from service.auth.authenticator import COOKIE, Authenticator
from service.auth.limits import Limit
from service.auth.oidc import TokenChecker
from service.auth.repository import AuditLog, KeyRepository
from service.batches import endpoints as batches
from service.batches import exports as batch_exports
from service.batches.arrivals import register_next
from service.batches.events import read_batches
from service.batches.repository import BatchRepository
from service.compression import Compression
from service.context import Context
from service.database import migrate
from service.errors import install_error_handlers
from service.events import EventStream
from service.exports import endpoints as exports
from service.health import endpoints as health
from service.health import metrics
from service.jobs import endpoints as jobs
from service.jobs.events import read_jobs
from service.jobs.reconciler import Reconciler
from service.middleware import AuditTrail, BodyLimit, SecurityHeaders, SignInFirst
from service.models import endpoints as models
from service.models.catalog import ModelCatalog
from service.no_endpoint import NoEndpoint
from service.openapi import GENERAL_REFUSALS, install_openapi
from service.page_files import PageFiles
from service.results import endpoints as results
from service.results.reader import ResultReader
from service.reviews import endpoints as reviews
from service.reviews import presence
from service.reviews.repository import ReviewRepository
from service.settings import Settings
from service.slides import endpoints as slides
from service.slides import private, tissue
from service.slides.intake import Intake
from service.slides.repository import SlideRepository
from service.slides.staging import remove_abandoned
from service.tiles import endpoints as tiles
from service.tiles.open_slides import IDLE_S, OpenSlides
from service.uploads import endpoints as uploads_api
from service.uploads.partial import PartialUploads
from service.webhooks.caller import WebhookCaller
from service.webhooks.events import what_ended
from service.webhooks.repository import WebhookRepository
from wsi.errors import ConfigError
from wsi.jobs import CeleryNotifier, SqlJobStore, WorkerRegistry, create_engine
from wsi.repeating import RepeatingThread
from wsi.storage.slide_cache import SlideCache

_log = logging.getLogger(__name__)

PREFIX = "/api/v1"
_PROBES = ("/health", "/ready", "/metrics")
_CLOSE_S = 15.0
PAGE = Path(__file__).parent / "web" / "dist"


def create_app(settings: Settings) -> FastAPI:
    """The API and, where it was built, the page. The database is migrated when the app starts.

    Raises:
        ConfigError: it is to listen beyond loopback without asking for keys.
    """
    if settings.auth == "off" and settings.is_open_to_others:
        raise ConfigError(
            f"WSI_HOST={settings.host} is reachable from other machines: set WSI_AUTH=on, so that "
            "API keys are required"
        )
    if settings.webhook_hosts and not settings.webhook_secret.get_secret_value():
        raise ConfigError("WSI_WEBHOOK_HOSTS needs WSI_WEBHOOK_SECRET, which signs the calls")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = _start(app.state.settings)
        _start_loops(context)
        app.state.context = context
        try:
            yield
        finally:
            _stop(context)

    app = FastAPI(
        title="wholeslide",
        version=version("wholeslide"),
        summary="Whole-slide cancer detection: slides in, probabilities and heatmaps out.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
        # Spans of requests, where service.__main__ set tracing up. What probes ask is noise.
        telemetry={
            "operation_spans": False,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
            "exclude": lambda scope: scope["path"].removeprefix(PREFIX) in _PROBES,
        },
        lifespan=lifespan,
    )
    app.state.settings = settings
    install_error_handlers(app)
    app.add_middleware(Compression, prefix=PREFIX)
    app.add_middleware(AuditTrail)
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_body_bytes,
        uploads=re.compile(rf"{PREFIX}/(slides|uploads/\w+)"),
    )
    app.add_middleware(SecurityHeaders, open_paths=(f"{PREFIX}/docs",))
    api = APIRouter(prefix=PREFIX, responses=GENERAL_REFUSALS)
    for domain in (
        health,
        metrics,
        slides,
        uploads_api,
        tiles,
        models,
        jobs,
        batches,
        batch_exports,
        results,
        exports,
        reviews,
        presence,
        annotations,
        tissue,
        private,
        access,
    ):
        api.include_router(domain.router)
    api.include_router(reviews.news)
    api.include_router(annotations.classes)
    app.include_router(api)
    app.mount(PREFIX, NoEndpoint(roles_of(app.routes, PREFIX)))
    install_openapi(app)
    if settings.auth == "on":
        app.include_router(login_page.router)
        app.add_middleware(SignInFirst, cookie=COOKIE)
    if PAGE.is_dir():
        app.mount("/", PageFiles(directory=PAGE, html=True), name="page")
    return app


def _start(settings: Settings) -> Context:
    for folder in (settings.incoming, settings.slides):
        folder.mkdir(parents=True, exist_ok=True)
    removed = remove_abandoned(settings.incoming)
    if removed:
        _log.info("removed %d uploads that an earlier process left unfinished", removed)
    engine = create_engine(settings.database)
    migrate(engine)
    slide_rows = SlideRepository(engine)
    job_store = SqlJobStore(engine)
    workers = WorkerRegistry(engine)
    reconciler = Reconciler(
        job_store,
        CeleryNotifier(settings.broker_url, settings.queue) if settings.broker_url else None,
        max_attempts=settings.max_attempts,
        interval_s=settings.reconcile_interval_s,
        workers=workers,
    )
    reconciler.start()
    uploads = PartialUploads(settings.uploads, timedelta(hours=settings.upload_expiry_h))
    uploads.remove_expired()
    keys, audit = KeyRepository(engine), AuditLog(engine)
    slide_cache = SlideCache(settings.slide_cache, settings.slide_cache_bytes)
    first = keys.make_first() if settings.auth == "on" else None
    if first:
        # To the terminal and never to the log.
        sys.stdout.write(f"\nThe first key (admin), shown this once: {first}\n\n")
        sys.stdout.flush()
    intake = Intake(settings, slide_rows, slide_cache)
    batch_rows, callbacks = BatchRepository(engine, job_store), WebhookRepository(engine)
    return Context(
        settings=settings,
        engine=engine,
        slides=slide_rows,
        intake=intake,
        jobs=job_store,
        workers=workers,
        batches=batch_rows,
        callbacks=callbacks,
        job_events=EventStream("job", partial(read_jobs, engine)),
        batch_events=EventStream("batch", partial(read_batches, batch_rows, callbacks)),
        models=ModelCatalog(settings.models),
        results=ResultReader(),
        reviews=ReviewRepository(engine),
        annotations=AnnotationRepository(engine),
        uploads=uploads,
        keys=keys,
        audit=audit,
        authenticator=_authenticator(settings, keys, audit),
        slide_cache=slide_cache,
        open_slides=OpenSlides(settings.open_slides, slide_cache, intake.require_same),
        reconciler=reconciler,
        arrivals=RepeatingThread("arrivals", settings.reconcile_interval_s),
        webhooks=RepeatingThread("webhooks", settings.reconcile_interval_s),
        idle_slides=RepeatingThread("idle slides", IDLE_S / 2),
    )


def _start_loops(context: Context) -> None:
    settings = context.settings
    context.arrivals.start(lambda: register_next(context))
    context.idle_slides.start(context.open_slides.close_idle)
    if settings.webhook_hosts:
        caller = WebhookCaller(
            context.callbacks,
            hosts=settings.webhook_hosts,
            secret=settings.webhook_secret.get_secret_value(),
            first_wait_s=settings.webhook_retry_s,
            tell=lambda kind, target_id: what_ended(context, kind, target_id),
        )
        context.webhooks.start(caller.step)


def _authenticator(settings: Settings, keys: KeyRepository, audit: AuditLog) -> Authenticator:
    return Authenticator(
        keys,
        audit,
        enabled=settings.auth == "on",
        tokens=TokenChecker(settings.provider) if settings.provider else None,
        requests=Limit("requests", settings.rate_limit, settings.rate_limit_store),
        sign_ins=Limit("sign-ins", settings.sign_in_limit, settings.rate_limit_store),
    )


def _stop(context: Context) -> None:
    context.arrivals.close(_CLOSE_S)
    context.webhooks.close(_CLOSE_S)
    context.idle_slides.close(_CLOSE_S)
    context.reconciler.close()
    context.open_slides.clear()
    context.engine.dispose()
