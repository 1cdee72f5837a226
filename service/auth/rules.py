"""Who may do what: one line an endpoint. An endpoint without a line is closed to everybody."""

from collections.abc import Mapping
from enum import IntEnum


class Role(IntEnum):
    """Each role may do what those below it may."""

    PUBLIC = 0
    VIEWER = 1
    PATHOLOGIST = 2
    OPERATOR = 3
    ADMIN = 4


RULES: Mapping[tuple[str, str], Role] = {
    ("GET", "/health"): Role.PUBLIC,
    ("GET", "/ready"): Role.PUBLIC,
    ("POST", "/session"): Role.PUBLIC,
    ("DELETE", "/session"): Role.PUBLIC,
    ("GET", "/session"): Role.VIEWER,
    ("GET", "/metrics"): Role.VIEWER,
    ("GET", "/workers"): Role.OPERATOR,
    ("GET", "/models"): Role.VIEWER,
    ("GET", "/slides"): Role.VIEWER,
    ("GET", "/slides/{slide_id}"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/thumbnail.jpg"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/slide.dzi"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/slide_files/{level}/{column}_{row}.jpeg"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/review"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/review/history"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/tissue"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/tissue.png"): Role.VIEWER,
    ("PUT", "/slides/{slide_id}/readers/{reader_id}"): Role.VIEWER,
    ("DELETE", "/slides/{slide_id}/readers/{reader_id}"): Role.VIEWER,
    ("GET", "/reviews"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/annotations"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/annotations/{annotation_id}/history"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/annotations.geojson"): Role.VIEWER,
    ("GET", "/annotation-classes"): Role.VIEWER,
    ("PUT", "/slides/{slide_id}/annotations/{annotation_id}"): Role.PATHOLOGIST,
    ("DELETE", "/slides/{slide_id}/annotations/{annotation_id}"): Role.PATHOLOGIST,
    ("POST", "/slides/{slide_id}/annotations.geojson"): Role.PATHOLOGIST,
    ("PUT", "/slides/{slide_id}/review"): Role.PATHOLOGIST,
    ("PATCH", "/slides/{slide_id}"): Role.PATHOLOGIST,
    ("GET", "/slides/{slide_id}/associated"): Role.OPERATOR,
    ("GET", "/slides/{slide_id}/associated/{name}.jpg"): Role.OPERATOR,
    ("POST", "/slides/{slide_id}/redact"): Role.OPERATOR,
    ("DELETE", "/slides/{slide_id}"): Role.OPERATOR,
    ("POST", "/slides"): Role.OPERATOR,
    ("POST", "/slides/registrations"): Role.OPERATOR,
    ("OPTIONS", "/uploads"): Role.PUBLIC,
    ("POST", "/uploads"): Role.OPERATOR,
    ("GET", "/uploads/{upload_id}"): Role.OPERATOR,
    ("PATCH", "/uploads/{upload_id}"): Role.OPERATOR,
    ("DELETE", "/uploads/{upload_id}"): Role.OPERATOR,
    ("GET", "/jobs"): Role.VIEWER,
    ("GET", "/jobs/{job_id}"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/events"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/result"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/hotspots.geojson"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/heatmaps/{kind}/{class_name}.png"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/heatmaps/{kind}/{class_name}/overlay.png"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/heatmaps/{kind}.ome.zarr.zip"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/heatmaps/{kind}.dcm"): Role.VIEWER,
    ("GET", "/jobs/{job_id}/heatmaps/{kind}.parquet"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/report"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/report.pdf"): Role.VIEWER,
    ("POST", "/jobs"): Role.PATHOLOGIST,
    ("POST", "/jobs/{job_id}/cancel"): Role.PATHOLOGIST,
    ("GET", "/batches"): Role.VIEWER,
    ("GET", "/batches/{batch_id}"): Role.VIEWER,
    ("GET", "/batches/{batch_id}/items"): Role.VIEWER,
    ("GET", "/batches/{batch_id}/events"): Role.VIEWER,
    ("GET", "/batches/{batch_id}/results.csv"): Role.VIEWER,
    ("GET", "/batches/{batch_id}/results.parquet"): Role.VIEWER,
    ("POST", "/batches"): Role.OPERATOR,
    ("POST", "/batches/table"): Role.OPERATOR,
    ("POST", "/batches/folder"): Role.OPERATOR,
    ("POST", "/batches/{batch_id}/retry"): Role.OPERATOR,
    ("POST", "/batches/{batch_id}/cancel"): Role.OPERATOR,
    ("GET", "/keys"): Role.ADMIN,
    ("POST", "/keys"): Role.ADMIN,
    ("DELETE", "/keys/{key_id}"): Role.ADMIN,
    ("GET", "/audit"): Role.ADMIN,
}

AUDITED_READS = frozenset(
    {
        "/slides/{slide_id}/slide.dzi",
        "/slides/{slide_id}/associated",
        "/slides/{slide_id}/associated/{name}.jpg",
        "/slides/{slide_id}/review",
        "/slides/{slide_id}/review/history",
        "/slides/{slide_id}/annotations.geojson",
        "/slides/{slide_id}/annotations/{annotation_id}/history",
        "/jobs/{job_id}/result",
        "/jobs/{job_id}/hotspots.geojson",
        "/jobs/{job_id}/heatmaps/{kind}/{class_name}.png",
        "/jobs/{job_id}/heatmaps/{kind}/{class_name}/overlay.png",
        "/jobs/{job_id}/heatmaps/{kind}.ome.zarr.zip",
        "/jobs/{job_id}/heatmaps/{kind}.dcm",
        "/jobs/{job_id}/heatmaps/{kind}.parquet",
        "/slides/{slide_id}/report",
        "/slides/{slide_id}/report.pdf",
        "/batches/{batch_id}/results.csv",
        "/batches/{batch_id}/results.parquet",
        "/audit",
    }
)
"""Reads that the audit log names; changes are in it always. Tiles are not: the .dzi before is."""
UNAUDITED = frozenset({"/health", "/ready", "/metrics", "/slides/{slide_id}/readers/{reader_id}"})
