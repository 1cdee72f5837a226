"""The contract that service and workers share: jobs, their legal moves and their store."""

from wsi.jobs.bell import Bells, CeleryBells, relay
from wsi.jobs.database import create_engine, default_url
from wsi.jobs.job import LEGAL_MOVES, Bell, Job, JobRequest, JobStatus, JobStore
from wsi.jobs.sql_store import SqlJobStore

__all__ = [
    "LEGAL_MOVES",
    "Bell",
    "Bells",
    "CeleryBells",
    "Job",
    "JobRequest",
    "JobStatus",
    "JobStore",
    "SqlJobStore",
    "create_engine",
    "default_url",
    "relay",
]
