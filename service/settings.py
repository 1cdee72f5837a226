"""What the environment says to the service. Read once, at the edge."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import limits
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from service.auth.oidc import Provider, require_safe_url
from service.auth.roles import Role
from wsi.settings import SharedSettings
from wsi.storage.slide_cache import SCHEME

GIB = 1024**3


class Settings(SharedSettings):
    """Settings of the service, beside the shared ones.

    Attributes:
        stores_url: where results and heatmaps go: a folder, or ``s3://bucket/prefix``; empty:
            below ``data_dir``. Workers are told with each job.
        host, port: where the API listens.
        slide_roots: folders (separated by ``:``) below which slides may be registered by path.
        slide_prefixes: ``s3://bucket/prefix`` (separated by commas) below which slides in object
            storage may be registered; they are read through the slide cache.
        strip_labels: take label and macro images out of every slide that is uploaded; formats
            that they cannot be taken out of are refused.
        strip_uid_key: a secret that the UIDs of such DICOM copies are made with.
        max_upload_bytes: larger uploads are refused.
        upload_expiry_h: hours after which an abandoned resumable upload is removed.
        max_unpacked_bytes, max_unpacked_files: limits for an uploaded zip.
        check_timeout_s, check_memory_bytes: limits for the process that checks a new slide.
        open_slides: how many slides are kept open for tiles.
        gpu_jobs: names of pipelines and models (separated by commas) whose jobs go to the queue
            of GPU workers; all others go to the queue of CPU workers.
        auth: ``on``: every request needs a key (the first one is printed at the first start);
            ``off`` is possible on loopback alone.
        blind_first_read: the page hides what models say of a slide until its reader has chosen a
            diagnosis; without, each reader decides that for themselves.
        oidc_issuer: URL of an OpenID Connect provider whose tokens are taken as keys are.
        oidc_audience: what the tokens' ``aud`` must name.
        oidc_roles_claim: where a token lists roles or groups; ``a.b`` is ``b`` inside ``a``.
        oidc_roles: our role for each of theirs, ``theirs=viewer;others=admin``; empty: theirs are
            called as ours are.
        oidc_name_claim: where a token says whose it is.
        rate_limit: requests that each key, token owner or (without) address may make; empty: any
            number. With ``WSI_AUTH=off`` nothing is limited.
        sign_in_limit: sign-ins and refused keys an address may send; empty: any number.
        rate_limit_store: ``redis://...`` where several API processes count together.
        webhook_hosts: who may be called when a batch or job has ended: ``host`` or ``host:port``,
            separated by commas; empty: nobody.
        webhook_secret: what those calls are signed with.
        webhook_retry_s: seconds after a call that failed; doubled with each further one.
        max_body_bytes: limit for bodies that are no slides.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {
        **SharedSettings.RENAMED,
        "WSI_UPLOAD_LASTS_H": "WSI_UPLOAD_EXPIRY_H",
    }

    stores_url: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    slide_roots: Annotated[tuple[Path, ...], NoDecode] = ()
    slide_prefixes: Annotated[tuple[str, ...], NoDecode] = ()
    strip_labels: bool = False
    strip_uid_key: SecretStr = SecretStr("")
    max_upload_bytes: int = Field(default=64 * GIB, gt=0)
    upload_expiry_h: float = Field(default=48.0, gt=0)
    max_unpacked_bytes: int = Field(default=128 * GIB, gt=0)
    max_unpacked_files: int = Field(default=20_000, gt=0)
    check_timeout_s: float = Field(default=120.0, gt=0)
    check_memory_bytes: int = Field(default=4 * GIB, gt=0)
    open_slides: int = Field(default=16, gt=0)
    gpu_jobs: Annotated[tuple[str, ...], NoDecode] = ()
    auth: Literal["on", "off"] = "off"
    blind_first_read: bool = False
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_roles_claim: str = "roles"
    oidc_roles: Annotated[Mapping[str, Role], NoDecode] = Field(
        default={role.name.lower(): role for role in Role if role is not Role.PUBLIC}
    )
    oidc_name_claim: str = "preferred_username"
    rate_limit: str = "6000/minute"
    sign_in_limit: str = "30/minute"
    rate_limit_store: str = ""
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    webhook_secret: SecretStr = SecretStr("")
    webhook_retry_s: float = Field(default=10.0, gt=0)
    max_body_bytes: int = Field(default=16 << 20, gt=0)

    @field_validator("slide_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(":") if part)
        return value

    @field_validator("slide_prefixes", mode="before")
    @classmethod
    def _split_prefixes(cls, value: object) -> object:
        """``s3://bucket/slides`` must not allow ``s3://bucket/slides-of-others/...``."""
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        prefixes = tuple(f"{str(part).strip().rstrip('/')}/" for part in parts if str(part).strip())
        for prefix in prefixes:
            if not prefix.startswith(SCHEME) or len(prefix) < len(SCHEME) + 2:
                raise ValueError(
                    f"{prefix} is not an address in object storage: s3://bucket/prefix"
                )
        return prefixes

    @field_validator("gpu_jobs", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("oidc_roles", mode="before")
    @classmethod
    def _split_roles(cls, value: object) -> object:
        """Groups may be LDAP names, which hold commas and equal signs of their own."""
        if not isinstance(value, str) or not value:
            return value or cls.model_fields["oidc_roles"].default
        pairs = (part.rpartition("=") for part in value.split(";") if part.strip())
        return {theirs.strip(): _role(ours.strip()) for theirs, _, ours in pairs}

    @field_validator("rate_limit", "sign_in_limit")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        if value:
            limits.parse(value)
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.oidc_issuer:
            return self
        require_safe_url(self.oidc_issuer)
        if not self.oidc_audience:
            raise ValueError("WSI_OIDC_ISSUER needs WSI_OIDC_AUDIENCE: whom its tokens are for")
        if self.auth == "off":
            raise ValueError("WSI_OIDC_ISSUER needs WSI_AUTH=on")
        return self

    @property
    def provider(self) -> Provider | None:
        """Whose tokens are taken."""
        if not self.oidc_issuer:
            return None
        return Provider(
            issuer=self.oidc_issuer,
            audience=self.oidc_audience,
            roles_claim=self.oidc_roles_claim,
            roles=self.oidc_roles,
            name_claim=self.oidc_name_claim,
        )

    @field_validator("webhook_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
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

    def store_url(self, slide_id: str) -> str:
        """Where a slide's SlideStore is."""
        place = self.stores_url.rstrip("/") or "stores"
        if "://" not in place:
            place = str(self.data_dir.absolute() / place)
        return f"{place}/{slide_id}.zarr"


def _role(name: str) -> Role:
    roles = {role.name.lower(): role for role in Role if role is not Role.PUBLIC}
    if name not in roles:
        raise ValueError(f"{name!r} is no role; roles are {', '.join(roles)}")
    return roles[name]
