"""Taking slides in and listing them."""

from typing import Annotated, Literal

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response

from service.auth.access import Operator, Pathologist, Viewer
from service.context import Config, Ctx, SlideIntake, Slides
from service.errors import DiskFullError, ExternallyManagedError
from service.responses import Responses, refusals
from service.slides.multipart import receive
from service.slides.order import by_suspicion
from service.slides.resolution import accepted_mpp
from service.slides.schemas import (
    Registration,
    SlideChange,
    SlideOut,
    SlidePage,
    slide_out,
    standing,
)
from service.slides.service import Views, form_flag, form_mpp, open_refusal
from service.slides.staging import staging_folder
from wsi.errors import ChangedSlideError

router = APIRouter(prefix="/slides", tags=["slides"])

_HERE_ALREADY: Responses = {200: {"model": SlideOut, "description": "The slide exists already."}}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "mpp": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
                        "force_mpp": {"type": "boolean"},
                    },
                }
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    openapi_extra=_FORM,
    responses=_HERE_ALREADY | refusals(DiskFullError, ExternallyManagedError),
)
async def upload_slide(
    request: Request,
    response: Response,
    caller: Operator,
    settings: Config,
    intake: SlideIntake,
    views: Views,
    strip_labels: Annotated[bool, Query(description="store no label and macro images")] = False,
) -> SlideOut:
    """Upload a slide: one file, or a zip of a multi-file slide. 200 if it exists already."""
    length = request.headers.get("content-length", "")
    if length.isdigit():
        await anyio.to_thread.run_sync(intake.require_room, int(length))
    with staging_folder(settings.incoming) as folder:
        upload = await receive(request, folder, max_bytes=settings.max_upload_bytes)
        mpp = form_mpp(upload.fields.get("mpp", ""))
        force_mpp = form_flag("force_mpp", upload.fields.get("force_mpp", ""))
        slide, new = await anyio.to_thread.run_sync(
            lambda: intake.take(upload, mpp, force_mpp=force_mpp, strip=strip_labels)
        )
    if not new:
        response.status_code = 200
    return await anyio.to_thread.run_sync(views.of, slide)


@router.post(
    "/registrations", status_code=201, responses=_HERE_ALREADY | refusals(ChangedSlideError)
)
def register_slide(
    body: Registration, response: Response, caller: Operator, intake: SlideIntake, views: Views
) -> SlideOut:
    """Register a slide in place: a path, or ``s3://bucket/key``. 200 if it exists already.

    An object is never copied into the service: each machine reads it through a bounded cache. One
    that was replaced since is refused (409, ``changed``) until it is registered again.
    """
    slide, new = intake.register(body.path, body.mpp, force_mpp=body.force_mpp)
    if not new:
        response.status_code = 200
    return views.of(slide)


@router.get("")
def list_slides(
    caller: Viewer,
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    sort: Annotated[
        Literal["created", "suspicion"], Query(description="newest or most suspicious first")
    ] = "created",
) -> SlidePage:
    """Slides, each with what every pipeline says of it.

    By suspicion: those that show the same one by the tissue in their hotspots, then the highest
    score; slides without any come last.
    """
    if sort == "suspicion":
        order = by_suspicion(context, context.slides.names())
        found, total = context.slides.some(order[offset : offset + limit]), len(order)
    else:
        newest, total = context.slides.page(limit=limit, offset=offset)
        found = list(newest)
    ids = [slide.id for slide in found]
    reviews = context.reviews.of_slides(ids)
    counting = standing(context.jobs, ids)
    refusals = context.batches.refusals(ids)
    return SlidePage(
        items=[
            slide_out(
                slide,
                counting.get(slide.id, []),
                context.results,
                reviews.get(slide.id),
                open_refusal(slide, counting.get(slide.id, []), refusals.get(slide.id)),
            )
            for slide in found
        ],
        total=total,
    )


@router.get("/{slide_id}")
def get_slide(slide_id: str, caller: Viewer, slides: Slides, views: Views) -> SlideOut:
    """One slide."""
    return views.of(slides.get(slide_id))


@router.patch("/{slide_id}")
def change_slide(
    slide_id: str, change: SlideChange, caller: Pathologist, slides: Slides, views: Views
) -> SlideOut:
    """Give a slide its resolution, or with null go back to what the file states.

    One that contradicts what the file states (422, ``mpp``) needs ``force_mpp``. Results that were
    made at another resolution stay, and say ``other_mpp``.
    """
    slide = slides.get(slide_id)
    mpp = accepted_mpp(slide, change.mpp, force=change.force_mpp)
    return views.of(slides.give_mpp(slide_id, mpp))
