"""Registers slides that batches name by their paths: reading them all takes a while."""

from service.batches.items import refused
from service.batches.repository import Arriving, NewItem
from service.context import Context
from service.jobs.schemas import JobIn
from service.jobs.service import request_for
from wsi.errors import JobStoreUnavailableError, SlideUnavailableError, WsiError

# Longer than reading a slide usually takes; then, after a crash, another service goes on. Where two
# work on one item, one of them does so in vain.
_LEASE_S = 600.0


def register_next(context: Context) -> bool:
    """Register one slide and queue its job, or record why not; returns whether there was one."""
    arriving = context.batches.take_arriving(lease_s=_LEASE_S)
    if arriving is None:
        return False
    context.batches.settle(arriving, _outcome(context, arriving))
    context.reconciler.wake()
    context.webhooks.wake()
    return True


def _outcome(context: Context, arriving: Arriving) -> NewItem:
    slide_id, pipeline = "", arriving.pipeline
    try:
        slide, _ = context.intake.register(
            arriving.path,
            arriving.options.get("mpp"),
            force_mpp=arriving.options.get("force_mpp", False),
        )
        slide_id = slide.id
        job = JobIn(slide_id=slide_id, pipeline=pipeline, **arriving.options)
        request = request_for(context, slide, job)
    except (JobStoreUnavailableError, SlideUnavailableError):
        raise  # the database or the object storage is away: another time
    except WsiError as error:
        return refused(slide_id, pipeline, error)
    return NewItem(slide_id=slide_id, pipeline=pipeline, request=request, priority=job.priority)
