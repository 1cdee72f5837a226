"""A slide's resolution as the service knows it, and what becomes of it where a user gives one."""

from service.slides.repository import StoredSlide
from wsi.slides import open_slide
from wsi.slides.resolution import Resolution
from wsi.storage.slide_cache import is_object


def resolution_with(slide: StoredSlide, given: float | None, *, force: bool) -> Resolution:
    """The resolution that a slide has, or would have with the one that a user gives.

    Args:
        slide: of the service.
        given: micrometres per pixel; ``None`` leaves what was given before.
        force: ``given`` counts although the file states another one.

    Raises:
        MppError: ``given`` contradicts the file, or is implausible.
        SlideError: the file cannot be opened any more.
    """
    if given is None:
        # What was stored was accepted then.
        given, force = slide.given_mpp, True
    if is_object(slide.path):
        # Nothing is fetched for this: what the object states was read when it was registered.
        return slide.resolution_with(given, force=force)
    with open_slide(slide.file, mpp=given, force_mpp=force, name=slide.name) as reader:
        return reader.resolution


def accepted_mpp(slide: StoredSlide, given: float | None, *, force: bool) -> float | None:
    """What is to be stored of a given resolution: ``None`` where it is what the file states.

    Raises:
        MppError: as ``resolution_with``.
    """
    if given is None:
        return None
    found = resolution_with(slide, given, force=force)
    found.require(slide.name)
    return found.given
