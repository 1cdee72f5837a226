"""Whether a slide is fine enough for a model. Free of torch: the service asks before it queues."""

from typing import TYPE_CHECKING

from wsi.geometry import Mpp, Size
from wsi.models.card import ModelCard
from wsi.slides.resolution import require_detail

if TYPE_CHECKING:
    from wsi.slides import SlideReader

DRAWN_MPP = "coarsest_drawn_mpp"
"""In ``ModelCard.training`` of a model that slides are fitted to: micrometres per pixel of the
coarsest slide that it learned from, as it was drawn."""


def wanted_mpp(card: ModelCard, mpp: Mpp, size: Size) -> float | None:
    """At which resolution a model wants to see a slide; ``None`` where it sees no pixels itself.

    A model whose input is a slide fitted to ``input_px`` wants what makes the longer side of the
    slide that long, or what the coarsest slide had that it learned from.

    Args:
        card: of the model.
        mpp: level 0 of the slide.
        size: level 0 of the slide.
    """
    if card.mpp > 0:
        return card.mpp
    if card.input_px < 1:
        return None
    longest_um = max(size.width * mpp.x, size.height * mpp.y)
    return max(longest_um / card.input_px, float(card.training.get(DRAWN_MPP, 0.0)))


def require_detail_for(card: ModelCard, slide: str, mpp: Mpp, size: Size) -> tuple[str, ...]:
    """Warnings where a slide is a little too coarse for a model.

    Args:
        card: of the model.
        slide: its name.
        mpp: its level 0.
        size: its level 0.

    Raises:
        CoarseSlideError: the slide is coarser than the model by more than ``MAX_ENLARGED``.
    """
    wanted = wanted_mpp(card, mpp, size)
    if wanted is None:
        return ()
    return require_detail(slide, mpp, wanted, f"the model {card.name!r}")


def detail_warnings(card: ModelCard, slide: "SlideReader") -> tuple[str, ...]:
    """``require_detail_for`` an open slide.

    Raises:
        MppError: it has no resolution that can be used, or is too coarse.
    """
    return require_detail_for(card, slide.name, slide.resolution.require(slide.name), slide.size)
