"""Results out of slide stores. They never change, so what was read once is kept for a while."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from service.errors import NotFinishedError
from wsi.jobs import Job, JobStatus
from wsi.malignancy import malignant_classes, suspicion
from wsi.storage import SlideResult, SlideStore, get_result
from wsi.storage.result_store import KIND


@dataclass(frozen=True)
class Summary:
    """What lists show of a result.

    Attributes:
        quality: see ``wsi.pipelines.base.describe_quality``.
        hotspots: how many are listed.
        hotspot_total: how many there are in all, as far as the result says.
        hotspot_area_um2: tissue in them.
        hotspot_score: the highest of any.
        malignant: classes, most severe first.
        suspicion: probability that the slide is malignant; ``None`` where it is unknown.
        mpp: micrometres per level-0 pixel that the slide was taken to have.
    """

    outcome: str
    probabilities: Mapping[str, float]
    classes: tuple[str, ...]
    quality: Mapping[str, Any] | None = None
    model_digest: str = ""
    hotspots: int = 0
    warnings: tuple[str, ...] = ()
    mpp: float | None = None
    hotspot_total: int | None = None
    hotspot_area_um2: float = 0.0
    hotspot_score: float = 0.0
    malignant: tuple[str, ...] = ()
    suspicion: float | None = None


class ResultReader:
    """Reads results of ended jobs."""

    def __init__(self) -> None:
        # Heatmaps are small (a value a cell), so a few whole results fit easily.
        self._result = lru_cache(maxsize=16)(_read_result)
        self._summary = lru_cache(maxsize=65536)(_read_summary)

    def of(self, job: Job) -> SlideResult:
        """The result of a job.

        Raises:
            NotFinishedError: the job has none, and why.
        """
        return self._result(job.request.store_url, _result_id(job))

    def summary(self, job: Job) -> Summary:
        """Outcome and probabilities of a succeeded job. Raises ``NotFinishedError``."""
        return self._summary(job.request.store_url, _result_id(job))


def _result_id(job: Job) -> str:
    if job.status is JobStatus.SUCCEEDED and job.result_id is not None:
        return job.result_id
    if job.status is JobStatus.FAILED:
        raise NotFinishedError(f"the job failed: {job.error}", job.error_kind or "failed")
    raise NotFinishedError(
        f"the job has no result; it is {job.status}", f"job_{job.status.lower()}"
    )


def _read_result(store_url: str, result_id: str) -> SlideResult:
    return get_result(SlideStore(store_url, read_only=True), result_id)


def _read_summary(store_url: str, result_id: str) -> Summary:
    meta = SlideStore(store_url, read_only=True).get(KIND, result_id).meta
    sides = meta["details"].get("slide_mpp")
    spots = meta["hotspots"]
    malignant = malignant_classes(meta["classes"], meta.get("malignant"))
    area = meta.get("hotspot_area_um2")
    return Summary(
        meta["outcome"],
        meta["probabilities"],
        tuple(meta["classes"]),
        meta["details"].get("quality"),
        meta["model_digest"],
        len(spots),
        tuple(meta["warnings"]),
        mpp=math.sqrt(sides[0] * sides[1]) if sides else None,
        hotspot_total=meta.get("hotspot_total"),
        hotspot_area_um2=sum(s["area_um2"] for s in spots) if area is None else area,
        hotspot_score=max((spot["score"] for spot in spots), default=0.0),
        malignant=malignant,
        suspicion=suspicion(meta["probabilities"], malignant),
    )
