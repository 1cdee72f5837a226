"""Downloads for other programs: OME-Zarr, DICOM, Parquet, and a report on paper."""

from urllib.parse import quote

from fastapi import APIRouter, Response

from service.auth.access import AuditedViewer
from service.context import Cache, Ctx, Jobs, Results, SlideIntake, Slides
from service.errors import NotFoundError
from service.exports.pictures import take
from service.exports.report import ReportOut, gather
from service.responses import file_of, refusals
from service.results.reader import ResultReader
from service.results.service import scored_job
from service.slides.repository import SlideRepository
from wsi.errors import ChangedSlideError, UnsupportedSlideError
from wsi.jobs import Job, JobStore
from wsi.slide_names import slide_stem
from wsi.storage import SlideResult
from wsi.storage.cells import cell_columns
from wsi.storage.dicom_export import parametric_map
from wsi.storage.ome_zarr import heatmap_zip
from wsi.storage.parquet import to_parquet

router = APIRouter(tags=["exports"])


@router.get(
    "/jobs/{job_id}/heatmaps/{kind}.ome.zarr.zip",
    response_class=Response,
    responses=file_of("application/zip"),
)
def get_ome_zarr(
    job_id: str, kind: str, caller: AuditedViewer, jobs: Jobs, slides: Slides, results: Results
) -> Response:
    """All classes of one heatmap as OME-Zarr 0.5 in a zip; micrometres from the slide's corner."""
    job, result = _with_layer(jobs, slides, results, job_id, kind)
    name = f"{_stem(job)}-{result.pipeline}-{kind}.ome.zarr"
    return _file(heatmap_zip(result, kind, folder=name), "application/zip", f"{name}.zip")


@router.get(
    "/jobs/{job_id}/heatmaps/{kind}.dcm",
    response_class=Response,
    responses=file_of("application/dicom") | refusals(ChangedSlideError),
)
def get_dicom(
    job_id: str,
    kind: str,
    caller: AuditedViewer,
    jobs: Jobs,
    slides: Slides,
    results: Results,
    intake: SlideIntake,
    slide_cache: Cache,
) -> Response:
    """All classes of one heatmap as a DICOM parametric map on the slide, which must be DICOM."""
    job, result = _with_layer(jobs, slides, results, job_id, kind)
    slide = slides.get(job.request.slide_id)
    if slide.vendor != "dicom":
        raise UnsupportedSlideError(
            slide.name,
            "heatmaps become DICOM for DICOM slides only; use OME-Zarr or GeoJSON",
        )
    intake.require_same(slide)
    with slide_cache.local(slide.path) as file:
        content = parametric_map(
            result,
            kind,
            file,
            result_id=job.result_id or job.id,
            made_at=job.finished_at or job.created_at,
        )
    return _file(content, "application/dicom", f"{_stem(job)}-{result.pipeline}-{kind}.dcm")


@router.get(
    "/jobs/{job_id}/heatmaps/{kind}.parquet",
    response_class=Response,
    responses=file_of("application/vnd.apache.parquet"),
)
def get_cells(
    job_id: str, kind: str, caller: AuditedViewer, jobs: Jobs, slides: Slides, results: Results
) -> Response:
    """One row per analyzed cell: its position and the score of each class."""
    job, result = _with_layer(jobs, slides, results, job_id, kind)
    name = f"{_stem(job)}-{result.pipeline}-{kind}.parquet"
    return _file(to_parquet(cell_columns(result, kind)), "application/vnd.apache.parquet", name)


@router.get("/slides/{slide_id}/report")
def get_report(slide_id: str, response: Response, caller: AuditedViewer, context: Ctx) -> ReportOut:
    """The content of the report, for screen, print and PDF.

    The report of a signed slide shows the results that were signed, not newer ones.
    """
    response.headers["Cache-Control"] = "private, no-store"
    return gather(context, context.slides.get(slide_id))


@router.get(
    "/slides/{slide_id}/report.pdf",
    response_class=Response,
    responses=file_of("application/pdf") | refusals(ChangedSlideError),
)
def get_report_pdf(slide_id: str, caller: AuditedViewer, context: Ctx) -> Response:
    """The same content as PDF."""
    # Late: matplotlib takes a while to load, and most services never draw a report.
    from service.exports.pdf import draw

    slide = context.slides.get(slide_id)
    report = gather(context, slide)
    content = draw(
        slide,
        report,
        take(context, slide, report),
        context.reviews.history(slide_id),
        context.annotations.of_slide(slide_id)[0],
    )
    return _file(content, "application/pdf", f"{slide_stem(slide.name)}-report.pdf")


def _with_layer(
    jobs: JobStore, slides: SlideRepository, results: ResultReader, job_id: str, kind: str
) -> tuple[Job, SlideResult]:
    job = scored_job(jobs, slides, job_id)
    result = results.of(job)
    if result.layer(kind) is None or result.grid is None:
        there = ", ".join(layer.kind for layer in result.layers) or "none"
        raise NotFoundError(f"{result.slide}: no heatmap {kind!r}; available: {there}")
    return job, result


def _stem(job: Job) -> str:
    return slide_stem(job.request.slide_name)


def _file(content: bytes, media_type: str, name: str) -> Response:
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    # Reports change with the review, and all of them are patient data.
    headers = {"Content-Disposition": disposition, "Cache-Control": "private, no-store"}
    return Response(content, media_type=media_type, headers=headers)
