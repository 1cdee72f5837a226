"""The fake service's routes: the API over what ``Fake`` knows, and the built page."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from service.errors import ReviewError, SignedError, StaleError
from service.reviews.schemas import ReviewIn
from tests.browser.fake_annotations import annotation_app
from tests.browser.fake_report import add_report_route
from tests.browser.fake_rest import add_routes, problem
from tests.browser.fake_service import CELLS, CLASSES, Fake
from tests.browser.fake_slide import FakeSlide, raw_png

FINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}


def make_app(fake: Fake, dist: Path) -> FastAPI:
    """The service over this state, serving the built page."""
    app = FastAPI()

    @app.middleware("http")
    async def note(request: Request, call_next: Any) -> Response:
        fake.requests.append(f"{request.method} {request.url.path}")
        fake.busy += 1
        try:
            refusal = await _refusal(fake, request)
            answer: Response = refusal or await call_next(request)
        finally:
            fake.busy -= 1
        return answer

    _slide_routes(app, fake)
    _picture_routes(app, fake)
    _job_routes(app, fake)
    _review_routes(app, fake)
    add_routes(app, fake)
    add_report_route(app, fake)
    app.mount("/api/v1", annotation_app(fake))
    app.mount("/", StaticFiles(directory=dist, html=True))
    return app


async def _refusal(fake: Fake, request: Request) -> Response | None:
    """The answer of a service that is away, asks for a key, or takes no changes."""
    path, method = request.url.path, request.method
    if not path.startswith("/api"):
        return None
    if fake.away:
        return problem(503, "away", "The service is restarting.")
    if path == "/api/v1/session" and method == "POST":
        given = (await request.json())["key"]
        if given != fake.key:
            return problem(401, "unauthorized", "this key is not valid")
        fake.key = None
        me = {"name": fake.reader or "local", "role": "admin", "blind_first_read": fake.blind}
        return JSONResponse(me | {"known_by": "key" if fake.reader else "nothing"})
    if fake.key:
        return problem(401, "unauthorized", "send a key")
    if fake.refuse_changes and method in ("PUT", "DELETE") and "/readers/" not in path:
        return problem(*fake.refuse_changes)
    return None


def _slide_routes(app: FastAPI, fake: Fake) -> None:
    @app.get("/api/v1/models")
    def models() -> list[dict[str, Any]]:
        return fake.models

    @app.get("/api/v1/slides")
    def slides(limit: int = 100, offset: int = 0) -> dict[str, Any]:
        ids = list(reversed(fake.slides))[offset : offset + limit]
        return {"items": [fake.slide_json(i) for i in ids], "total": len(fake.slides)}

    @app.get("/api/v1/slides/{slide_id}")
    def slide(slide_id: str) -> Response:
        if slide_id not in fake.slides:
            return problem(404, "not_found", "There is no such slide.")
        return JSONResponse(fake.slide_json(slide_id))

    @app.patch("/api/v1/slides/{slide_id}")
    async def patch(slide_id: str, request: Request) -> dict[str, Any]:
        given = (await request.json())["mpp"]
        slide = fake.slides[slide_id]
        trusted = None if slide["mpp_problem"] else slide["stated_mpp"]
        slide.update(given_mpp=given, mpp=trusted if given is None else given)
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
        if level >= fake.damaged_from_level:
            return problem(422, "damaged", "The file is damaged here.")
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
        # Classes of other models than the usual ones look like cancer.
        index = CLASSES.index(class_name) if class_name in CLASSES else -1
        values = drawn.heatmap(CELLS[made_of["pipeline"]], index, sharpness)
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
