"""What may hold a patient's name: associated images, and how to be rid of them and of slides."""

import io
from typing import Annotated

from fastapi import APIRouter, Query, Response
from PIL import Image
from pydantic import BaseModel

from service.auth.access import AuditedOperator, Operator
from service.context import Cache, Context, Ctx, OpenReaders, SlideIntake, Slides
from service.errors import BusyError, DiskFullError, NotFoundError, SignedError
from service.responses import file_of, refusals
from service.slides.schemas import SlideOut
from service.slides.service import Views
from wsi.errors import ChangedSlideError
from wsi.jobs import JobStatus
from wsi.slides import open_slide

router = APIRouter(prefix="/slides/{slide_id}", tags=["slides"])

_QUALITY = 90


class AssociatedOut(BaseModel):
    """The images that a slide holds beside its levels, such as ``label`` and ``macro``."""

    names: list[str]


@router.get("/associated", responses=refusals(ChangedSlideError))
def list_associated(
    slide_id: str, caller: AuditedOperator, slides: Slides, intake: SlideIntake, slide_cache: Cache
) -> AssociatedOut:
    """The names of the associated images."""
    slide = slides.get(slide_id)
    intake.require_same(slide)
    with (
        slide_cache.local(slide.path) as file,
        open_slide(file, name=slide.name) as reader,
    ):
        return AssociatedOut(names=list(reader.associated_images))


@router.get(
    "/associated/{name}.jpg",
    response_class=Response,
    responses=file_of("image/jpeg") | refusals(ChangedSlideError),
)
def get_associated(
    slide_id: str,
    name: str,
    caller: AuditedOperator,
    slides: Slides,
    intake: SlideIntake,
    slide_cache: Cache,
) -> Response:
    """A label or macro image: it may show the patient's name, so every view is in the audit log."""
    slide = slides.get(slide_id)
    intake.require_same(slide)
    # Not through the cache of open slides: that may still hold the file from before a redaction.
    with (
        slide_cache.local(slide.path) as file,
        open_slide(file, name=slide.name) as reader,
    ):
        if name not in reader.associated_images:
            there = ", ".join(reader.associated_images) or "none"
            raise NotFoundError(f"{slide.name}: no associated image {name!r}; it has: {there}")
        pixels = reader.associated_image(name)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return Response(
        buffer.getvalue(), media_type="image/jpeg", headers={"Cache-Control": "no-store"}
    )


@router.post("/redact", responses=refusals(BusyError, DiskFullError))
def redact_slide(
    slide_id: str,
    caller: Operator,
    intake: SlideIntake,
    slides: Slides,
    open_slides: OpenReaders,
    views: Views,
) -> SlideOut:
    """Remove label and macro images from the stored copy. Its levels stay, pixel for pixel."""
    slide = intake.redact(slides.get(slide_id))
    open_slides.forget(slide_id)
    return views.of(slide)


@router.delete("", status_code=204, responses=refusals(BusyError, SignedError))
def delete_slide(
    slide_id: str,
    caller: Operator,
    context: Ctx,
    with_review: Annotated[bool, Query(description="also where a review is signed")] = False,
) -> None:
    """Remove a slide, its results and its reviews. A registered file stays where it lies."""
    slide = context.slides.get(slide_id)
    _require_idle(context, slide_id)
    if context.reviews.latest(slide_id).status == "signed" and not with_review:
        raise SignedError(f"{slide.name}: its review is signed; pass with_review=true to remove it")
    context.open_slides.forget(slide_id)
    # The row goes last: where this stops half-way, it can be asked for again.
    context.intake.discard(slide)
    context.slides.remove(slide_id)
    context.open_slides.forget(slide_id)


def _require_idle(context: Context, slide_id: str) -> None:
    for status in (JobStatus.QUEUED, JobStatus.RUNNING):
        if context.jobs.count(slide_id=slide_id, status=status):
            raise BusyError(f"jobs of this slide are {status}: cancel them, or wait")
