"""Starting, watching and cancelling jobs."""

import logging
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.auth.access import Pathologist, Viewer
from service.context import Ctx, JobEvents, Jobs
from service.jobs.schemas import JobIn, JobOut, JobPage, job_out
from service.jobs.service import request_for
from service.responses import refusals
from service.webhooks.call import require_allowed
from wsi.errors import ChangedSlideError, JobError
from wsi.jobs import JobStatus

_log = logging.getLogger(__name__)

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("", status_code=202, responses=refusals(ChangedSlideError))
def start_job(body: JobIn, caller: Pathologist, context: Ctx) -> JobOut:
    """Queue a slide for a pipeline. The job runs in a worker process."""
    slide = context.slides.get(body.slide_id)
    if body.callback_url is not None:
        require_allowed(body.callback_url, context.settings.webhook_hosts)
    job = context.jobs.add(request_for(context, slide, body), priority=body.priority)
    if body.callback_url is not None:
        context.callbacks.add("job", job.id, body.callback_url)
    context.reconciler.wake()
    _log.info("job %s is queued", job.id, extra={"job_id": job.id})
    return job_out(job)


@router.get("")
def list_jobs(
    caller: Viewer,
    jobs: Jobs,
    slide_id: str | None = None,
    status: JobStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> JobPage:
    """Jobs, newest first."""
    found = jobs.find(slide_id=slide_id, status=status, limit=limit, offset=offset)
    total = jobs.count(slide_id=slide_id, status=status)
    return JobPage(items=[job_out(job) for job in found], total=total)


@router.get("/{job_id}")
def get_job(job_id: str, caller: Viewer, jobs: Jobs) -> JobOut:
    """One job."""
    return job_out(jobs.get(job_id))


@router.post("/{job_id}/cancel", responses=refusals(JobError))
def cancel_job(job_id: str, caller: Pathologist, jobs: Jobs) -> JobOut:
    """Cancel: immediately if it is queued, within seconds if it runs. An ended job stays ended."""
    return job_out(jobs.request_cancel(job_id))


async def _events(
    job_id: str, caller: Viewer, job_events: JobEvents
) -> AsyncIterator[ServerSentEvent]:
    return await job_events.open(job_id)


@router.get("/{job_id}/events", response_class=EventSourceResponse)
async def watch_job(
    caller: Viewer, events: Annotated[AsyncIterator[ServerSentEvent], Depends(_events)]
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: ``event: job`` at each change, until the job has ended."""
    async for event in events:
        yield event
