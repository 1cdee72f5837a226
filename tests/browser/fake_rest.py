"""More of the API in memory: uploads, batches, who reads, tissue."""

import asyncio
import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from PIL import Image

if TYPE_CHECKING:
    from tests.browser.fake_service import Fake

LAYERS = ("tissue", "blur", "pen", "fold", "dust", "bubble", "unreadable")


@dataclass
class FakeUpload:
    """A resumable upload."""

    name: str
    length: int
    data: bytes = b""
    slide_id: str | None = None


@dataclass
class FakeBatch:
    """A batch: its items point at jobs, or say why there is none."""

    name: str
    items: list[dict[str, Any]] = field(default_factory=list)


def problem(status: int, kind: str, detail: str) -> JSONResponse:
    """An error as RFC 9457 writes it."""
    body = {"type": "about:blank", "title": kind, "status": status, "detail": detail, "kind": kind}
    return JSONResponse(body, status, media_type="application/problem+json")


def add_routes(app: FastAPI, fake: "Fake") -> None:
    """Add all of them."""
    _session_routes(app, fake)
    _upload_routes(app, fake)
    _batch_routes(app, fake)
    _tissue_routes(app, fake)


def _session_routes(app: FastAPI, fake: "Fake") -> None:
    @app.get("/api/v1/session")
    def me() -> dict[str, Any]:
        return {
            "name": fake.reader or "local",
            "role": "admin",
            "known_by": "key" if fake.reader else "nothing",
            "blind_first_read": fake.blind,
        }

    @app.put("/api/v1/slides/{slide_id}/readers/{reader}")
    async def stay(slide_id: str, reader: str, request: Request) -> dict[str, Any]:
        fake.readers[slide_id, reader] = (await request.json())["name"]
        others = [
            {"name": name}
            for (at, who), name in fake.readers.items()
            if at == slide_id and who != reader
        ]
        return {"items": others}

    @app.delete("/api/v1/slides/{slide_id}/readers/{reader}", status_code=204)
    def leave(slide_id: str, reader: str) -> None:
        fake.readers.pop((slide_id, reader), None)


def _upload_routes(app: FastAPI, fake: "Fake") -> None:
    @app.post("/api/v1/uploads")
    def create(request: Request) -> Response:
        pairs = (pair.split(" ") for pair in request.headers["upload-metadata"].split(","))
        metadata = {key: base64.b64decode(value).decode() for key, value in pairs}
        upload_id = f"upload-{len(fake.uploads) + 1}"
        length = int(request.headers["upload-length"])
        fake.uploads[upload_id] = FakeUpload(metadata["filename"], length)
        return _tus(201, {"Location": f"/api/v1/uploads/{upload_id}"})

    @app.head("/api/v1/uploads/{upload_id}")
    def head(upload_id: str) -> Response:
        upload = fake.uploads.get(upload_id)
        if upload is None:
            return _tus(404)
        offset = {"Upload-Offset": str(len(upload.data)), "Upload-Length": str(upload.length)}
        return _tus(200, offset)

    @app.get("/api/v1/uploads/{upload_id}")
    def get(upload_id: str) -> dict[str, Any]:
        return {"id": upload_id, "slide_id": fake.uploads[upload_id].slide_id}

    @app.patch("/api/v1/uploads/{upload_id}")
    async def append(upload_id: str, request: Request) -> Response:
        upload = fake.uploads[upload_id]
        piece = await request.body()
        assert int(request.headers["upload-offset"]) == len(upload.data)
        digest = base64.b64encode(hashlib.sha256(piece).digest()).decode()
        assert request.headers["upload-checksum"] == f"sha256 {digest}"
        if fake.refuse_upload:
            return problem(422, **fake.refuse_upload)
        upload.data += piece
        if len(upload.data) == upload.length:
            upload.slide_id = fake.add_slide(upload.name, mpp=fake.upload_mpp)
        return _tus(204, {"Upload-Offset": str(len(upload.data))})


def _tus(status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(status_code=status, headers={"Tus-Resumable": "1.0.0", **(headers or {})})


def _batch_routes(app: FastAPI, fake: "Fake") -> None:
    def shown(batch_id: str) -> dict[str, Any]:
        batch = fake.batches[batch_id]
        jobs = [fake.jobs.get(item["job_id"]) for item in batch.items]
        counts = Counter(job["status"] if job else "REFUSED" for job in jobs)
        finished = not (counts["QUEUED"] or counts["RUNNING"])
        done = sum(job["progress"] if job else 1.0 for job in jobs)
        return {
            "id": batch_id,
            "name": batch.name,
            "created_at": "2026-01-05T09:30:00Z",
            "total": len(jobs),
            "counts": dict(counts),
            "progress": done / max(1, len(jobs)),
            "finished": finished,
        }

    @app.post("/api/v1/batches")
    async def start(request: Request) -> Response:
        wish = await request.json()
        batch = FakeBatch(wish["name"])
        for slide_id in wish["slide_ids"]:
            for pipeline in wish["pipelines"]:
                refusal = None
                if fake.slides[slide_id]["mpp"] is None:
                    refusal = f"{fake.slides[slide_id]['name']}: states no resolution"
                job_id = None if refusal else fake.add_job(slide_id, pipeline)
                batch.items.append(
                    {
                        "slide_id": slide_id,
                        "pipeline": pipeline,
                        "job_id": job_id,
                        "error": refusal,
                    }
                )
        batch_id = f"batch-{len(fake.batches) + 1}"
        fake.batches[batch_id] = batch
        return JSONResponse(shown(batch_id), 202)

    @app.get("/api/v1/batches")
    def batches() -> dict[str, Any]:
        return {"items": [shown(i) for i in reversed(fake.batches)], "total": len(fake.batches)}

    @app.get("/api/v1/batches/{batch_id}")
    def batch(batch_id: str) -> dict[str, Any]:
        return shown(batch_id)

    @app.get("/api/v1/batches/{batch_id}/items")
    def items(batch_id: str, offset: int = 0) -> dict[str, Any]:
        found = [
            item | {"job": fake.jobs.get(item["job_id"])} for item in fake.batches[batch_id].items
        ]
        return {"items": found[offset:], "total": len(found)}

    @app.post("/api/v1/batches/{batch_id}/retry")
    def retry(batch_id: str) -> dict[str, Any]:
        for item in fake.batches[batch_id].items:
            job = fake.jobs.get(item["job_id"])
            if job and job["status"] == "FAILED":
                item["job_id"] = fake.add_job(job["slide_id"], job["pipeline"])
        return shown(batch_id)

    @app.get("/api/v1/batches/{batch_id}/events")
    def events(batch_id: str) -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            last = ""
            while batch_id in fake.batches:
                now = shown(batch_id)
                text = json.dumps(now)
                if text != last:
                    last = text
                    yield f"event: batch\ndata: {text}\n\n"
                if now["finished"]:
                    return
                await asyncio.sleep(0.05)

        return StreamingResponse(stream(), media_type="text/event-stream")


def _tissue_routes(app: FastAPI, fake: "Fake") -> None:
    @app.get("/api/v1/slides/{slide_id}/tissue")
    def tissue(slide_id: str) -> dict[str, Any]:
        if slide_id not in fake.tissue:
            return {"layers": [], "reasons": [], "digest": ""}
        shares = {"tissue": 0.31, "blur": 0.24, "fold": 0.05}
        layers = [
            {"name": name, "bit": 1 << place, "share": shares.get(name, 0.0)}
            for place, name in enumerate(LAYERS)
        ]
        return {"layers": layers, "reasons": [], "digest": "d1"}

    @app.get("/api/v1/slides/{slide_id}/tissue.png")
    def tissue_picture(slide_id: str) -> Response:
        found = fake.pictures[fake.slides[slide_id]["picture"]].tissue
        bits = found.astype(np.uint8)
        rows, columns = found.shape
        y, x = np.mgrid[0:rows, 0:columns]
        bits |= (found & (x > columns * 0.6)).astype(np.uint8) << 1
        bits |= (found & (abs(y - rows * 0.35) < 2) & (x < columns * 0.4)).astype(np.uint8) << 3
        out = io.BytesIO()
        Image.fromarray(bits).save(out, "PNG")
        return Response(out.getvalue(), media_type="image/png")
