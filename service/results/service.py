"""Jobs whose results may be shown."""

from service.slides.repository import SlideRepository
from wsi.jobs import Job, JobStore


def scored_job(jobs: JobStore, slides: SlideRepository, job_id: str) -> Job:
    """A job whose slide is still here: of a removed one no result is shown, cached or not."""
    job = jobs.get(job_id)
    slides.get(job.request.slide_id)
    return job
