"""Reading and saving reviews."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, BeforeValidator

from service.auth.access import AuditedViewer, Pathologist, Viewer
from service.auth.authenticator import LOCAL
from service.caching import not_modified
from service.context import Ctx, Reviews, Slides
from service.errors import SignedError
from service.preconditions import IfMatch, seen_version
from service.responses import NOT_MODIFIED, refusals
from service.reviews.evidence import gather
from service.reviews.rules import next_version
from service.reviews.schemas import (
    ReviewHistory,
    ReviewIn,
    ReviewNews,
    ReviewOut,
)

router = APIRouter(prefix="/slides/{slide_id}/review", tags=["reviews"])
news = APIRouter(prefix="/reviews", tags=["reviews"])

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def _written_out(value: object) -> object:
    """A bare number would be taken for seconds since 1970, which nobody promised."""
    if isinstance(value, str) and not re.match(r"\d{4}-", value):
        raise ValueError("must be a time like 2026-01-31T12:00:00Z")
    return value


@news.get("")
def list_news(
    caller: Viewer,
    reviews: Reviews,
    after: Annotated[AwareDatetime, BeforeValidator(_written_out)] = _ALWAYS,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> ReviewNews:
    """Reviews saved after a point in time, oldest first: for worklists to follow other readers."""
    return ReviewNews(items=reviews.saved_after(after, limit=limit))


@router.get("", response_model=ReviewOut, responses=NOT_MODIFIED)
def get_review(
    slide_id: str,
    request: Request,
    response: Response,
    caller: AuditedViewer,
    slides: Slides,
    reviews: Reviews,
) -> object:
    """The newest version. Send its ETag as If-Match to save the next one."""
    slides.get(slide_id)
    review = reviews.latest(slide_id)
    etag = _etag(review)
    if not_modified(request, etag):
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "no-cache"
    return review


@router.put("", responses=refusals(SignedError))
def save_review(
    slide_id: str,
    body: ReviewIn,
    response: Response,
    caller: Pathologist,
    context: Ctx,
    if_match: IfMatch = None,
) -> ReviewOut:
    """Save the next version. 412 if somebody else saved in between: nothing is overwritten.

    With keys on, the reviewer is the name of the key or token, whatever is sent. A signature refers
    to the results in ``shown_runs`` permanently: reports show these, not later ones.
    """
    context.slides.get(slide_id)
    expected = seen_version(if_match)
    before = context.reviews.latest(slide_id)
    known_as = None if caller is LOCAL else caller.name
    review = next_version(before, body, expected, gather(context, before, body), known_as)
    context.reviews.add(review)
    response.headers["ETag"] = _etag(review)
    return review


@router.get("/history")
def get_history(
    slide_id: str, caller: AuditedViewer, slides: Slides, reviews: Reviews
) -> ReviewHistory:
    """All saved versions, newest first."""
    slides.get(slide_id)
    return ReviewHistory(items=reviews.history(slide_id))


def _etag(review: ReviewOut) -> str:
    return f'"{review.version}"'
