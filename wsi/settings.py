"""The settings that service and workers share, and those that used to have another name."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, cast

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from wsi.errors import ConfigError
from wsi.jobs import default_url

PREFIX = "WSI_"


class SharedSettings(BaseSettings):
    """What service and workers of one installation must agree on.

    Each setting is the environment variable ``WSI_`` + its name. A variable of ``RENAMED`` still
    works in this release; ``deprecations`` says what it is called now.

    Attributes:
        data_dir: slides, derived data and the embedded database live below it.
        database_url: ``sqlite:///file`` or ``postgresql+psycopg://user:password@host/name``.
        broker_url: RabbitMQ or Redis; empty: workers claim jobs from the database directly.
        queue: name of the queue on the broker; two installations on one broker need two.
        models_dir: folder of model bundles.
        slide_cache_dir: where copies of slides in object storage are kept, on a disk of this
            machine; empty: below ``data_dir``. Service and workers of one machine share it.
        slide_cache_bytes: what these copies may take; the least recently used ones are removed.
        max_attempts: a job that loses its worker this often fails.
        reconcile_interval_s: seconds between two searches for lost and forgotten jobs.
        log_format: ``text``, or ``json``: one object per line.

    Raises:
        ConfigError: a variable is set under its old and its new name, to different values.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {"WSI_SWEEP_S": "WSI_RECONCILE_INTERVAL_S"}
    """Old to new names of variables, for this release."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        # Messages would show all settings, and with them passwords.
        hide_input_in_errors=True,
    )

    data_dir: Path = Path("data")
    database_url: str = ""
    broker_url: str = ""
    queue: str = "wsi.jobs"
    models_dir: Path | None = None
    slide_cache_dir: Path | None = None
    slide_cache_bytes: int = Field(default=50 * 1024**3, gt=0)
    max_attempts: int = Field(default=3, gt=0)
    reconcile_interval_s: float = Field(default=5.0, gt=0)
    log_format: Literal["text", "json"] = "text"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let variables of the environment (or of an env file) also count under old names."""
        variables = {**_variables(dotenv_settings), **_variables(env_settings)}
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            file_secret_settings,
            InitSettingsSource(settings_cls, init_kwargs=cls._under_old_names(variables)),
        )

    @classmethod
    def _under_old_names(cls, variables: Mapping[str, str | None]) -> dict[str, str]:
        """Values by field, of variables that are set under an old name."""
        found = {}
        for old, new in cls.RENAMED.items():
            value = variables.get(old.lower())
            if value is None:
                continue
            other = variables.get(new.lower(), value)
            if other != value:
                raise ConfigError(
                    f"{old}={value} and {new}={other} are both set, and differ; {old} is the old "
                    f"name of {new}: remove {old}"
                )
            found[new.removeprefix(PREFIX).lower()] = value
        return found

    @classmethod
    def deprecations(cls, environment: Mapping[str, str]) -> list[str]:
        """A sentence for each variable of the environment that has another name by now."""
        return [
            f"{old} is called {new} now; the old name works in this release only"
            for old, new in cls.RENAMED.items()
            if old in environment
        ]

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


def _variables(source: PydanticBaseSettingsSource) -> Mapping[str, str | None]:
    """What an environment or an env file sets, by name in lower case."""
    return cast(EnvSettingsSource, source).env_vars
