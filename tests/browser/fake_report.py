"""The report's content in memory, put together by the rules of the real service."""

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from service.exports.report import choose_spots, outcome_text, spot_out
from wsi.geometry import Point
from wsi.storage import Hotspot

if TYPE_CHECKING:
    from tests.browser.fake_service import Fake


def add_report_route(app: FastAPI, fake: "Fake") -> None:
    """Add it."""

    @app.get("/api/v1/slides/{slide_id}/report")
    def report(slide_id: str) -> dict[str, Any]:
        review = fake.review(slide_id)
        newest = {
            result["pipeline"]: job_id
            for job_id, result in fake.results.items()
            if result["slide_id"] == slide_id
        }
        signed = review.status == "signed"
        shown = [run.job_id for run in review.runs] if signed else list(newest.values())
        later = [job_id for job_id in newest.values() if job_id not in shown]
        said = {spot.job_id for spot in review.hotspots if spot.decision or spot.comment}
        earlier = [job_id for job_id in fake.results if job_id in said - set(shown)]
        return {
            "slide_id": slide_id,
            "resolution": "0.5 µm/px, as the file states",
            "review": review.model_dump(mode="json"),
            "runs": [_run(fake, slide_id, job_id) for job_id in shown]
            + [_run(fake, slide_id, job_id, earlier=True) for job_id in earlier],
            "newer_runs": [
                {key: fake.jobs[job_id][key] for key in ("pipeline", "model", "finished_at")}
                for job_id in later
            ],
        }


def _run(fake: "Fake", slide_id: str, job_id: str, *, earlier: bool = False) -> dict[str, Any]:
    result = fake.results[job_id]
    spots = [_hotspot(spot) for spot in result["hotspots"]]
    said = {spot.index: spot for spot in fake.review(slide_id).hotspots if spot.job_id == job_id}
    chosen, note = choose_spots(spots, said, only_decided=earlier)
    return {
        "pipeline": result["pipeline"],
        "model": result["model"],
        "model_digest": result["model_digest"],
        "job_id": job_id,
        "finished_at": fake.jobs[job_id]["finished_at"],
        "outcome": result["outcome"],
        "outcome_text": outcome_text(result["outcome"]),
        "probabilities": result["probabilities"],
        "resolution": "0.5 µm/px, as the file states",
        "warnings": result["warnings"],
        "map": {"kind": "probability", "class_name": "cancer"} if result["layers"] else None,
        "spots": [spot_out(at, spots[at], said.get(at)).model_dump() for at in chosen],
        "spots_note": note if result["outcome"] == "scored" else "",
        "earlier": earlier,
    }


def _hotspot(spot: dict[str, Any]) -> Hotspot:
    return Hotspot(
        polygon_level0=tuple((x, y) for x, y in spot["polygon_level0"]),
        centre_level0=Point(**spot["centre_level0"]),
        class_name=spot["class_name"],
        score=spot["score"],
        mean_score=spot["mean_score"],
        area_um2=spot["area_um2"],
    )
