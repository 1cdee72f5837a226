"""What the fake service knows, for browser tests of the page that are quick and always the same.

Jobs move only when a test moves them, so no test waits for a clock.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.reviews.rules import Evidence, next_version
from service.reviews.schemas import ModelCall, ReviewBrief, ReviewIn, ReviewOut, SignedRun
from tests.browser.fake_annotations import FakeAnnotations
from tests.browser.fake_rest import FakeBatch, FakeUpload
from tests.browser.fake_slide import FakeSlide

NOW = "2026-01-05T09:30:00Z"
CLASSES = ["background", "benign", "cancer"]
# As RunBrief has it.
RUN = ["model", "status", "progress", "stage", "error_kind", "error", "created_at", "finished_at"]
CELLS = {"patch": 64, "whole-slide": 128}


@dataclass
class Fake:
    """Everything that the fake service knows. Tests read and change it."""

    pictures: dict[str, FakeSlide] = field(default_factory=dict)
    slides: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    busy: int = 0  # Requests that are being answered.
    reviews: dict[str, list[ReviewOut]] = field(default_factory=dict)
    missing_heatmaps: set[str] = field(default_factory=set)
    refuse_upload: dict[str, Any] | None = None
    # Every change is refused: status, kind, detail.
    refuse_changes: tuple[int, str, str] | None = None
    upload_mpp: float | None = 0.5
    away: bool = False
    # Tiles of this Deep Zoom level and finer ones do not decode.
    damaged_from_level: int = 99
    key: str | None = None
    # Whose key the page was opened with; None where keys are off.
    reader: str | None = None
    blind: bool = False
    readers: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, FakeUpload] = field(default_factory=dict)
    batches: dict[str, FakeBatch] = field(default_factory=dict)
    quality: dict[str, dict[str, Any]] = field(default_factory=dict)
    tissue: set[str] = field(default_factory=set)
    annotations: FakeAnnotations = field(default_factory=FakeAnnotations)

    def reset(self) -> None:
        """As after ``Fake()``, keeping the pictures, which are slow to draw."""
        kept = Fake(pictures=self.pictures, busy=self.busy)
        self.__dict__.update(kept.__dict__)
        for pipeline, architecture in (("patch", "resnet18"), ("whole-slide", "resnet50")):
            self.models.append(
                {
                    "name": f"{pipeline}-demo",
                    "pipeline": pipeline,
                    "architecture": architecture,
                    "classes": CLASSES,
                    "malignant": ["cancer"],
                    "mpp": 0.5,
                    "digest": "9f2c" * 16,
                    "created_at": NOW,
                    "metrics": {},
                }
            )

    def add_slide(self, name: str, *, mpp: float | None = 0.5, picture: int = 1) -> str:
        """A slide without results; returns its id."""
        slide_id = f"slide-{len(self.slides) + 1}"
        drawn = self.pictures.setdefault(str(picture), FakeSlide(picture))
        self.slides[slide_id] = {
            "id": slide_id,
            "name": name,
            "sha256": f"{len(self.slides):064x}",
            "size_bytes": 184_000_000 + 1_700_000 * len(self.slides),
            "vendor": "aperio",
            "width": drawn.width,
            "height": drawn.height,
            "levels": 3,
            "mpp": mpp,
            "stated_mpp": mpp,
            "given_mpp": None,
            "mpp_problem": "",
            "magnification": 20.0 if mpp else None,
            "created_at": NOW,
            "picture": str(picture),
        }
        return slide_id

    def add_job(
        self, slide_id: str, pipeline: str, status: str = "QUEUED", model: str | None = None
    ) -> str:
        """A job in this state, without a result; returns its id."""
        job_id = f"job-{len(self.jobs) + 1}"
        self.jobs[job_id] = {
            "id": job_id,
            "slide_id": slide_id,
            "slide_name": self.slides[slide_id]["name"],
            "pipeline": pipeline,
            "model": model or f"{pipeline}-demo",
            "status": status,
            "progress": 0.0,
            "stage": "",
            "attempt": 1,
            "created_at": NOW,
            "started_at": NOW,
            "finished_at": None,
            "error_kind": None,
            "error": None,
            "cancel_requested": False,
        }
        return job_id

    def finish(self, job_id: str, cancer: float, **changes: Any) -> None:
        """The job succeeds with this probability of cancer."""
        job = self.jobs[job_id]
        picture = self.pictures[self.slides[job["slide_id"]]["picture"]]
        self.results[job_id] = make_result(job, picture, cancer) | changes
        job.update(status="SUCCEEDED", progress=1.0, stage="done", finished_at=NOW)

    def fail(self, job_id: str, reason: str) -> None:
        """The job fails with this reason."""
        self.jobs[job_id].update(status="FAILED", error=reason, error_kind="damaged")

    def scored_slide(self, name: str, patch: float, whole: float, picture: int = 1) -> str:
        """A slide that both pipelines have scored."""
        slide_id = self.add_slide(name, picture=picture)
        self.finish(self.add_job(slide_id, "patch"), patch)
        self.finish(self.add_job(slide_id, "whole-slide"), whole)
        return slide_id

    def slide_json(self, slide_id: str) -> dict[str, Any]:
        """A Slide as the API speaks it, with what counts of each pipeline: its last success."""
        newest = {job["pipeline"]: job for job in self.jobs.values() if job["slide_id"] == slide_id}
        slide = {k: v for k, v in self.slides[slide_id].items() if k != "picture"}
        review = self.review(slide_id)
        return slide | {
            "results": [self._summary(self._standing(job), job) for job in newest.values()],
            "quality": self.quality.get(slide_id),
            "review": self.brief(review) if review.version else None,
            "refusal": self._refusal(slide_id),
        }

    def _refusal(self, slide_id: str) -> str | None:
        """Why a batch last refused the slide, until its resolution is given."""
        items = [item for batch in self.batches.values() for item in batch.items]
        errors = [item.get("error") for item in items if item["slide_id"] == slide_id]
        return errors[-1] if errors and self.slides[slide_id]["mpp"] is None else None

    def brief(self, review: ReviewOut) -> dict[str, Any]:
        """A review as lists show it."""
        shown = review.model_dump(include=set(ReviewBrief.model_fields))
        return ReviewBrief(**shown).model_dump(mode="json")

    def review(self, slide_id: str) -> ReviewOut:
        """The newest version of a slide's review."""
        versions = self.reviews.get(slide_id)
        return versions[-1] if versions else ReviewOut(slide_id=slide_id, version=0)

    def save_review(self, slide_id: str, wish: ReviewIn, seen: int) -> ReviewOut:
        """The next version, by the rules of the real service."""
        evidence = self._evidence(slide_id, wish)
        saved = next_version(self.review(slide_id), wish, seen, evidence, self.reader)
        self.reviews.setdefault(slide_id, []).append(saved)
        return saved

    def _evidence(self, slide_id: str, wish: ReviewIn) -> Evidence:
        newest = {
            result["pipeline"]: job_id
            for job_id, result in self.results.items()
            if result["slide_id"] == slide_id
        }
        before = [run.job_id for run in self.review(slide_id).runs]
        shown = list(newest.values())
        if wish.status == "signed":
            shown = wish.shown_runs if wish.shown_runs is not None else before or shown
        return Evidence(
            calls=self._calls(shown),
            runs=[self._run(job_id) for job_id in shown],
            hotspots={
                (spot.job_id, spot.index): (
                    self.results[spot.job_id]["hotspots"][spot.index]["class_name"],
                    ["cancer"],
                )
                for spot in wish.hotspots
                if spot.job_id in self.results
            },
            unseen=[name for name, job_id in newest.items() if job_id not in shown],
        )

    def _run(self, job_id: str) -> SignedRun:
        result = self.results[job_id]
        return SignedRun(
            pipeline=result["pipeline"],
            job_id=job_id,
            model=result["model"],
            outcome=result["outcome"],
            probabilities=result["probabilities"],
        )

    def _calls(self, shown: list[str]) -> list[ModelCall]:
        return [
            ModelCall(
                pipeline=result["pipeline"],
                model=result["model"],
                job_id=job_id,
                class_name=max(result["probabilities"], key=result["probabilities"].get),
                probability=max(result["probabilities"].values()),
            )
            for job_id in shown
            if (result := self.results[job_id])["probabilities"]
        ]

    def _standing(self, newest: dict[str, Any]) -> dict[str, Any]:
        place = (newest["slide_id"], newest["pipeline"])
        done = [
            job
            for job in self.jobs.values()
            if job["status"] == "SUCCEEDED" and (job["slide_id"], job["pipeline"]) == place
        ]
        return done[-1] if done else newest

    def _summary(self, job: dict[str, Any], newest: dict[str, Any]) -> dict[str, Any]:
        result = self.results.get(job["id"], {})
        run = {name: newest[name] for name in RUN} | {"job_id": newest["id"]}
        keys = ("pipeline", "model", "status", "progress", "stage", "error", "finished_at")
        return {key: job[key] for key in keys} | {
            "job_id": job["id"],
            "outcome": result.get("outcome"),
            "probabilities": result.get("probabilities", {}),
            "classes": result.get("classes", []),
            "malignant": result.get("malignant", []),
            "suspicion": result.get("suspicion"),
            "hotspot_total": result.get("hotspot_total"),
            "hotspot_area_um2": sum(spot["area_um2"] for spot in result.get("hotspots", [])),
            "hotspot_score": max((s["score"] for s in result.get("hotspots", [])), default=None),
            "warnings": result.get("warnings", []),
            "newer_run": None if newest is job else run,
        }


def make_result(job: dict[str, Any], picture: FakeSlide, cancer: float) -> dict[str, Any]:
    """A Result as the API speaks it."""
    cell = CELLS[job["pipeline"]]
    values = picture.heatmap(cell, 2, 6)
    hotspots = [_hotspot(picture, spot, 0.97 - 0.08 * i) for i, spot in enumerate(picture.tumour)]
    rest = 1 - cancer
    return {
        "job_id": job["id"],
        "slide_id": job["slide_id"],
        "slide": job["slide_name"],
        "pipeline": job["pipeline"],
        "model": job["model"],
        "model_digest": "9f2c" * 16,
        "classes": CLASSES,
        "probabilities": {"background": 0.1 * rest, "benign": 0.9 * rest, "cancer": cancer},
        "outcome": "scored",
        "grid": {
            "origin_level0": {"x": 0.0, "y": 0.0},
            "cell_level0": [float(cell), float(cell)],
            "shape": list(values.shape),
            "mpp": cell * 0.5,
        },
        "layers": ["probability", "gradcam"],
        "hotspots": hotspots,
        "hotspot_total": len(hotspots),
        "hotspot_threshold": 0.5,
        "malignant": ["cancer"],
        "suspicion": cancer,
        "damaged": [],
        "timings_s": {"tissue": 0.4, "patches": 6.1, "heatmaps": 1.3},
        "details": {},
        "warnings": [],
        "urls": {},
    }


def _hotspot(picture: FakeSlide, spot: tuple[float, float, float], score: float) -> dict[str, Any]:
    cx, cy, radius = (value * picture.width for value in spot)
    angles = np.linspace(0, 2 * np.pi, 25)
    ring = [[float(cx + radius * np.cos(a)), float(cy + radius * np.sin(a) * 0.9)] for a in angles]
    return {
        "polygon_level0": ring,
        "holes_level0": [],
        "centre_level0": {"x": cx, "y": cy},
        "class_name": "cancer",
        "score": score,
        "mean_score": score - 0.12,
        "area_um2": float(np.pi * radius**2 * 0.9 * 0.25),
    }
