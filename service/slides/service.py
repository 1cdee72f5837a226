"""Slides as clients see them, and what forms say of them."""

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from service.batches.repository import Refusal
from service.context import Context
from service.errors import BadRequestError
from service.slides.repository import StoredSlide
from service.slides.schemas import MppIn, SlideOut, Standing, slide_out, standing

_MPP: TypeAdapter[float] = TypeAdapter(MppIn)


def shown(context: Context, slide: StoredSlide) -> SlideOut:
    """A slide for clients, with its results and its review."""
    counting = standing(context.jobs, [slide.id]).get(slide.id, [])
    review = context.reviews.of_slides([slide.id]).get(slide.id)
    refused = context.batches.refusals([slide.id]).get(slide.id)
    refusal = open_refusal(slide, counting, refused)
    return slide_out(slide, counting, context.results, review, refusal)


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
