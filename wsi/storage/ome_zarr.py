"""A heatmap as a zip of OME-Zarr (NGFF 0.5): what viewers open, whatever store it lies in."""

import io
import zipfile
from typing import Any

import zarr
from zarr.storage import MemoryStore

from wsi.errors import ConfigError
from wsi.storage.artifact_files import write_arrays
from wsi.storage.result_store import DIMENSIONS, NOTICE, ngff
from wsi.storage.results import SlideResult


def heatmap_zip(result: SlideResult, kind: str, *, folder: str) -> bytes:
    """One layer of a result.

    Args:
        result: has a layer of this kind.
        kind: such as ``probability``.
        folder: name of the OME-Zarr group inside the zip, such as ``slide.ome.zarr``.

    Raises:
        ConfigError: there is no such layer.
    """
    layer = result.layer(kind)
    if layer is None or result.grid is None:
        raise ConfigError(f"{result.slide}: the result has no heatmap {kind!r}")
    files: dict[str, Any] = {}
    about = {
        "slide": result.slide,
        "slide_digest": result.slide_digest,
        "pipeline": result.pipeline,
        "model": result.model,
        "model_digest": result.model_digest,
        "classes": list(result.classes),
        "kind": kind,
        "notice": NOTICE,
    }
    group = zarr.create_group(
        MemoryStore(files),
        zarr_format=3,
        attributes={"ome": ngff(result.grid, kind), "wholeslide": about},
    )
    write_arrays(group, {"0": layer.values_chw}, DIMENSIONS)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as zipped:
        for key, value in sorted(files.items()):
            zipped.writestr(f"{folder}/{key}", value.to_bytes())
    return sink.getvalue()
