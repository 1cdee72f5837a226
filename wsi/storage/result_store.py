"""SlideResults in a SlideStore: JSON beside OME-Zarr heatmaps (NGFF 0.5)."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsi.geometry import Point, Region
from wsi.storage.results import DamagedRegion, HeatmapGrid, HeatmapLayer, Hotspot, SlideResult
from wsi.storage.store import SlideStore, spec_digest

if TYPE_CHECKING:
    from wsi.slides import SlideReader  # an API that only reads results does without it

KIND = "results"
NOTICE = "Research use only. Not a medical device; not for diagnosis."
DIMENSIONS = {"0": ("c", "y", "x")}
"""Names of a heatmap's dimensions, as OME-Zarr 0.5 asks for them: equal to those of its axes."""
_HEATMAPS = "heatmaps"


def result_to_json(result: SlideResult) -> dict[str, Any]:
    """Everything but the heatmap values, as plain JSON types."""
    data = dataclasses.asdict(dataclasses.replace(result, layers=()))
    data["layers"] = [layer.kind for layer in result.layers]
    data["suspicion"] = result.suspicion
    data["malignant"] = list(result.malignant_classes)
    data["notice"] = NOTICE
    return data


def put_result(store: SlideStore, result_id: str, result: SlideResult) -> None:
    """Store a result whole under ``result_id`` (a job's id, or a digest of what made it).

    Raises:
        StoreError: it could not be written.
    """
    for layer in result.layers:
        assert result.grid is not None
        store.put(
            _HEATMAPS,
            f"{result_id}-{layer.kind}",
            {"0": layer.values_chw},
            {
                "classes": list(result.classes),
                "kind": layer.kind,
                "model": result.model_digest,
                "slide_digest": result.slide_digest,
            },
            attributes={"ome": ngff(result.grid, layer.kind)},
            dimensions=DIMENSIONS,
        )
    # The result comes last: it is what a reader looks for.
    # What the model did not say stays unsaid: names are read anew each time.
    kept = {**result_to_json(result), "malignant": result.malignant}
    store.put(KIND, result_id, {}, kept)


def get_result(store: SlideStore, result_id: str) -> SlideResult:
    """Read back what ``put_result`` stored.

    Raises:
        ArtifactMissingError: there is no complete result of this id.
    """
    data = dict(store.get(KIND, result_id).meta)
    data.pop("suspicion", None)
    del data["notice"]
    layers = tuple(
        HeatmapLayer(kind=kind, values_chw=store.get(_HEATMAPS, f"{result_id}-{kind}").arrays["0"])
        for kind in data.pop("layers")
    )
    return _from_json(data, layers)


def analysis_id(slide: "SlideReader", result: SlideResult) -> str:
    """The id of a result outside the service: of the slide's content, its resolution, the model,
    and what came out, so that a repeated analysis that differs has a place of its own.

    Raises:
        ValueError: the result does not say which slide it is of.
    """
    if not result.slide_digest:
        raise ValueError("a result without slide_digest")
    values = hashlib.sha256()
    for layer in result.layers:
        values.update(layer.values_chw.tobytes())
    made_from = {
        "slide": result.slide_digest,
        "mpp": [slide.mpp.x, slide.mpp.y] if slide.mpp else None,
        "model": result.model_digest,
        "found": [result.outcome, dict(result.probabilities), values.hexdigest()],
    }
    return f"{result.pipeline}-{spec_digest(made_from)}"


def find_result(
    store: SlideStore, slide: "SlideReader", slide_digest: str, pipeline: str, model_digest: str
) -> SlideResult | None:
    """A result of this slide's content by this pipeline and model at its present resolution.

    Results that do not say of which content or resolution they are (``slide_digest``,
    ``details["slide_mpp"]``), as those of earlier versions, are passed over, and so are those whose
    tissue was found by another version of the method (``details["tissue_version"]``).

    Args:
        store: of the slide.
        slide: its mpp may be another than when a result was made: the user may give it.
        slide_digest: of its content.
        pipeline, model_digest: whose result.
    """
    from wsi.tissue.mask import METHOD_VERSION  # an API that only reads results does without it

    wanted = [slide.mpp.x, slide.mpp.y] if slide.mpp else None
    for result_id in store.digests(KIND) if wanted and slide_digest else ():
        meta = store.get(KIND, result_id).meta
        same = (meta["pipeline"], meta["model_digest"], meta.get("slide_digest")) == (
            pipeline,
            model_digest,
            slide_digest,
        )
        told = meta["details"]
        same = same and told.get("tissue_version") == METHOD_VERSION
        if same and told.get("slide_mpp") == wanted:
            return get_result(store, result_id)
    return None


def heatmap_path(result_id: str, kind: str) -> str:
    """Where the OME-Zarr group of a heatmap lies inside the store."""
    return f"{_HEATMAPS}/{result_id}-{kind}"


def _from_json(data: Mapping[str, Any], layers: tuple[HeatmapLayer, ...]) -> SlideResult:
    grid = data["grid"]
    return SlideResult(
        **{
            **data,
            "classes": tuple(data["classes"]),
            "warnings": tuple(data["warnings"]),
            "malignant": None if (named := data.get("malignant")) is None else tuple(named),
            "grid": grid
            and HeatmapGrid(
                origin_level0=Point(**grid["origin_level0"]),
                cell_level0=(grid["cell_level0"][0], grid["cell_level0"][1]),
                shape=(grid["shape"][0], grid["shape"][1]),
                mpp=grid["mpp"],
            ),
            "hotspots": tuple(
                Hotspot(
                    **{
                        **spot,
                        "polygon_level0": _ring(spot["polygon_level0"]),
                        "holes_level0": tuple(map(_ring, spot.get("holes_level0", ()))),
                        "centre_level0": Point(**spot["centre_level0"]),
                    }
                )
                for spot in data["hotspots"]
            ),
            "damaged": tuple(
                DamagedRegion(region=Region(**item["region"]), reason=item["reason"])
                for item in data["damaged"]
            ),
            "layers": layers,
        }
    )


def _ring(points: Iterable[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x, y in points)


def ngff(grid: HeatmapGrid, name: str) -> dict[str, Any]:
    """OME-Zarr 0.5 metadata: one scale, axes c, y, x, micrometres."""
    width, height = grid.cell_level0
    um_x = grid.mpp
    um_y = grid.mpp * height / width
    level0_um = grid.mpp / width
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": name,
                "axes": [
                    {"name": "c", "type": "channel"},
                    {"name": "y", "type": "space", "unit": "micrometer"},
                    {"name": "x", "type": "space", "unit": "micrometer"},
                ],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [1.0, um_y, um_x]},
                            {
                                "type": "translation",
                                "translation": [
                                    0.0,
                                    (grid.origin_level0.y + height / 2) * level0_um,
                                    (grid.origin_level0.x + width / 2) * level0_um,
                                ],
                            },
                        ],
                    }
                ],
            }
        ],
    }
