"""From what was asked for to items of a batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from service.batches.repository import NewItem
from service.batches.table import BadLine, Line
from service.context import Context
from service.errors import BadRequestError, ForbiddenPathError, NotFoundError, kind_of
from service.jobs.schemas import JobIn
from service.jobs.service import request_for
from wsi.errors import ModelError, SlideError, UnreadableSlideError, WsiError
from wsi.storage.slide_cache import is_object

_MAX_ID = 36


@dataclass(frozen=True)
class ItemOptions:
    """How one slide is scored: fields of ``JobIn``."""

    mpp: float | None
    model: str | None
    priority: int
    force_mpp: bool = False


def refused(slide_id: str, pipeline: str, error: WsiError) -> NewItem:
    """An item without a job, and why."""
    return NewItem(
        slide_id=slide_id, pipeline=pipeline, refusal_kind=kind_of(error), refusal=str(error)
    )


def known_slide(context: Context, body: JobIn) -> NewItem:
    """A slide that is here: a request for its job, or why there is none."""
    try:
        request = request_for(context, context.slides.get(body.slide_id), body)
    except (NotFoundError, SlideError, ModelError) as error:
        return refused(body.slide_id, body.pipeline, error)
    return NewItem(
        slide_id=body.slide_id, pipeline=body.pipeline, request=request, priority=body.priority
    )


def from_table(
    context: Context,
    lines: Iterable[Line | BadLine],
    pipelines: Sequence[str],
    defaults: ItemOptions,
) -> list[NewItem]:
    """One item a line, and a pipeline where the line names none.

    Args:
        defaults: for what a line does not state.
    """
    items = []
    for line in lines:
        if isinstance(line, BadLine):
            items.append(refused(line.slide[:_MAX_ID], "", BadRequestError(line.reason)))
            continue
        priority = defaults.priority if line.priority is None else line.priority
        options = replace(defaults, mpp=line.mpp, model=line.model, priority=priority)
        for pipeline in [line.pipeline] if line.pipeline else pipelines:
            if "/" in line.slide:
                items.append(at_place(context, line.slide, pipeline, options))
            else:
                job = JobIn(slide_id=line.slide[:_MAX_ID], pipeline=pipeline, **vars(options))
                items.append(known_slide(context, job))
    return items


def at_place(context: Context, place: str, pipeline: str, options: ItemOptions) -> NewItem:
    """A slide that lies somewhere: what can be told at once is told, the rest when it is read."""
    try:
        context.models.choose(pipeline, options.model)
        if is_object(place):
            context.intake.require_allowed_object(place)
        elif not context.intake.require_allowed(Path(place)).exists():
            raise UnreadableSlideError(Path(place).name, "no such file")
    except (ForbiddenPathError, ModelError, UnreadableSlideError) as error:
        return refused("", pipeline, error)
    return NewItem(
        slide_id="", pipeline=pipeline, path=place, options=vars(options), priority=options.priority
    )
