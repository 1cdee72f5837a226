"""SlideStore: everything derived from one slide, in one Zarr v3 group.

Layout: ``<kind>/<digest>/<array>``. An artifact is immutable: its digest names what made it (the
spec, the slide, the model). It is written arrays first, and its ``complete`` mark last, so that a
reader sees all of it or nothing, on a local folder as on S3. ``docs/storage.md`` lists the arrays.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray

from wsi.errors import ArtifactMissingError, StoreError, StoreFullError, is_disk_full

_T = TypeVar("_T")

COMPLETE = "complete"


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Sixteen hex digits that name a spec: equal specs, and only those, share them."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Artifact:
    """A complete artifact: its arrays in memory and what made it."""

    kind: str
    digest: str
    arrays: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any]


def _give_up(error: StoreFullError) -> None:
    raise error


class SlideStore:
    """The derived data of one slide.

    Args:
        url: a local folder, or ``s3://bucket/prefix`` where s3fs is installed.
        read_only: do not make the store where there is none.
        when_full: called when there is no room to write; to return tries again, to raise gives up.

    Every method raises ``StoreError`` where the place does not answer.

    Raises:
        ArtifactMissingError: there is no store, and ``read_only`` was asked for.
        StoreError: the place cannot be opened.
    """

    def __init__(
        self,
        url: str,
        *,
        read_only: bool = False,
        when_full: Callable[[StoreFullError], None] = _give_up,
    ) -> None:
        self.url = url
        self._when_full = when_full
        self._root = self._with_room(lambda: self._open(read_only))

    def _open(self, read_only: bool) -> zarr.Group:
        with _store_errors(self.url, "cannot be opened"):
            try:
                return zarr.open_group(self.url, mode="r" if read_only else "a", zarr_format=3)
            except FileNotFoundError as error:
                if not read_only:
                    raise
                raise ArtifactMissingError(f"there is no slide store {self.url}") from error
            except (ValueError, KeyError) as error:
                raise StoreError(f"slide store {self.url} is damaged: {error}") from error

    def _with_room(self, write: Callable[[], _T]) -> _T:
        while True:
            try:
                return write()
            except StoreFullError as error:
                self._when_full(error)

    def has(self, kind: str, digest: str) -> bool:
        """Whether a complete artifact is there."""
        with _store_errors(self.url, "cannot be read"):
            group = self._root.get(f"{kind}/{digest}")
            return isinstance(group, zarr.Group) and group.attrs.get(COMPLETE) is True

    def digests(self, kind: str) -> tuple[str, ...]:
        """The digests of all complete artifacts of a kind."""
        with _store_errors(self.url, "cannot be read"):
            group = self._root.get(kind)
            if not isinstance(group, zarr.Group):
                return ()
            return tuple(sorted(name for name in group.group_keys() if self.has(kind, name)))

    def put(
        self,
        kind: str,
        digest: str,
        arrays: Mapping[str, NDArray[Any]],
        meta: Mapping[str, Any],
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an artifact, whole or not at all. One that is complete already is left alone.

        Args:
            kind: such as ``tissue``.
            digest: what ``spec_digest`` says of the spec that made it.
            arrays: name to array; each is one shard-free Zarr array.
            meta: JSON-able description: the spec and its provenance.
            attributes: further group attributes, such as OME-Zarr's ``ome``.

        Raises:
            StoreError: the disk is full or the place refuses writes; nothing half-written is
                ever read back.
        """
        if self.has(kind, digest):
            return
        all_attributes = {**(attributes or {}), "wholeslide": dict(meta), COMPLETE: True}

        def write() -> None:
            with _store_errors(self.url, f"{kind}/{digest} was not written"):
                group = self._root.require_group(f"{kind}/{digest}")
                for name, array in arrays.items():
                    group.create_array(name, data=np.ascontiguousarray(array), overwrite=True)
                group.update_attributes(all_attributes)

        self._with_room(write)

    def get(self, kind: str, digest: str) -> Artifact:
        """A complete artifact, read into memory.

        Raises:
            ArtifactMissingError: it is absent or was not finished.
        """
        if not self.has(kind, digest):
            raise ArtifactMissingError(f"slide store {self.url} holds no complete {kind}/{digest}")
        with _store_errors(self.url, f"{kind}/{digest} cannot be read"):
            group = self._root[f"{kind}/{digest}"]
            assert isinstance(group, zarr.Group)
            arrays = {name: np.asarray(array[...]) for name, array in group.arrays()}
            meta = group.attrs.get("wholeslide", {})
        return Artifact(kind, digest, arrays, meta if isinstance(meta, dict) else {})


def remove_store(url: str) -> None:
    """Remove a store with everything in it; one that is not there is fine.

    Raises:
        StoreError: the place does not answer or refuses.
    """
    with _store_errors(url, "cannot be removed"):
        if "://" not in url:
            if Path(url).exists():
                shutil.rmtree(url)
            return
        import fsspec

        files, path = fsspec.core.url_to_fs(url)
        # Another process may have written it since this one last listed the place.
        files.invalidate_cache()
        if files.exists(path):
            files.rm(path, recursive=True)


@contextmanager
def _store_errors(url: str, what: str) -> Iterator[None]:
    """Whatever keeps a place from answering becomes a StoreError."""
    try:
        yield
    except ImportError as error:
        raise StoreError(
            f"slide store {url} {what}: {error}; pip install 'wholeslide[s3]'"
        ) from error
    except OSError as error:
        kind = StoreFullError if is_disk_full(error) else StoreError
        raise kind(f"slide store {url} {what}: {error}") from error
    except Exception as error:
        # s3fs passes errors of the libraries below it on, which only S3 users have.
        if type(error).__module__.split(".")[0] not in ("aiobotocore", "botocore", "aiohttp"):
            raise
        raise StoreError(f"slide store {url} {what}: {error}") from error
