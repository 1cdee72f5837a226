"""SlideStore: everything derived from one slide, in one Zarr v3 group.

Layout: ``<kind>/<digest>/<array>``. An artifact is immutable: its digest names what made it (the
spec, the slide's content, the model). It is written aside and moved into its place whole; on S3,
where nothing can be moved, arrays first and the ``complete`` mark last. So a reader sees all of it
or nothing, also where two processes write it at once. ``docs/storage.md`` lists the arrays.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import zarr
from numpy.typing import NDArray
from zarr.errors import ContainsGroupError
from zarr.storage import MemoryStore

from wsi.errors import ArtifactMissingError, StoreError, StoreFullError, is_disk_full
from wsi.storage.artifact_files import publish, read_arrays, unfinished, upload, write_arrays

_T = TypeVar("_T")

COMPLETE = "complete"
_CHUNKS = "chunks"
_OWNER = "wholeslide_slide"
_NO_NAMES: Mapping[str, Sequence[str]] = {}


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


@dataclass(frozen=True)
class SlideOwner:
    """The slide that a store belongs to: ``slide_digest`` of its content, and its name."""

    digest: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} (digest {self.digest[:12]})"


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

    @property
    def owner(self) -> SlideOwner | None:
        """The slide that this store belongs to; ``None`` where it does not say, as stores of
        earlier versions do not."""
        with _store_errors(self.url, "cannot be read"):
            said = self._root.attrs.get(_OWNER)
        if not isinstance(said, dict):
            return None
        return SlideOwner(str(said.get("digest", "")), str(said.get("name", "")))

    def claim(self, digest: str, name: str) -> None:
        """Make this the store of a slide, or see that it is already.

        A store without an owner is taken: nothing in it that does not name this slide's content
        is ever used again.

        Args:
            digest: ``slide_digest`` of its content.
            name: how messages call it.

        Raises:
            StoreError: it belongs to another slide.
        """
        owner = self._said_anew()
        if owner is None:
            self.assign(digest, name)
            owner = self._said_anew()
        if owner is not None and owner.digest != digest:
            raise StoreError(
                f"{self.url} belongs to {owner}, not to {SlideOwner(digest, name)}: choose another "
                "folder for the results, or remove that one if its slide was replaced"
            )

    def assign(self, digest: str, name: str) -> None:
        """Note whose store this is, whatever it said: for who keeps one store a slide anyway."""
        if self.owner == SlideOwner(digest, name):
            return

        def write() -> None:
            with _store_errors(self.url, "was not written"):
                self._root.update_attributes({_OWNER: {"digest": digest, "name": name}})

        self._with_room(write)

    def _said_anew(self) -> SlideOwner | None:
        """The owner as others may have written it since this store was opened."""
        self._root = self._open(read_only=False)
        return self.owner

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
        *,
        dimensions: Mapping[str, Sequence[str]] = _NO_NAMES,
    ) -> None:
        """Write an artifact, whole or not at all. One that is complete already is left alone.

        Args:
            kind: such as ``tissue``.
            digest: what ``spec_digest`` says of the spec that made it.
            arrays: name to array; each is one shard-free Zarr array.
            meta: JSON-able description: the spec and its provenance.
            attributes: further group attributes, such as OME-Zarr's ``ome``.
            dimensions: names of the dimensions of arrays, where they have any.

        Raises:
            StoreError: the disk is full or the place refuses writes; nothing half-written is
                ever read back.
        """
        if self.has(kind, digest):
            return

        def write() -> None:
            with _store_errors(self.url, f"{kind}/{digest} was not written"):
                # Another process may make it between zarr's look and its own try.
                with suppress(ContainsGroupError):
                    self._root.require_group(kind)
                if "://" in self.url:
                    files: dict[str, Any] = {}
                    fill(zarr.create_group(MemoryStore(files), zarr_format=3))
                    upload(files, f"{self.url}/{kind}/{digest}")
                    return
                with unfinished(Path(self.url)) as folder:
                    fill(zarr.create_group(str(folder), zarr_format=3))
                    publish(folder, Path(self.url, kind, digest), lambda: self.has(kind, digest))

        def fill(group: zarr.Group) -> None:
            chunks = write_arrays(group, arrays, dimensions)
            told = {**(attributes or {}), "wholeslide": dict(meta), _CHUNKS: chunks}
            group.update_attributes({**told, COMPLETE: True})

        self._with_room(write)

    def get(self, kind: str, digest: str) -> Artifact:
        """A complete artifact, read into memory.

        Raises:
            ArtifactMissingError: it is absent or was not finished.
            StoreError: an array or a part of one is missing, or does not decode.
        """
        if not self.has(kind, digest):
            raise ArtifactMissingError(f"slide store {self.url} holds no complete {kind}/{digest}")
        with _store_errors(self.url, f"{kind}/{digest} cannot be read"):
            group = self._root[f"{kind}/{digest}"]
            assert isinstance(group, zarr.Group)
            chunks = group.attrs.get(_CHUNKS)
            arrays = read_arrays(
                group,
                chunks if isinstance(chunks, dict) else None,
                f"{self._whose()}: {kind}/{digest}",
            )
            meta = group.attrs.get("wholeslide", {})
        return Artifact(kind, digest, arrays, meta if isinstance(meta, dict) else {})

    def _whose(self) -> str:
        """The store for messages: by its slide where that is known."""
        owner = self.owner
        return owner.name if owner is not None else f"slide store {self.url}"


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
