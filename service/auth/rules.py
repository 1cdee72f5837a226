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
    ("GET", "/models"): Role.VIEWER,
    ("GET", "/slides"): Role.VIEWER,
    ("GET", "/slides/{slide_id}"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/thumbnail.jpg"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/slide.dzi"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/slide_files/{level}/{column}_{row}.jpeg"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/review"): Role.VIEWER,
    ("GET", "/slides/{slide_id}/review/history"): Role.VIEWER,
    ("PUT", "/slides/{slide_id}/review"): Role.PATHOLOGIST,
    ("PATCH", "/slides/{slide_id}"): Role.PATHOLOGIST,
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
    ("POST", "/jobs"): Role.PATHOLOGIST,
    ("POST", "/jobs/{job_id}/cancel"): Role.PATHOLOGIST,
    ("GET", "/batches"): Role.VIEWER,
    ("GET", "/batches/{batch_id}"): Role.VIEWER,
    ("GET", "/batches/{batch_id}/items"): Role.VIEWER,
    ("GET", "/batches/{batch_id}/events"): Role.VIEWER,
    ("GET", "/batches/{batch_id}/results.csv"): Role.VIEWER,
    ("POST", "/batches"): Role.OPERATOR,
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
        "/slides/{slide_id}/review",
        "/slides/{slide_id}/review/history",
        "/jobs/{job_id}/result",
        "/jobs/{job_id}/hotspots.geojson",
        "/jobs/{job_id}/heatmaps/{kind}/{class_name}.png",
        "/jobs/{job_id}/heatmaps/{kind}/{class_name}/overlay.png",
        "/batches/{batch_id}/results.csv",
        "/audit",
    }
)
"""Reads that the audit log names; changes are in it always. Tiles are not: the .dzi before is."""
UNAUDITED = frozenset({"/health", "/ready", "/metrics"})
