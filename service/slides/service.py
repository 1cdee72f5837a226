"""Slides as clients see them, and what forms say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from pydantic import TypeAdapter, ValidationError

from service.batches.repository import BatchRepository, Refusal
from service.context import Batches, Jobs, Results, Reviews
from service.errors import BadRequestError
from service.results.reader import ResultReader
from service.reviews.repository import ReviewRepository
from service.slides.repository import StoredSlide
from service.slides.schemas import MppIn, SlideOut, Standing, slide_out, standing
from wsi.jobs import JobStore

_MPP: TypeAdapter[float] = TypeAdapter(MppIn)


@dataclass(frozen=True)
class SlideViews:
    """Shows slides to clients, with their results and reviews."""

    jobs: JobStore
    batches: BatchRepository
    reviews: ReviewRepository
    results: ResultReader

    def of(self, slide: StoredSlide) -> SlideOut:
        """One slide."""
        counting = standing(self.jobs, [slide.id]).get(slide.id, [])
        review = self.reviews.of_slides([slide.id]).get(slide.id)
        refused = self.batches.refusals([slide.id]).get(slide.id)
        refusal = open_refusal(slide, counting, refused)
        return slide_out(slide, counting, self.results, review, refusal)


async def _views(jobs: Jobs, batches: Batches, reviews: Reviews, results: Results) -> SlideViews:
    return SlideViews(jobs, batches, reviews, results)


Views = Annotated[SlideViews, Depends(_views)]


def open_refusal(
    slide: StoredSlide, counting: Sequence[Standing], refusal: Refusal | None
) -> str | None:
    """A refusal stays with its slide until a job is started or the resolution is given."""
    if refusal is None or (refusal.kind == "mpp" and slide.given_mpp is not None):
        return None
    started = [(one.newer or one.job).created_at for one in counting]
    return None if any(time > refusal.at for time in started) else refusal.text


def form_mpp(text: str) -> float | None:
    """A resolution out of a form; ``None`` where it is empty. Raises ``BadRequestError``."""
    if not text.strip():
        return None
    try:
        return _MPP.validate_python(text)
    except ValidationError:
        raise BadRequestError(
            f"mpp must be a positive number of micrometres per pixel, got {text[:40]!r}"
        ) from None


def form_flag(name: str, text: str) -> bool:
    """A yes or no out of a form; no where it is empty. Raises ``BadRequestError``."""
    if text.strip().lower() not in ("true", "false", ""):
        raise BadRequestError(f"{name} must be true or false, got {text[:40]!r}")
    return text.strip().lower() == "true"
