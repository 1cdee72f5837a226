"""What the environment says to workers. Read once, at the edge."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from wsi.settings import SharedSettings


class Settings(SharedSettings):
    """Settings of workers, beside the shared ones.

    Attributes:
        processes: worker processes, each with its own models in memory.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: CUDA where there is one.
        queues: ``cpu``, ``gpu`` or both (separated by commas): whose jobs this worker takes; empty:
            both on a GPU, else ``cpu``.
        engine: what runs networks on a CPU: ``torch``, ``compile``, ``openvino`` or
            ``openvino-int8``.
        pipeline_loader: ``module:function`` that gives a pipeline for (name, bundle, device);
            the place to plug in pipelines of your own.
        poll_s: seconds between two looks into an empty queue (embedded).
        lease_s: a worker silent for this long has lost its job.
        heartbeat_interval_s: seconds between two heartbeats; also how soon a cancel is seen.
        shutdown_timeout_s: a pipeline that does not stop within this time is killed.
        stall_s: a job without any progress for this long hangs, and fails.
        log_level: of the worker's log.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {
        **SharedSettings.RENAMED,
        "WSI_BEAT_S": "WSI_HEARTBEAT_INTERVAL_S",
        "WSI_OBEY_S": "WSI_SHUTDOWN_TIMEOUT_S",
    }

    processes: int = Field(default=1, gt=0, validation_alias="WSI_WORKER_PROCESSES")
    device: str = "auto"
    queues: Annotated[tuple[Literal["cpu", "gpu"], ...], NoDecode] = Field(
        default=(), validation_alias="WSI_WORKER_QUEUES"
    )
    engine: str = "torch"
    pipeline_loader: str = "wsi.pipelines.base:load_pipeline"
    poll_s: float = Field(default=0.5, gt=0)
    lease_s: float = Field(default=60.0, gt=0)
    heartbeat_interval_s: float = Field(default=1.0, gt=0)
    shutdown_timeout_s: float = Field(default=10.0, gt=0)
    stall_s: float = Field(default=1800.0, gt=0)
    log_level: str = "INFO"

    @field_validator("queues", mode="before")
    @classmethod
    def _split_queues(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
