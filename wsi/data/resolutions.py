"""The resolutions of the slides of a whole-slide training, looked at before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from wsi.data.slide_image import fitted_mpp
from wsi.data.tables import Row
from wsi.geometry import Mpp, Size
from wsi.slides import open_slide, require_mpp
from wsi.slides.resolution import require_detail


@dataclass(frozen=True, kw_only=True)
class Resolutions:
    """What was found.

    Attributes:
        coarsest_mpp: micrometres per pixel of the slide that is drawn coarsest.
        warnings: sentences for people, each with its slide.
    """

    coarsest_mpp: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Seen:
    path: str
    mpp: Mpp
    size: Size
    drawn_mpp: float


def check_resolutions(rows: Sequence[Row], root: Path, *, mpp: float, input_px: int) -> Resolutions:
    """Open every slide and see whether it is fine enough for the training.

    Slides that are fitted to a size are compared with what makes their longer side that long, or
    with what half of the slides are drawn at, where that is coarser: a small biopsy has few pixels
    without being coarse.

    Args:
        rows: of the table.
        root: folder that their paths are relative to.
        mpp: micrometres per pixel to draw slides at; 0 fits them to ``input_px``.
        input_px: longer side of fitted slides.

    Raises:
        MppError: a slide has no usable resolution, or is too coarse.
        SlideError: a slide cannot be read.
    """
    seen, warnings = [], []
    for row in rows:
        with open_slide(root / row.path, mpp=row.mpp, force_mpp=row.force_mpp) as slide:
            drawn = mpp or fitted_mpp(slide, input_px)
            seen.append(_Seen(row.path, require_mpp(slide), slide.size, drawn))
            warnings += [f"{row.path}: {text}" for text in slide.warnings]
    usual = median(one.drawn_mpp for one in seen)
    for one in seen:
        longest_um = max(one.size.width * one.mpp.x, one.size.height * one.mpp.y)
        wanted = mpp or max(longest_um / input_px, usual)
        told = require_detail(one.path, one.mpp, wanted, "the training")
        warnings += [f"{one.path}: {text}" for text in told]
    return Resolutions(coarsest_mpp=max(one.drawn_mpp for one in seen), warnings=tuple(warnings))
