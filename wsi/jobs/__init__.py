"""The contract that service and workers share: jobs, their legal moves and their store."""

from wsi.jobs.database import create_engine, default_url
from wsi.jobs.job import (
    CPU,
    GPU,
    LEGAL_MOVES,
    QUEUES,
    Job,
    JobRequest,
    JobStatus,
    JobStore,
    Notification,
)
from wsi.jobs.notifications import CeleryNotifier, Notifier, relay
from wsi.jobs.sql_store import SqlJobStore
from wsi.jobs.workers import Worker, WorkerRegistry

__all__ = [
    "CPU",
    "GPU",
    "LEGAL_MOVES",
    "QUEUES",
    "CeleryNotifier",
    "Job",
    "JobRequest",
    "JobStatus",
    "JobStore",
    "Notification",
    "Notifier",
    "SqlJobStore",
    "Worker",
    "WorkerRegistry",
    "create_engine",
    "default_url",
    "relay",
]
