"""Pictures of slides: thumbnails and Deep Zoom tiles. Plain functions: they run in threads."""

import io
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from PIL import Image

from service.auth.access import AuditedViewer, Viewer
from service.caching import IMMUTABLE, etag_of, not_modified
from service.context import OpenReaders, Slides
from service.responses import NOT_MODIFIED, file_of, refusals
from service.slides.repository import StoredSlide
from service.tiles.deepzoom import DeepZoom, read_tile
from service.tiles.open_slides import OpenSlides
from wsi.errors import ChangedSlideError
from wsi.geometry import Size
from wsi.slides import RGB, thumbnail
from wsi.storage.slide_cache import is_object

router = APIRouter(prefix="/slides/{slide_id}", tags=["tiles"])

_QUALITY = 82


@router.get(
    "/thumbnail.jpg",
    response_class=Response,
    responses=file_of("image/jpeg") | NOT_MODIFIED | refusals(ChangedSlideError),
)
def get_thumbnail(
    slide_id: str,
    request: Request,
    caller: Viewer,
    slides: Slides,
    open_slides: OpenReaders,
    max_px: Annotated[int, Query(ge=16, le=4096)] = 256,
) -> Response:
    """The whole slide, its longer side ``max_px`` pixels."""
    slide = slides.get(slide_id)
    etag = etag_of(slide.sha256, "thumbnail", max_px)
    if not_modified(request, etag):
        return _unchanged(etag)
    return _jpeg(_thumbnail(open_slides, slide, max_px), etag)


@router.get(
    "/slide.dzi",
    response_class=Response,
    responses=file_of("application/xml") | NOT_MODIFIED | refusals(ChangedSlideError),
)
def get_dzi(
    slide_id: str, request: Request, caller: AuditedViewer, slides: Slides, open_slides: OpenReaders
) -> Response:
    """The Deep Zoom description."""
    slide = slides.get(slide_id)
    etag = etag_of(slide.sha256, "dzi")
    if not_modified(request, etag):
        return _unchanged(etag)
    if is_object(slide.path):
        # A viewer asks for this first and once, and for many tiles at once when it has it: the one
        # request that waits until the slide is fetched.
        open_slides.get(slide)
    text = DeepZoom(Size(slide.width, slide.height)).dzi()
    return Response(text, media_type="application/xml", headers={"ETag": etag, **IMMUTABLE})


@router.get(
    "/slide_files/{level}/{column}_{row}.jpeg",
    response_class=Response,
    responses=file_of("image/jpeg") | NOT_MODIFIED | refusals(ChangedSlideError),
)
def get_tile(
    slide_id: str,
    level: int,
    column: int,
    row: int,
    request: Request,
    caller: Viewer,
    slides: Slides,
    open_slides: OpenReaders,
) -> Response:
    """One Deep Zoom tile."""
    slide = slides.get(slide_id)
    etag = etag_of(slide.sha256, level, column, row)
    if not_modified(request, etag):
        return _unchanged(etag)
    return _jpeg(_encoded(read_tile(open_slides.get(slide), level, column, row)), etag)


@lru_cache(maxsize=256)
def _thumbnail(readers: OpenSlides, slide: StoredSlide, max_px: int) -> bytes:
    # Of a slide with few levels a thumbnail means reading much, and lists ask for it often.
    return _encoded(thumbnail(readers.get(slide), max_px))


def _encoded(pixels: RGB) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _jpeg(content: bytes, etag: str) -> Response:
    return Response(content, media_type="image/jpeg", headers={"ETag": etag, **IMMUTABLE})


def _unchanged(etag: str) -> Response:
    return Response(status_code=304, headers={"ETag": etag, **IMMUTABLE})
