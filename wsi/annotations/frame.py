"""Where the coordinates of a file begin.

Here all coordinates are level-0 px of the whole slide. QuPath crops slides that state the scanned
area (``openslide.bounds-x``, ``-y``, ``-width``, ``-height``: MRXS, SCN and others) to it, so its
coordinates begin at that area's corner. GeoJSON that is written here says which of both it has, in
a foreign member that QuPath passes over.
"""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import shapely

from wsi.annotations.annotation import AnnotationSpec, Drawing, Frame, Shape
from wsi.errors import AnnotationError
from wsi.geometry import Region, Size

FRAME_KEY = "wholeslide"
_KEYS = tuple(f"openslide.bounds-{part}" for part in ("x", "y", "width", "height"))
_BORDER_PX = 1.0


def scanned_bounds(properties: Mapping[str, str]) -> Region | None:
    """The scanned area to which QuPath crops a slide, level-0 px.

    Args:
        properties: of the slide, see ``SlideReader.properties``.

    Returns:
        ``None`` where the slide does not state all of it, as in QuPath.
    """
    try:
        x, y, width, height = (int(properties[key]) for key in _KEYS)
    except (KeyError, ValueError):
        return None
    return Region(x, y, width, height) if width > 0 and height > 0 else None


def has_offset(bounds: Region | None) -> bool:
    """Whether QuPath's coordinates differ from those of the whole slide."""
    return bounds is not None and (bounds.x, bounds.y) != (0, 0)


def frame_member(bounds: Region | None) -> dict[str, Any]:
    """What a file that is written here says of where its coordinates begin."""
    if bounds is None or not has_offset(bounds):
        return {"frame": "level0"}
    return {"frame": "qupath-bounds", "x": bounds.x, "y": bounds.y}


def read_frame_member(source: str, member: Any, drawing: Drawing) -> None:
    """Take what ``frame_member`` wrote. Raises ``AnnotationError`` where it is something else."""
    frame = member.get("frame") if isinstance(member, dict) else None
    if frame not in get_args(Frame):
        raise AnnotationError(f"{source}: its member {FRAME_KEY!r} does not name a known frame")
    drawing.frame = frame
    if frame == "qupath-bounds":
        try:
            drawing.offset = float(member["x"]), float(member["y"])
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"{source}: its member {FRAME_KEY!r} lacks the scanned area's x and y"
            ) from error


def to_level0(
    source: str,
    drawing: Drawing,
    slide_size: Size | None,
    bounds: Region | None,
    spec: AnnotationSpec,
) -> list[Shape]:
    """The shapes in level-0 px of the whole slide; notes what had to be assumed.

    Raises:
        AnnotationError: the file belongs to a slide of another size or scanned area, or its frame
            cannot be told.
    """
    _check_image(source, drawing, slide_size, bounds)
    x, y = _offset(source, drawing, slide_size, bounds, spec)
    if (x, y) == (0, 0):
        return drawing.shapes
    return [
        Shape(
            shape.where,
            shape.class_name,
            shape.name,
            shapely.transform(shape.geometry, lambda xy: xy + np.array([x, y])),
            shape.comment,
            shape.cuts,
            shape.layer,
        )
        for shape in drawing.shapes
    ]


def _check_image(
    source: str, drawing: Drawing, slide_size: Size | None, bounds: Region | None
) -> None:
    """The image that was drawn on is the slide, or its scanned area."""
    image = drawing.image_size
    if image is None or slide_size is None or image == slide_size:
        return
    if bounds is not None and image == Size(round(bounds.width), round(bounds.height)):
        drawing.frame = "qupath-bounds"
        return
    raise AnnotationError(
        f"{source}: it was drawn on an image of {image.width} x {image.height} px, and this slide "
        f"has {slide_size.width} x {slide_size.height}: it belongs to another slide or level"
    )


def _offset(
    source: str,
    drawing: Drawing,
    slide_size: Size | None,
    bounds: Region | None,
    spec: AnnotationSpec,
) -> tuple[float, float]:
    of_slide = (bounds.x, bounds.y) if bounds is not None else (0.0, 0.0)
    if spec.frame != "auto":
        return of_slide if spec.frame == "qupath-bounds" else (0, 0)
    if drawing.offset is not None:
        if slide_size is not None and drawing.offset != of_slide:
            raise AnnotationError(
                f"{source}: it counts from a scanned area at {_place(drawing.offset)}, and this "
                f"slide's is at {_place(of_slide)}: it belongs to another slide"
            )
        return drawing.offset
    if drawing.frame == "level0" or bounds is None or not has_offset(bounds):
        return 0, 0
    if drawing.frame == "qupath-bounds":
        return of_slide
    if drawing.program != "QuPath GeoJSON":
        drawing.notes.append(
            f"{drawing.program} does not say where its coordinates begin; they are counted "
            "from the corner of the whole slide, "
            "although QuPath and others crop this slide to its scanned area at "
            f"{_place(of_slide)}: check whether they are in the right place"
        )
        return 0, 0
    _check_qupath_fits(source, drawing, slide_size, bounds)
    drawing.notes.append(
        "coordinates are taken as QuPath's, which begin at the corner of the scanned area "
        f"({_place(of_slide)})"
    )
    return of_slide


def _check_qupath_fits(
    source: str, drawing: Drawing, slide_size: Size | None, bounds: Region
) -> None:
    """What QuPath drew lies in the scanned area; other places of the slide it does not show."""
    if slide_size is None:
        return
    extents = shapely.bounds(np.array([shape.geometry for shape in drawing.shapes], object))
    extents = extents.reshape(-1, 4)
    beyond = (extents[:, 0] > bounds.width + _BORDER_PX) | (
        extents[:, 1] > bounds.height + _BORDER_PX
    )
    on_slide = (extents[:, 2] <= slide_size.width) & (extents[:, 3] <= slide_size.height)
    if (beyond & on_slide).any():
        first = drawing.shapes[int(np.flatnonzero(beyond & on_slide)[0])]
        raise AnnotationError(
            f"{source}: {first.where} lies beyond the scanned area of {bounds.width:.0f} x "
            f"{bounds.height:.0f} px that QuPath shows, though on the slide: say where the "
            "coordinates begin, frame level0 (the whole slide) or qupath-bounds"
        )


def _place(xy: tuple[float, float]) -> str:
    return f"x {xy[0]:.0f}, y {xy[1]:.0f}"
