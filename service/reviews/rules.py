"""When a review may be saved, and what is noted beside it."""

from datetime import UTC, datetime

from service.errors import ReviewError, SignedError, StaleError
from service.reviews.schemas import ModelCall, ReviewIn, ReviewOut


def next_version(
    before: ReviewOut, wish: ReviewIn, expected: int, calls: list[ModelCall], saved_by: str = ""
) -> ReviewOut:
    """The version that follows ``before`` if it may.

    Args:
        before: the newest version there is.
        wish: what the reader wants to save.
        expected: the version that the reader has seen.
        calls: what the models say.
        saved_by: whose key or token saves it.

    Raises:
        StaleError: the reader has not seen the newest version.
        SignedError: a signed review can only be amended by another signed one, with a reason.
        ReviewError: a signature lacks something.
    """
    if expected != before.version:
        raise StaleError(
            f"this review is at version {before.version}, not {expected}: somebody else saved it "
            "meanwhile; read it and save again"
        )
    contradicts = [
        call.pipeline for call in calls if wish.diagnosis and call.class_name != wish.diagnosis
    ]
    amends = before.version if before.status == "signed" else None
    if amends is not None and wish.status != "signed":
        raise SignedError("this review is signed; sign an amended one, with a reason")
    if wish.status == "signed":
        _require_complete(wish, contradicts, amends)
    return ReviewOut(
        **wish.model_dump(),
        slide_id=before.slide_id,
        version=before.version + 1,
        saved_at=datetime.now(UTC),
        saved_by=saved_by,
        amends=amends,
        model_calls=calls,
        contradicts=contradicts,
    )


def _require_complete(wish: ReviewIn, contradicts: list[str], amends: int | None) -> None:
    if not wish.reviewer.strip():
        raise ReviewError("a signature needs the reviewer's name")
    if not wish.diagnosis:
        raise ReviewError("a signature needs a diagnosis")
    if contradicts and not wish.reason.strip():
        raise ReviewError(
            f"the diagnosis contradicts {' and '.join(contradicts)}: give the reason for it"
        )
    if amends is not None and not wish.reason.strip():
        raise ReviewError("an amendment needs a reason")
