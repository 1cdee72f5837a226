"""The contract that service and workers share: jobs, their legal moves and their store."""

from wsi.jobs.bell import Bells, CeleryBells, relay
from wsi.jobs.database import create_engine, default_url
from wsi.jobs.job import CPU, GPU, LEGAL_MOVES, QUEUES, Bell, Job, JobRequest, JobStatus, JobStore
from wsi.jobs.sql_store import SqlJobStore
from wsi.jobs.workers import Worker, WorkerRegistry

__all__ = [
    "CPU",
    "GPU",
    "LEGAL_MOVES",
    "QUEUES",
    "Bell",
    "Bells",
    "CeleryBells",
    "Job",
    "JobRequest",
    "JobStatus",
    "JobStore",
    "SqlJobStore",
    "Worker",
    "WorkerRegistry",
    "create_engine",
    "default_url",
    "relay",
]
