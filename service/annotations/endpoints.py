"""Reading, saving, deleting, importing and exporting annotations."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Body, Path, Query, Response
from fastapi.responses import JSONResponse

from service.annotations.exchange import (
    ImportOptions,
    import_features,
    to_feature_collection,
)
from service.annotations.repository import AnnotationRepository
from service.annotations.rules import AnnotationChange, checked
from service.annotations.schemas import (
    AnnotationHistory,
    AnnotationIn,
    AnnotationList,
    AnnotationOut,
    ClassList,
    ImportOut,
    Name,
    Text,
)
from service.auth.access import AuditedViewer, Pathologist, Viewer
from service.auth.authenticator import LOCAL, Principal
from service.context import Annotations, Models, OpenReaders, Reviews, Slides
from service.errors import SignedError
from service.models.catalog import ModelCatalog
from service.preconditions import IfMatch, seen_version
from service.responses import file_of, refusals
from service.slides.scanned_area import scanned_area
from wsi.errors import ChangedSlideError
from wsi.geometry import Size

router = APIRouter(prefix="/slides/{slide_id}", tags=["annotations"])
classes = APIRouter(prefix="/annotation-classes", tags=["annotations"])

AnnotationId = Annotated[str, Path(pattern=r"^[0-9A-Za-z-]{8,36}$")]
USUAL_CLASSES = ("cancer", "benign", "normal", "stroma", "immune cells", "necrosis", "artefact")


@router.get("/annotations")
def list_annotations(
    slide_id: str,
    caller: Viewer,
    slides: Slides,
    annotations: Annotations,
    reviews: Reviews,
    since: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> AnnotationList:
    """All annotations of a slide, or what changed after a change, with those deleted."""
    slides.get(slide_id)
    items, change = annotations.of_slide(slide_id, since)
    signed = reviews.latest(slide_id).status == "signed"
    return AnnotationList(items=items, change=change, signed=signed)


@router.put("/annotations/{annotation_id}", responses=refusals(SignedError))
def save_annotation(
    slide_id: str,
    annotation_id: AnnotationId,
    body: AnnotationIn,
    response: Response,
    caller: Pathologist,
    annotations: Annotations,
    slides: Slides,
    if_match: IfMatch = None,
) -> AnnotationOut:
    """Create an annotation (If-Match: 0, with an id chosen by the client), change or restore it.

    Repeating a request is safe. 412 if somebody else saved in between: nothing is
    overwritten.
    """
    slide = slides.get(slide_id)
    content = checked(body, Size(slide.width, slide.height))
    who = _name(caller, body.author)
    change = AnnotationChange(
        content=content, expected=seen_version(if_match), who=who, reason=body.reason
    )
    return _apply(annotations, slide_id, annotation_id, change, response)


@router.delete("/annotations/{annotation_id}", responses=refusals(SignedError))
def delete_annotation(
    slide_id: str,
    annotation_id: AnnotationId,
    response: Response,
    caller: Pathologist,
    annotations: Annotations,
    if_match: IfMatch = None,
    author: Name = "",
    reason: Text = "",
) -> AnnotationOut:
    """Delete an annotation. Its versions stay, and saving it again restores it."""
    who = _name(caller, author)
    change = AnnotationChange(content=None, expected=seen_version(if_match), who=who, reason=reason)
    return _apply(annotations, slide_id, annotation_id, change, response)


@router.get("/annotations/{annotation_id}/history")
def get_annotation_history(
    slide_id: str, annotation_id: AnnotationId, caller: AuditedViewer, annotations: Annotations
) -> AnnotationHistory:
    """Every version of an annotation, newest first."""
    return AnnotationHistory(items=annotations.history(slide_id, annotation_id))


@router.get(
    "/annotations.geojson",
    response_class=Response,
    responses=file_of("application/geo+json") | refusals(ChangedSlideError),
)
def export_annotations(
    slide_id: str,
    caller: AuditedViewer,
    slides: Slides,
    annotations: Annotations,
    open_slides: OpenReaders,
) -> JSONResponse:
    """All annotations of a slide for QuPath: drag the file onto the slide."""
    slide = slides.get(slide_id)
    items, _ = annotations.of_slide(slide_id)
    return JSONResponse(
        to_feature_collection(items, scanned_area(open_slides, slide)),
        media_type="application/geo+json",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(slide.name)}.geojson",
            "Cache-Control": "no-cache",
        },
    )


@router.post("/annotations.geojson", responses=refusals(SignedError, ChangedSlideError))
def import_annotations(
    slide_id: str,
    data: Annotated[Any, Body()],
    caller: Pathologist,
    annotations: Annotations,
    slides: Slides,
    open_slides: OpenReaders,
    models: Models,
    new_classes: bool = False,
    repair: bool = False,
    drop_outside: bool = False,
    frame: Literal["auto", "level0", "qupath-bounds"] = "auto",
    author: Name = "",
    reason: Text = "",
) -> ImportOut:
    """Add the annotations of a GeoJSON file as QuPath writes it: all of them, or none.

    JSON of NCRF, Darwin V7, Sectra PathologyCore and Girder is read as well. Annotations that exist
    already with the same shape, class and comment are not added again; detections, cells and TMA
    cores are counted, not added.

    Args:
        new_classes: accept classes that are not among ``/annotation-classes``.
        repair: repair outlines that cross themselves; else they are refused.
        drop_outside: leave out what lies outside the slide; else it is refused.
        frame: where coordinates begin: at the whole slide's corner (level0) or at that of its
            scanned area (qupath-bounds); auto takes what the file says, and QuPath's convention.
        author: where keys are off.
        reason: why, where the slide is signed.
    """
    slide = slides.get(slide_id)
    return import_features(
        annotations,
        slide,
        data,
        ImportOptions(
            known=None if new_classes else _classes(models, annotations),
            repair=repair,
            drop_outside=drop_outside,
            frame=frame,
        ),
        bounds=scanned_area(open_slides, slide),
        who=_name(caller, author),
        reason=reason,
    )


@classes.get("")
def list_classes(caller: Viewer, models: Models, annotations: Annotations) -> ClassList:
    """The classes of the models, common ones, and those that readers have used."""
    return ClassList(items=_classes(models, annotations))


def _apply(
    annotations: AnnotationRepository,
    slide_id: str,
    annotation_id: str,
    change: AnnotationChange,
    response: Response,
) -> AnnotationOut:
    with annotations.changing(slide_id) as slide:
        saved = slide.apply(annotation_id, change)
    response.headers["ETag"] = f'"{saved.version}"'
    return saved


def _classes(models: ModelCatalog, annotations: AnnotationRepository) -> list[str]:
    of_models = [name for card in models.cards() for name in card.classes]
    return list(dict.fromkeys([*of_models, *USUAL_CLASSES, *annotations.class_names()]))


def _name(who: Principal, given: str) -> str:
    """A key says who it is; without keys the page's own word is all there is."""
    return given.strip() if who is LOCAL else who.name
