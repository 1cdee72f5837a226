"""Where a slide has tissue and where its quality is poor, as one small picture."""

import io

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from service.auth.access import Viewer
from service.caching import IMMUTABLE, etag_of, not_modified
from service.context import Slides
from service.responses import NOT_MODIFIED, file_of
from service.slides.repository import StoredSlide
from wsi.errors import ArtifactMissingError
from wsi.storage import SlideStore
from wsi.storage.tissue_layers import TissueLayers, tissue_layers

router = APIRouter(prefix="/slides/{slide_id}", tags=["slides"])


class LayerOut(BaseModel):
    """One layer.

    Attributes:
        name: ``tissue``, ``blur``, ``pen``, ``fold``, ``dust``, ``bubble`` or ``unreadable``.
        bit: a cell belongs to the layer where this bit of the picture's pixel is set.
        share: of the tissue that it covers; of the slide, for tissue itself.
    """

    name: str
    bit: int
    share: float


class TissueOut(BaseModel):
    """What ``tissue.png`` holds. The picture covers the slide exactly."""

    layers: list[LayerOut]
    reasons: list[str]
    digest: str


@router.get("/tissue")
def get_tissue(slide_id: str, caller: Viewer, slides: Slides) -> TissueOut:
    """Tissue and quality layers; none until a pipeline has analyzed the slide."""
    try:
        found = _found(slides.get(slide_id))
    except ArtifactMissingError:
        return TissueOut(layers=[], reasons=[], digest="")
    return TissueOut(
        layers=[
            LayerOut(
                name=name,
                bit=1 << place,
                share=float(mask.mean()) if name == "tissue" else found.shares[name],
            )
            for place, (name, mask) in enumerate(found.layers.items())
        ],
        reasons=list(found.reasons),
        digest=found.digest,
    )


@router.get("/tissue.png", response_class=Response, responses=file_of("image/png") | NOT_MODIFIED)
def get_tissue_picture(slide_id: str, request: Request, caller: Viewer, slides: Slides) -> Response:
    """The layers: a grey pixel per cell, a bit per layer. With ``?digest=...`` it never changes.

    404 until a pipeline has analyzed the slide.
    """
    found = _found(slides.get(slide_id))
    etag = etag_of(slide_id, found.digest)
    caching = {"Cache-Control": "private, no-cache"}
    if request.query_params.get("digest") == found.digest:
        caching = IMMUTABLE
    if not_modified(request, etag):
        return Response(status_code=304, headers={"ETag": etag, **caching})
    buffer = io.BytesIO()
    Image.fromarray(_bits(found)).save(buffer, "PNG", optimize=True)
    return Response(buffer.getvalue(), media_type="image/png", headers={"ETag": etag, **caching})


def _found(slide: StoredSlide) -> TissueLayers:
    return tissue_layers(SlideStore(slide.store_url, read_only=True), slide.mpp)


def _bits(found: TissueLayers) -> NDArray[np.uint8]:
    masks = list(found.layers.values())
    bits = np.zeros(masks[0].shape, np.uint8)
    for place, mask in enumerate(masks):
        bits |= mask.astype(np.uint8) << place
    return bits
