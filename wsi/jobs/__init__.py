"""The contract that service and workers share: jobs, their legal moves and their store."""

from wsi.jobs.job import LEGAL_MOVES, Job, JobRequest, JobStatus, JobStore

__all__ = ["LEGAL_MOVES", "Job", "JobRequest", "JobStatus", "JobStore"]
