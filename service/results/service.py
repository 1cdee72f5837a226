"""Jobs whose results may be shown."""

from service.context import Context
from wsi.jobs import Job


def scored_job(context: Context, job_id: str) -> Job:
    """A job whose slide is still here: of a removed one no result is shown, cached or not."""
    job = context.jobs.get(job_id)
    context.slides.get(job.request.slide_id)
    return job
