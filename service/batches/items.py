"""From what was asked for to items of a batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from service.batches.repository import NewItem
from service.batches.table import BadLine, Line
from service.context import Context
from service.errors import BadRequestError, ForbiddenPathError, NotFoundError, kind_of
from service.jobs.endpoints import request_for
from service.jobs.schemas import JobIn
from wsi.errors import ModelError, SlideError, UnreadableSlideError, WsiError
from wsi.storage.slide_cache import is_object

_MAX_ID = 36


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one slide: fields of ``JobIn``."""

    mpp: float | None
    model: str | None
    priority: int
    force_mpp: bool = False


def refused(slide_id: str, pipeline: str, error: WsiError) -> NewItem:
    """An item without a job, and why."""
    return NewItem(
        slide_id=slide_id, pipeline=pipeline, refusal_kind=kind_of(error), refusal=str(error)
    )


def known_slide(context: Context, wish: JobIn) -> NewItem:
    """A slide that is here: a request for its job, or why there is none."""
    try:
        request = request_for(context, context.slides.get(wish.slide_id), wish)
    except (NotFoundError, SlideError, ModelError) as error:
        return refused(wish.slide_id, wish.pipeline, error)
    return NewItem(
        slide_id=wish.slide_id, pipeline=wish.pipeline, request=request, priority=wish.priority
    )


def from_table(
    context: Context, lines: Iterable[Line | BadLine], pipelines: Sequence[str], wanted: Wanted
) -> list[NewItem]:
    """One item a line, and a pipeline where the line names none.

    Args:
        wanted: what holds where a line does not say otherwise.
    """
    items = []
    for line in lines:
        if isinstance(line, BadLine):
            items.append(refused(line.slide[:_MAX_ID], "", BadRequestError(line.reason)))
            continue
        priority = wanted.priority if line.priority is None else line.priority
        wish = replace(wanted, mpp=line.mpp, model=line.model, priority=priority)
        for pipeline in [line.pipeline] if line.pipeline else pipelines:
            if "/" in line.slide:
                items.append(at_place(context, line.slide, pipeline, wish))
            else:
                job = JobIn(slide_id=line.slide[:_MAX_ID], pipeline=pipeline, **vars(wish))
                items.append(known_slide(context, job))
    return items


def at_place(context: Context, place: str, pipeline: str, wish: Wanted) -> NewItem:
    """A slide that lies somewhere: what can be told at once is told, the rest when it is read."""
    try:
        context.models.choose(pipeline, wish.model)
        if is_object(place):
            context.intake.require_allowed_object(place)
        elif not context.intake.require_allowed(Path(place)).exists():
            raise UnreadableSlideError(Path(place).name, "there is no such file")
    except (ForbiddenPathError, ModelError, UnreadableSlideError) as error:
        return refused("", pipeline, error)
    return NewItem(
        slide_id="", pipeline=pipeline, path=place, options=vars(wish), priority=wish.priority
    )
