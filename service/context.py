"""What endpoints work with: made once an app, handed to each request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, Request

from service.annotations.repository import AnnotationRepository
from service.auth.authenticator import Authenticator
from service.auth.repository import AuditLog, KeyRepository
from service.batches.repository import BatchRepository
from service.batches.schemas import BatchOut
from service.events import EventStream
from service.jobs.reconciler import Reconciler
from service.jobs.schemas import JobOut
from service.models.catalog import ModelCatalog
from service.results.reader import ResultReader
from service.reviews.repository import ReviewRepository
from service.settings import Settings
from service.slides.intake import Intake
from service.slides.repository import SlideRepository
from service.tiles.open_slides import OpenSlides
from service.uploads.partial import PartialUploads
from service.webhooks.repository import WebhookRepository
from wsi.jobs import JobStore, WorkerRegistry
from wsi.repeating import RepeatingThread
from wsi.storage.slide_cache import SlideCache


@dataclass(frozen=True, kw_only=True)
class Context:
    """The parts of a running service."""

    settings: Settings
    engine: sa.Engine
    slides: SlideRepository
    intake: Intake
    jobs: JobStore
    workers: WorkerRegistry
    batches: BatchRepository
    callbacks: WebhookRepository
    models: ModelCatalog
    results: ResultReader
    reviews: ReviewRepository
    annotations: AnnotationRepository
    uploads: PartialUploads
    keys: KeyRepository
    audit: AuditLog
    authenticator: Authenticator
    slide_cache: SlideCache
    open_slides: OpenSlides
    job_events: EventStream[JobOut]
    batch_events: EventStream[BatchOut]
    reconciler: Reconciler
    arrivals: RepeatingThread
    webhooks: RepeatingThread
    idle_slides: RepeatingThread


async def get_context(request: Request) -> Context:
    """The context of the app that a request came to."""
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(get_context)]


def _part(of: Callable[[Context], Any]) -> Any:
    """A dependency on one part. It is async, so that it costs no thread."""

    async def provide(context: Ctx) -> Any:
        return of(context)

    return Depends(provide)


# The parts that endpoints name in their signatures.
Annotations = Annotated[AnnotationRepository, _part(lambda context: context.annotations)]
Audits = Annotated[AuditLog, _part(lambda context: context.audit)]
BatchEvents = Annotated[EventStream[BatchOut], _part(lambda context: context.batch_events)]
Batches = Annotated[BatchRepository, _part(lambda context: context.batches)]
Cache = Annotated[SlideCache, _part(lambda context: context.slide_cache)]
Callbacks = Annotated[WebhookRepository, _part(lambda context: context.callbacks)]
Config = Annotated[Settings, _part(lambda context: context.settings)]
Database = Annotated[sa.Engine, _part(lambda context: context.engine)]
JobEvents = Annotated[EventStream[JobOut], _part(lambda context: context.job_events)]
JobReconciler = Annotated[Reconciler, _part(lambda context: context.reconciler)]
Jobs = Annotated[JobStore, _part(lambda context: context.jobs)]
Keys = Annotated[KeyRepository, _part(lambda context: context.keys)]
Models = Annotated[ModelCatalog, _part(lambda context: context.models)]
OpenReaders = Annotated[OpenSlides, _part(lambda context: context.open_slides)]
Results = Annotated[ResultReader, _part(lambda context: context.results)]
Reviews = Annotated[ReviewRepository, _part(lambda context: context.reviews)]
SlideIntake = Annotated[Intake, _part(lambda context: context.intake)]
Slides = Annotated[SlideRepository, _part(lambda context: context.slides)]
Uploads = Annotated[PartialUploads, _part(lambda context: context.uploads)]
Workers = Annotated[WorkerRegistry, _part(lambda context: context.workers)]
