"""The arrays of one artifact in its Zarr group: written whole, read whole or not."""

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wsi.errors import StoreError

_ASIDE = ".unfinished-"
_AGAIN = (
    "some of its files were removed or damaged. It is derived data: remove the slide's results and "
    "score the slide again"
)


def write_arrays(
    group: zarr.Group,
    arrays: Mapping[str, NDArray[Any]],
    dimensions: Mapping[str, Sequence[str]],
) -> dict[str, int]:
    """Write arrays into a group; returns how many chunks each has, all of which are stored.

    The fill value is no value that the array would have (NaN, the smallest integer), and chunks
    carry a checksum: a chunk that is lost or spoiled is told from one that says "nothing here".
    """
    chunks = {}
    for name, array in arrays.items():
        made = group.create_array(
            name,
            data=np.ascontiguousarray(array),
            fill_value=_no_value(array.dtype),
            compressors=ZstdCodec(level=0, checksum=True),
            config={"write_empty_chunks": True},
            dimension_names=dimensions.get(name),
        )
        chunks[name] = int(made.nchunks)
    return chunks


def _no_value(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return float("nan")
    if dtype.kind == "i":
        return int(np.iinfo(dtype).min)
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else dtype.type()


def read_arrays(
    group: zarr.Group, chunks: Mapping[str, Any] | None, what: str
) -> dict[str, NDArray[Any]]:
    """The arrays of a complete artifact.

    Args:
        group: of the artifact.
        chunks: what ``write_arrays`` returned; ``None`` of an artifact of an earlier version, in
            which chunks of zeros were left out: there a missing chunk of numbers is "not looked
            at" (NaN) in floating point, and zero in masks and integers.
        what: how messages call it: the slide and the artifact.

    Raises:
        StoreError: an array or a chunk is missing, or does not decode.
    """
    try:
        found = dict(group.arrays())
        if lost := sorted(set(chunks or ()) - set(found)):
            raise StoreError(f"{what}: the array {lost[0]!r} is missing; {_AGAIN}")
        return {
            name: _read(array, chunks, f"{what}: array {name!r}") for name, array in found.items()
        }
    # What zarr and its codecs raise for metadata and chunks that are no longer what they were.
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise StoreError(f"{what} is damaged ({error}); {_AGAIN}") from error


def _read(array: "zarr.Array[Any]", chunks: Mapping[str, Any] | None, what: str) -> NDArray[Any]:
    missing = int(array.nchunks) - int(array.nchunks_initialized)
    if missing and chunks is not None:
        raise StoreError(f"{what}: {missing} of {array.nchunks} chunks are missing; {_AGAIN}")
    values = np.asarray(array[...])
    if missing and values.dtype.kind == "f":
        values[values == 0] = np.nan
    return values


@contextmanager
def unfinished(store: Path) -> Iterator[Path]:
    """A folder inside a local store for an artifact that is being written; gone in the end."""
    folder = store / f"{_ASIDE}{uuid.uuid4().hex}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, place: Path, is_complete: Callable[[], bool]) -> None:
    """Move an artifact into its place in one step; where another process was faster, its stays.

    Args:
        folder: what ``unfinished`` gave, complete.
        place: where it belongs; may hold what an earlier version left half-written.
        is_complete: whether what lies in ``place`` is complete.
    """
    while True:
        try:
            folder.rename(place)
        except OSError:
            if not place.exists():
                raise
            if is_complete():
                return
            # Moved away, not emptied in place: a third process may be at it as well.
            with unfinished(place.parent.parent) as aside, suppress(FileNotFoundError):
                place.rename(aside)
        else:
            return


def upload(files: Mapping[str, Any], url: str) -> None:
    """Write an artifact made in memory to object storage, the mark that completes it last.

    Nothing is removed: two that write one artifact put equal objects, each in one step.

    Args:
        files: keys of a Zarr group to buffers.
        url: where the group belongs.
    """
    import fsspec

    storage, path = fsspec.core.url_to_fs(url)
    for key in sorted(files, key=lambda key: (key == "zarr.json", key)):
        storage.pipe_file(f"{path}/{key}", files[key].to_bytes())
