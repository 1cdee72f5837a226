"""The scanned area of a slide, to which QuPath crops it."""

from service.context import Context
from service.slides.repository import StoredSlide
from wsi.annotations import scanned_bounds
from wsi.geometry import Region


def scanned_area(context: Context, slide: StoredSlide) -> Region | None:
    """Level-0 px; ``None`` where the slide states none. Raises ``SlideError``."""
    return scanned_bounds(context.open_slides.get(slide).properties)
