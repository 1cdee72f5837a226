"""What the environment says to the service. Read once, at the edge."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wsi.jobs import default_url

GIB = 1024**3


class Settings(BaseSettings):
    """Settings of the service; each is the environment variable ``WSI_`` + its name.

    Attributes:
        data_dir: slides, derived data and the embedded database live below it.
        database_url: ``sqlite:///file`` or ``postgresql+psycopg://user:password@host/name``.
        broker_url: RabbitMQ or Redis; empty: workers claim jobs from the database by themselves.
        queue: name of the queue on the broker; two installations on one broker need two.
        host, port: where the API listens.
        models_dir: folder of model bundles.
        slide_roots: folders (separated by ``:``) below which slides may be registered by path.
        max_upload_bytes: larger uploads are refused.
        upload_lasts_h: hours after which a resumable upload that nobody goes on with is removed.
        max_unpacked_bytes, max_unpacked_files: limits for an uploaded zip.
        check_timeout_s, check_memory_bytes: limits for the process that checks a new slide.
        open_slides: how many slides are kept open for tiles.
        max_attempts: a job that loses its worker this often fails.
        auth: ``on``: every request needs a key (the first one is printed at the first start);
            ``off`` is possible on loopback alone.
        max_body_bytes: limit for bodies that are no slides.
        sweep_s: seconds between two looks for lost and forgotten jobs.
    """

    model_config = SettingsConfigDict(env_prefix="WSI_", extra="ignore", frozen=True)

    data_dir: Path = Path("data")
    database_url: str = ""
    broker_url: str = ""
    queue: str = "wsi.jobs"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    models_dir: Path | None = None
    slide_roots: Annotated[tuple[Path, ...], NoDecode] = ()
    max_upload_bytes: int = Field(default=64 * GIB, gt=0)
    upload_lasts_h: float = Field(default=48.0, gt=0)
    max_unpacked_bytes: int = Field(default=128 * GIB, gt=0)
    max_unpacked_files: int = Field(default=20_000, gt=0)
    check_timeout_s: float = Field(default=120.0, gt=0)
    check_memory_bytes: int = Field(default=4 * GIB, gt=0)
    open_slides: int = Field(default=16, gt=0)
    max_attempts: int = Field(default=3, gt=0)
    auth: Literal["on", "off"] = "off"
    max_body_bytes: int = Field(default=16 << 20, gt=0)
    sweep_s: float = Field(default=5.0, gt=0)

    @field_validator("slide_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(":") if part)
        return value

    @property
    def is_open_to_others(self) -> bool:
        """Whether the API listens beyond loopback."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True

    @property
    def database(self) -> str:
        """The database URL, the embedded default filled in."""
        return self.database_url or default_url(self.data_dir)

    @property
    def models(self) -> Path:
        """The folder of model bundles, the default filled in."""
        return self.models_dir or self.data_dir / "models"

    @property
    def incoming(self) -> Path:
        """Where uploads grow; only whole, checked slides leave it."""
        return self.data_dir / "incoming"

    @property
    def uploads(self) -> Path:
        """Resumable uploads in the middle."""
        return self.data_dir / "uploads"

    @property
    def slides(self) -> Path:
        """One folder a stored slide."""
        return self.data_dir / "slides"

    @property
    def stores(self) -> Path:
        """One SlideStore a slide."""
        return self.data_dir / "stores"
