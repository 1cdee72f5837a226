"""The scanned area of a slide, to which QuPath crops it."""

from service.slides.repository import StoredSlide
from service.tiles.open_slides import OpenSlides
from wsi.annotations import scanned_bounds
from wsi.geometry import Region


def scanned_area(open_slides: OpenSlides, slide: StoredSlide) -> Region | None:
    """Level-0 px; ``None`` where the slide states none. Raises ``SlideError``."""
    return scanned_bounds(open_slides.get(slide).properties)
