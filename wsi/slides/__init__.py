"""Reading slides."""

from wsi.slides.open import check_slide, open_slide
from wsi.slides.reader import (
    RGB,
    Level,
    SlideReader,
    read_at_mpp,
    require_mpp,
    thumbnail,
)

__all__ = [
    "RGB",
    "Level",
    "SlideReader",
    "check_slide",
    "open_slide",
    "read_at_mpp",
    "require_mpp",
    "thumbnail",
]
