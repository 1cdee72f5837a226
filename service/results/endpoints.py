"""Results of jobs: numbers, heatmaps, hotspots."""

import io
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from PIL import Image

from service.auth.access import AuditedViewer
from service.caching import IMMUTABLE, etag_of, not_modified
from service.context import Jobs, OpenReaders, Results, Slides
from service.errors import NotFinishedError, NotFoundError
from service.responses import NOT_MODIFIED, file_of, refusals
from service.results.service import scored_job
from service.slides.scanned_area import scanned_area
from wsi.errors import ChangedSlideError
from wsi.geometry import Size
from wsi.jobs import Job
from wsi.plain_json import finite_json
from wsi.slides import thumbnail
from wsi.storage import HeatmapGrid, LayerKind, SlideResult, result_to_json
from wsi.storage.geojson import hotspots_to_geojson
from wsi.storage.overlay import render_overlay

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"])


@router.get("/result", responses=refusals(NotFinishedError))
def get_result(
    job_id: str,
    request: Request,
    caller: AuditedViewer,
    jobs: Jobs,
    slides: Slides,
    results: Results,
) -> JSONResponse:
    """Probabilities, hotspots, timings, and URLs of the heatmaps. 409 while there is no result."""
    job = scored_job(jobs, slides, job_id)
    result = results.of(job)
    body = result_to_json(result)
    body |= {"job_id": job.id, "slide_id": job.request.slide_id, "urls": _urls(job, result)}
    return JSONResponse(finite_json(body))


@router.get(
    "/hotspots.geojson",
    response_class=Response,
    responses=file_of("application/geo+json") | refusals(NotFinishedError, ChangedSlideError),
)
def get_hotspots(
    job_id: str,
    caller: AuditedViewer,
    jobs: Jobs,
    slides: Slides,
    open_slides: OpenReaders,
    results: Results,
) -> JSONResponse:
    """Hotspots for QuPath: drag the file onto the slide."""
    job = scored_job(jobs, slides, job_id)
    name = quote(f"{job.request.slide_name}-{job.request.pipeline}.geojson")
    bounds = scanned_area(open_slides, slides.get(job.request.slide_id))
    return JSONResponse(
        finite_json(hotspots_to_geojson(results.of(job), bounds)),
        media_type="application/geo+json",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


@router.get(
    "/heatmaps/{kind}/{class_name}.png",
    response_class=Response,
    responses=file_of("image/png") | NOT_MODIFIED | refusals(NotFinishedError),
)
def get_heatmap(
    job_id: str,
    kind: LayerKind,
    class_name: str,
    request: Request,
    caller: AuditedViewer,
    jobs: Jobs,
    slides: Slides,
    results: Results,
) -> Response:
    """Raw scores: one pixel per grid cell, L = round(255 * score), A = 0 where not analyzed."""
    job = scored_job(jobs, slides, job_id)
    etag = etag_of(job.id, job.result_id or "", kind, class_name)
    _, values = _layer(results.of(job), kind, class_name)
    if not_modified(request, etag):
        return Response(status_code=304, headers={"ETag": etag, **IMMUTABLE})
    seen = ~np.isnan(values)
    luminance = np.rint(np.nan_to_num(values, nan=0.0) * 255).astype(np.uint8)
    pixels = np.stack([luminance, seen.astype(np.uint8) * 255], axis=-1)
    return _png(pixels, etag)


@router.get(
    "/heatmaps/{kind}/{class_name}/overlay.png",
    response_class=Response,
    responses=file_of("image/png") | NOT_MODIFIED | refusals(NotFinishedError, ChangedSlideError),
)
def get_overlay(
    job_id: str,
    kind: LayerKind,
    class_name: str,
    request: Request,
    caller: AuditedViewer,
    jobs: Jobs,
    slides: Slides,
    open_slides: OpenReaders,
    results: Results,
    max_px: Annotated[int, Query(ge=16, le=4096)] = 1024,
    alpha: Annotated[float, Query(ge=0, le=1)] = 0.5,
) -> Response:
    """The heatmap in colours over the slide's thumbnail."""
    job = scored_job(jobs, slides, job_id)
    etag = etag_of(job.id, job.result_id or "", kind, class_name, max_px, alpha)
    grid, values = _layer(results.of(job), kind, class_name)
    if not_modified(request, etag):
        return Response(status_code=304, headers={"ETag": etag, **IMMUTABLE})
    slide = slides.get(job.request.slide_id)
    reader = open_slides.get(slide)
    size = Size(reader.size.width, reader.size.height)
    return _png(render_overlay(thumbnail(reader, max_px), size, grid, values, alpha), etag)


def _layer(
    result: SlideResult, kind: LayerKind, class_name: str
) -> tuple[HeatmapGrid, NDArray[np.float32]]:
    """One map of one layer, (rows, columns), and its grid. Raises ``NotFoundError``.

    ``all-malignant`` is the sum of the malignant classes, where there are several.
    """
    values = result.map_of(kind, class_name)
    if values is None or result.grid is None:
        there = ", ".join(item.kind for item in result.layers) or "none"
        raise NotFoundError(
            f"{result.slide}: no heatmap {kind}/{class_name}; kinds: {there}, "
            f"classes: {', '.join(result.map_names(kind))}"
        )
    return result.grid, values


def _png(pixels: NDArray[np.uint8], etag: str) -> Response:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png", headers={"ETag": etag, **IMMUTABLE})


def _urls(job: Job, result: SlideResult) -> dict[str, Any]:
    base = f"/api/v1/jobs/{job.id}"
    return {
        "hotspots": f"{base}/hotspots.geojson",
        "heatmaps": {
            layer.kind: {
                name: f"{base}/heatmaps/{layer.kind}/{quote(name, safe='')}.png"
                for name in result.map_names(layer.kind)
            }
            for layer in result.layers
        },
        "slide": f"/api/v1/slides/{job.request.slide_id}",
    }
