"""What a job needs before it can be queued."""

from service.context import Context
from service.jobs.schemas import JobIn
from service.slides.repository import StoredSlide
from service.slides.resolution import resolution_with
from wsi.jobs import CPU, GPU, JobRequest
from wsi.models.detail import require_detail_for
from wsi.slides.registered import Registered
from wsi.tracing import trace_parent


def request_for(context: Context, slide: StoredSlide, body: JobIn) -> JobRequest:
    """What a worker is told.

    Raises:
        ModelError: no such model is installed.
        MppError: the slide states no usable resolution and none was given, or one that contradicts
            the file; or the slide is too coarse for the model.
        ChangedSlideError: the slide was replaced where it lies.
    """
    card = context.models.choose(body.pipeline, body.model)
    context.intake.require_same(slide, at_once=True)
    resolution = resolution_with(slide, body.mpp, force=body.force_mpp)
    used = resolution.require(slide.name)
    for one in (card, *context.models.members(card)):
        require_detail_for(one, slide.name, used, slide.size)
    return JobRequest(
        slide_id=slide.id,
        slide_path=slide.path,
        slide_name=slide.name,
        store_url=slide.store_url,
        pipeline=card.pipeline,
        model=card.name,
        mpp=resolution.given,
        trace_parent=trace_parent(),
        slide_identity=_text(context.intake.identity_of(slide)),
        queue=GPU if {card.pipeline, card.name} & set(context.settings.gpu_jobs) else CPU,
    )


def _text(identity: Registered | None) -> str | None:
    return None if identity is None else str(identity)
