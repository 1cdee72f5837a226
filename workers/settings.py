"""What the environment says to workers. Read once, at the edge."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wsi.jobs import default_url


class Settings(BaseSettings):
    """Settings of workers; each is the environment variable ``WSI_`` + its name.

    Attributes:
        data_dir, database_url, broker_url, queue, models_dir: as for the service.
        slide_cache_dir, slide_cache_bytes: as for the service. Service and workers of one machine
            share the folder.
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
        beat_s: seconds between two signs of life; also how soon a cancel is seen.
        obey_s: a pipeline that does not react to a stop within this time is ended by force.
        stall_s: a job without any progress for this long hangs, and fails.
        max_attempts: a job that loses its worker this often fails.
        sweep_s: seconds between two looks for lost jobs (embedded).
        log_level: of the worker's log.
        log_format: ``text``, or ``json``: an object a line.
    """

    model_config = SettingsConfigDict(env_prefix="WSI_", extra="ignore", frozen=True)

    data_dir: Path = Path("data")
    database_url: str = ""
    broker_url: str = ""
    queue: str = "wsi.jobs"
    models_dir: Path | None = None
    slide_cache_dir: Path | None = None
    slide_cache_bytes: int = Field(default=50 * 1024**3, gt=0)
    processes: int = Field(default=1, gt=0, validation_alias="WSI_WORKER_PROCESSES")
    device: str = "auto"
    queues: Annotated[tuple[Literal["cpu", "gpu"], ...], NoDecode] = Field(
        default=(), validation_alias="WSI_WORKER_QUEUES"
    )
    engine: str = "torch"
    pipeline_loader: str = "wsi.pipelines.base:load_pipeline"
    poll_s: float = Field(default=0.5, gt=0)
    lease_s: float = Field(default=60.0, gt=0)
    beat_s: float = Field(default=1.0, gt=0)
    obey_s: float = Field(default=10.0, gt=0)
    stall_s: float = Field(default=1800.0, gt=0)
    max_attempts: int = Field(default=3, gt=0)
    sweep_s: float = Field(default=5.0, gt=0)
    log_level: str = "INFO"
    log_format: Literal["text", "json"] = "text"

    @field_validator("queues", mode="before")
    @classmethod
    def _split_queues(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def database(self) -> str:
        """The database URL, the embedded default filled in."""
        return self.database_url or default_url(self.data_dir)

    @property
    def models(self) -> Path:
        """The folder of model bundles, the default filled in."""
        return self.models_dir or self.data_dir / "models"

    @property
    def slide_cache(self) -> Path:
        """Copies of slides in object storage, the default filled in."""
        return self.slide_cache_dir or self.data_dir / "slide-cache"
