"""What endpoints work with: made once an app, handed to each request."""

from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Request

from service.annotations.repository import AnnotationRepository
from service.auth.authenticator import Authenticator
from service.auth.repository import AuditLog, KeyRepository
from service.background import Loop
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
    arrivals: Loop
    webhooks: Loop
    idle_slides: Loop


def get_context(request: Request) -> Context:
    """The context of the app that a request came to."""
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(get_context)]
