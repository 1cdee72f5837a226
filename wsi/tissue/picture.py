"""Tissue and quality as one picture."""

from collections.abc import Mapping

import cv2
import numpy as np

from wsi.slides.reader import RGB, SlideReader, require_mpp
from wsi.tissue.mask import TissueMask
from wsi.tissue.overview import read_overview
from wsi.tissue.quality import LAYERS, QualityReport

LAYER_RGB: Mapping[str, tuple[int, int, int]] = {
    "tissue": (0, 140, 60),
    "blur": (240, 160, 0),
    "pen": (0, 90, 220),
    "fold": (210, 0, 160),
    "dust": (90, 60, 30),
    "bubble": (0, 180, 200),
    "unreadable": (220, 20, 20),
}
"""Colour of each layer in the picture and its legend."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE_PX = 22


def tissue_picture(
    slide: SlideReader,
    tissue: TissueMask,
    quality: QualityReport | None = None,
    *,
    max_px: int = 1200,
) -> RGB:
    """The slide with the outline of its tissue, its faults in colour, and a legend below.

    Args:
        slide: read at low power.
        tissue: what ``find_tissue`` gave.
        quality: what ``find_quality`` gave; only the outline is drawn without it.
        max_px: longer side of the slide in the picture.

    Returns:
        (height, width, 3) uint8; the legend makes it higher than the slide.

    Raises:
        MppError: the slide states no usable resolution.
        DamagedSlideError: nothing of it decodes.
    """
    base = require_mpp(slide)
    longer_um = max(slide.size.width * base.x, slide.size.height * base.y)
    # The reader of overviews goes round stored tiles that do not decode.
    picture = read_overview(slide, longer_um / max_px).pixels
    size = (picture.shape[1], picture.shape[0])

    def drawn(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> RGB:
        return np.asarray(
            cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.uint8
        )

    legend = [("tissue", f"tissue: {tissue.mask.mean():.1%} of the slide")]
    for name in LAYERS if quality is not None else ():
        assert quality is not None
        layer = drawn(quality.layers[name]) > 0
        colour = np.array(LAYER_RGB[name], np.float32)
        picture[layer] = (0.45 * picture[layer] + 0.55 * colour).astype(np.uint8)
        if quality.layers[name].any():
            legend.append((name, f"{name}: {quality.shares[name]:.1%} of the tissue"))
    outlines, _ = cv2.findContours(drawn(tissue.mask), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, LAYER_RGB["tissue"], max(1, max(size) // 600))
    notes = [f"FLAGGED: {reason}" for reason in quality.reasons] if quality is not None else []
    return np.concatenate([picture, _legend(legend, notes, size[0])])


def _legend(entries: list[tuple[str, str]], notes: list[str], width: int) -> RGB:
    """Lines of a colour and what it means, then notes in red; wrapped to the width."""
    room = max(80, width - 34)
    lines: list[tuple[str, str]] = []
    for name, text in [*entries, *(("", note) for note in notes)]:
        for i, part in enumerate(_wrapped(text, room)):
            lines.append((name if i == 0 else "", part))
    canvas = np.full((_LINE_PX * len(lines) + 12, width, 3), 255, np.uint8)
    for i, (name, text) in enumerate(lines):
        y = 6 + i * _LINE_PX
        if name:
            cv2.rectangle(canvas, (8, y + 4), (22, y + 18), LAYER_RGB[name], -1)
        colour = (20, 20, 20) if name else (190, 0, 0)
        cv2.putText(canvas, text, (30, y + 16), _FONT, 0.48, colour, 1, cv2.LINE_AA)
    return canvas


def _wrapped(text: str, room_px: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and cv2.getTextSize(longer, _FONT, 0.48, 1)[0][0] > room_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
