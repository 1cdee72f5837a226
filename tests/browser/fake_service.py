"""The HTTP API in memory, for browser tests of the page that are quick and always the same.

Jobs move only when a test moves them, so no test waits for a clock.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from service.errors import ReviewError, SignedError, StaleError
from service.reviews.rules import next_version
from service.reviews.schemas import ModelCall, ReviewBrief, ReviewIn, ReviewOut
from tests.browser.fake_annotations import FakeAnnotations, annotation_app
from tests.browser.fake_rest import FakeBatch, FakeUpload, add_routes, problem
from tests.browser.fake_slide import FakeSlide, raw_png

NOW = "2026-01-05T09:30:00Z"
CLASSES = ["background", "benign", "cancer"]
FINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}
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
    reviews: dict[str, list[ReviewOut]] = field(default_factory=dict)
    missing_heatmaps: set[str] = field(default_factory=set)
    refuse_upload: dict[str, Any] | None = None
    upload_mpp: float | None = 0.5
    away: bool = False
    key: str | None = None
    blind: bool = False
    readers: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, FakeUpload] = field(default_factory=dict)
    batches: dict[str, FakeBatch] = field(default_factory=dict)
    quality: dict[str, dict[str, Any]] = field(default_factory=dict)
    tissue: set[str] = field(default_factory=set)
    annotations: FakeAnnotations = field(default_factory=FakeAnnotations)

    def reset(self) -> None:
        """As after ``Fake()``, keeping the pictures, which are slow to draw."""
        pictures = self.pictures
        self.__dict__.update(Fake(pictures=pictures).__dict__)
        for pipeline, architecture in (("patch", "resnet18"), ("whole-slide", "resnet50")):
            self.models.append(
                {
                    "name": f"{pipeline}-demo",
                    "pipeline": pipeline,
                    "architecture": architecture,
                    "classes": CLASSES,
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
        """A Slide as the API speaks it, with the newest job of each pipeline."""
        newest = {job["pipeline"]: job for job in self.jobs.values() if job["slide_id"] == slide_id}
        slide = {k: v for k, v in self.slides[slide_id].items() if k != "picture"}
        review = self.review(slide_id)
        return slide | {
            "results": [self._summary(job) for job in newest.values()],
            "quality": self.quality.get(slide_id),
            "review": self.brief(review) if review.version else None,
        }

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
        saved = next_version(self.review(slide_id), wish, seen, self._calls(slide_id))
        self.reviews.setdefault(slide_id, []).append(saved)
        return saved

    def _calls(self, slide_id: str) -> list[ModelCall]:
        return [
            ModelCall(
                pipeline=result["pipeline"],
                model=result["model"],
                job_id=job_id,
                class_name=max(result["probabilities"], key=result["probabilities"].get),
                probability=max(result["probabilities"].values()),
            )
            for job_id, result in self.results.items()
            if result["slide_id"] == slide_id and result["probabilities"]
        ]

    def _summary(self, job: dict[str, Any]) -> dict[str, Any]:
        result = self.results.get(job["id"], {})
        keys = ("pipeline", "model", "status", "progress", "stage", "error", "finished_at")
        return {key: job[key] for key in keys} | {
            "job_id": job["id"],
            "outcome": result.get("outcome"),
            "probabilities": result.get("probabilities", {}),
            "classes": result.get("classes", []),
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
        "centre_level0": {"x": cx, "y": cy},
        "class_name": "cancer",
        "score": score,
        "mean_score": score - 0.12,
        "area_um2": float(np.pi * radius**2 * 0.9 * 0.25),
    }


def make_app(fake: Fake, dist: Path) -> FastAPI:
    """The service over this state, serving the built page."""
    app = FastAPI()

    @app.middleware("http")
    async def note(request: Request, call_next: Any) -> Response:
        fake.requests.append(f"{request.method} {request.url.path}")
        if fake.away and request.url.path.startswith("/api"):
            return problem(503, "away", "The service is restarting.")
        if request.url.path == "/api/v1/session" and request.method == "POST":
            given = (await request.json())["key"]
            if given != fake.key:
                return problem(401, "unauthorized", "this key is not valid")
            fake.key = None
            return JSONResponse({"name": "A", "role": "pathologist"})
        if fake.key and request.url.path.startswith("/api"):
            return problem(401, "unauthorized", "send a key")
        answer: Response = await call_next(request)
        return answer

    _slide_routes(app, fake)
    _picture_routes(app, fake)
    _job_routes(app, fake)
    _review_routes(app, fake)
    add_routes(app, fake)
    app.mount("/api/v1", annotation_app(fake))
    app.mount("/", StaticFiles(directory=dist, html=True))
    return app


def _slide_routes(app: FastAPI, fake: Fake) -> None:
    @app.get("/api/v1/models")
    def models() -> list[dict[str, Any]]:
        return fake.models

    @app.get("/api/v1/slides")
    def slides(limit: int = 100, offset: int = 0) -> dict[str, Any]:
        ids = list(fake.slides)[offset : offset + limit]
        return {"items": [fake.slide_json(i) for i in ids], "total": len(fake.slides)}

    @app.get("/api/v1/slides/{slide_id}")
    def slide(slide_id: str) -> Response:
        if slide_id not in fake.slides:
            return problem(404, "not_found", "There is no such slide.")
        return JSONResponse(fake.slide_json(slide_id))

    @app.patch("/api/v1/slides/{slide_id}")
    async def patch(slide_id: str, request: Request) -> dict[str, Any]:
        fake.slides[slide_id]["mpp"] = (await request.json())["mpp"]
        return fake.slide_json(slide_id)


def _picture_routes(app: FastAPI, fake: Fake) -> None:
    def picture(slide_id: str) -> FakeSlide:
        return fake.pictures[fake.slides[slide_id]["picture"]]

    @app.get("/api/v1/slides/{slide_id}/thumbnail.jpg")
    def thumbnail(slide_id: str, max_px: int = 256) -> Response:
        return Response(picture(slide_id).thumbnail(max_px), media_type="image/jpeg")

    @app.get("/api/v1/slides/{slide_id}/slide.dzi")
    def dzi(slide_id: str) -> Response:
        return Response(picture(slide_id).dzi(), media_type="application/xml")

    @app.get("/api/v1/slides/{slide_id}/slide_files/{level}/{name}.jpeg")
    def tile(slide_id: str, level: int, name: str) -> Response:
        column, row = (int(part) for part in name.split("_"))
        data = picture(slide_id).tile(level, column, row)
        return Response(data, media_type="image/jpeg") if data else Response(status_code=404)


def _review_routes(app: FastAPI, fake: Fake) -> None:
    @app.get("/api/v1/slides/{slide_id}/review")
    def review(slide_id: str, request: Request) -> Response:
        newest = fake.review(slide_id)
        if request.headers.get("if-none-match") == f'"{newest.version}"':
            return Response(status_code=304)
        return JSONResponse(newest.model_dump(mode="json"))

    @app.get("/api/v1/reviews")
    def news(after: str = "") -> dict[str, Any]:
        briefs = [fake.brief(versions[-1]) for versions in fake.reviews.values()]
        return {"items": [brief for brief in briefs if brief["saved_at"] > after]}

    @app.put("/api/v1/slides/{slide_id}/review")
    async def save(slide_id: str, request: Request) -> Response:
        wish = ReviewIn.model_validate(await request.json())
        try:
            saved = fake.save_review(slide_id, wish, int(request.headers["if-match"].strip('"')))
        except StaleError as error:
            return problem(412, "stale", str(error))
        except ReviewError as error:
            return problem(422, "review", str(error))
        except SignedError as error:
            return problem(409, "signed", str(error))
        return JSONResponse(saved.model_dump(mode="json"))

    @app.get("/api/v1/slides/{slide_id}/review/history")
    def history(slide_id: str) -> dict[str, Any]:
        versions = reversed(fake.reviews.get(slide_id, []))
        return {"items": [version.model_dump(mode="json") for version in versions]}


def _job_routes(app: FastAPI, fake: Fake) -> None:
    @app.get("/api/v1/jobs")
    def jobs(slide_id: str | None = None, status: str | None = None) -> dict[str, Any]:
        found = [
            job
            for job in reversed(fake.jobs.values())
            if slide_id in (None, job["slide_id"]) and status in (None, job["status"])
        ]
        return {"items": found, "total": len(found)}

    @app.post("/api/v1/jobs")
    async def start(request: Request) -> Response:
        asked = await request.json()
        slide = fake.slides[asked["slide_id"]]
        if slide["mpp"] is None:
            return problem(422, "mpp", f"{slide['name']}: states no resolution; give mpp.")
        job_id = fake.add_job(asked["slide_id"], asked["pipeline"], model=asked.get("model"))
        return JSONResponse(fake.jobs[job_id], 202)

    @app.get("/api/v1/jobs/{job_id}")
    def job(job_id: str) -> dict[str, Any]:
        return fake.jobs[job_id]

    @app.post("/api/v1/jobs/{job_id}/cancel")
    def cancel(job_id: str) -> dict[str, Any]:
        fake.jobs[job_id]["status"] = "CANCELLED"
        return fake.jobs[job_id]

    @app.get("/api/v1/jobs/{job_id}/events")
    def events(job_id: str) -> StreamingResponse:
        return StreamingResponse(_events(fake, job_id), media_type="text/event-stream")

    @app.get("/api/v1/jobs/{job_id}/result")
    def result(job_id: str) -> Response:
        if job_id not in fake.results:
            return problem(409, "not_finished", "The job is not finished.")
        return JSONResponse(fake.results[job_id])

    @app.get("/api/v1/jobs/{job_id}/heatmaps/{kind}/{class_name}/overlay.png")
    def overlay(job_id: str, kind: str, class_name: str) -> Response:
        drawn = fake.pictures[fake.slides[fake.jobs[job_id]["slide_id"]]["picture"]]
        return Response(drawn.thumbnail(600), media_type="image/jpeg")

    @app.get("/api/v1/jobs/{job_id}/heatmaps/{kind}/{class_name}.png")
    def heatmap(job_id: str, kind: str, class_name: str) -> Response:
        if f"{kind}/{class_name}" in fake.missing_heatmaps:
            return problem(404, "missing", "The store holds no such heatmap.")
        made_of = fake.jobs[job_id]
        drawn = fake.pictures[fake.slides[made_of["slide_id"]]["picture"]]
        sharpness = 6 if kind == "probability" else 2.5
        values = drawn.heatmap(CELLS[made_of["pipeline"]], CLASSES.index(class_name), sharpness)
        return Response(raw_png(values), media_type="image/png")


async def _events(fake: Fake, job_id: str) -> AsyncIterator[str]:
    last = ""
    while True:
        job = fake.jobs.get(job_id)
        if job is None:
            return
        text = json.dumps(job)
        if text != last:
            last = text
            yield f"event: job\ndata: {text}\n\n"
        if job["status"] in FINAL:
            return
        await asyncio.sleep(0.05)
