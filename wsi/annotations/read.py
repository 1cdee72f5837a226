"""Reading an annotation file of any kind; which kind is told from its content."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import shapely

from wsi.annotations.annotation import Annotations, AnnotationSpec, Drawing
from wsi.annotations.asap import read_asap
from wsi.annotations.check import checked
from wsi.annotations.frame import scanned_bounds
from wsi.annotations.geojson import read_geojson
from wsi.annotations.json_formats import (
    is_darwin,
    is_girder,
    is_ncrf,
    is_sectra,
    read_darwin,
    read_girder,
    read_ncrf,
    read_sectra,
)
from wsi.annotations.regions import is_halo, read_halo, read_imagescope
from wsi.errors import AnnotationError
from wsi.geometry import Region, Size
from wsi.slides import SlideReader

_KINDS = (
    "QuPath GeoJSON, ASAP XML, Aperio ImageScope XML, HALO annotations, NCRF JSON, Darwin V7 JSON, "
    "Sectra PathologyCore JSON, Girder annotation JSON"
)
_MOST_BYTES = 2 << 30
"""A gzip file may hold far more than it seems to."""
_MALFORMED = (
    shapely.errors.ShapelyError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
)
"""What reading JSON of another shape than its format has may raise."""


def read_annotations(
    path: Path | str,
    slide_size: Size | None = None,
    spec: AnnotationSpec | None = None,
    *,
    bounds: Region | None = None,
) -> Annotations:
    """Read annotations; the kind of file is told from its content.

    Args:
        path: QuPath GeoJSON, ASAP XML, Aperio ImageScope XML, HALO annotations, or JSON of NCRF
            (Camelyon16), Darwin V7, Sectra PathologyCore or Girder; also compressed by gzip.
        slide_size: level-0 size; without it nothing is checked against the slide.
        spec: class map, and what to do with shapes that are broken or outside.
        bounds: the slide's scanned area, from which QuPath counts: see ``scanned_bounds``.

    Raises:
        AnnotationError: the file cannot be read, is of no known kind or of another slide, has a
            class that the map does not know, an empty shape, one outside the slide, or one that
            crosses itself where that is not to be repaired. The message names the file and the
            shape.
    """
    source = Path(path).name
    drawing = _drawing(Path(path), source, slide_size)
    return checked(source, drawing, slide_size, bounds, spec or AnnotationSpec())


def read_slide_annotations(
    path: Path | str, slide: SlideReader, spec: AnnotationSpec | None = None
) -> Annotations:
    """As ``read_annotations``, with size and scanned area of an open slide."""
    return read_annotations(path, slide.size, spec, bounds=scanned_bounds(slide.properties))


def annotations_of_json(
    source: str,
    data: Any,
    slide_size: Size | None = None,
    spec: AnnotationSpec | None = None,
    *,
    bounds: Region | None = None,
) -> Annotations:
    """As ``read_annotations``, of parsed JSON of any kind; ``source`` is its name in messages."""
    drawing = _json_drawing(source, data, slide_size)
    return checked(source, drawing, slide_size, bounds, spec or AnnotationSpec())


def annotations_of_geojson(
    source: str,
    data: Any,
    slide_size: Size | None = None,
    spec: AnnotationSpec | None = None,
    *,
    bounds: Region | None = None,
    closed_lines_are_areas: bool = True,
) -> Annotations:
    """As ``read_annotations``, of parsed GeoJSON; ``source`` is its name in messages."""
    try:
        drawing = read_geojson(source, data, closed_lines_are_areas=closed_lines_are_areas)
    except _MALFORMED as error:
        raise AnnotationError(f"{source}: its JSON is malformed: {error}") from error
    return checked(source, drawing, slide_size, bounds, spec or AnnotationSpec())


def _drawing(path: Path, source: str, slide_size: Size | None) -> Drawing:
    text = _content(path, source)
    head = text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if head == b"<":
        return _xml_drawing(source, text)
    if head in (b"{", b"["):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AnnotationError(f"{source}: broken JSON: {error}") from error
        return _json_drawing(source, data, slide_size)
    if not head:
        raise AnnotationError(f"{source}: the file is empty")
    raise AnnotationError(f"{source}: not a supported annotation file; supported formats: {_KINDS}")


def _content(path: Path, source: str) -> bytes:
    try:
        text = path.read_bytes()
        if not text.startswith(b"\x1f\x8b"):
            return text
        with gzip.open(path) as file:
            text = file.read(_MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise AnnotationError(f"{source}: the gzip file is damaged: {error}") from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(text) > _MOST_BYTES:
        raise AnnotationError(f"{source}: it holds more than 2 GiB")
    return text


def _xml_drawing(source: str, text: bytes) -> Drawing:
    # No such file needs a document type; entities in one can grow without end.
    if b"<!DOCTYPE" in text[:4096]:
        raise AnnotationError(f"{source}: XML with a document type declaration is not read")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise AnnotationError(f"{source}: broken XML: {error}") from error
    if root.tag == "ASAP_Annotations":
        return read_asap(source, root)
    if root.tag == "Annotations":
        return read_halo(source, root) if is_halo(root) else read_imagescope(source, root)
    raise AnnotationError(
        f"{source}: XML of an unknown format ({root.tag}); supported formats: {_KINDS}"
    )


def _json_drawing(source: str, data: Any, slide_size: Size | None) -> Drawing:
    try:
        return _known_json(source, data, slide_size)
    except _MALFORMED as error:
        raise AnnotationError(f"{source}: its JSON is malformed: {error}") from error


def _known_json(source: str, data: Any, slide_size: Size | None) -> Drawing:
    if is_ncrf(data):
        return read_ncrf(source, data)
    if is_darwin(data):
        return read_darwin(source, data)
    if is_sectra(data):
        return read_sectra(source, data, slide_size)
    if is_girder(data):
        return read_girder(source, data)
    return read_geojson(source, data)
