"""When a review may be saved, and what is noted beside it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.errors import ReviewError, SignedError, StaleError
from service.reviews.schemas import NOT_ASSESSABLE, ModelCall, ReviewIn, ReviewOut, SignedRun
from wsi.malignancy import ALL_MALIGNANT

ClassesAt = Mapping[tuple[str, int], tuple[str, Sequence[str]]]
"""Hotspots by (job, index): the class of each, and its model's malignant ones, the worst first."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the models said when a review is saved.

    Attributes:
        calls: the most probable class of each result that the review is about.
        runs: those results, for a signature.
        hotspots: the class of each hotspot that the reader agrees with.
        unseen: pipelines with a newer result than the reader had in sight.
    """

    calls: Sequence[ModelCall] = ()
    runs: Sequence[SignedRun] = ()
    hotspots: ClassesAt = field(default_factory=dict)
    unseen: Sequence[str] = ()


def next_version(
    before: ReviewOut,
    body: ReviewIn,
    expected: int,
    evidence: Evidence,
    known_as: str | None = None,
) -> ReviewOut:
    """The version that follows ``before`` if it may.

    Args:
        before: the newest version there is.
        body: what the reader wants to save.
        expected: the version that the reader has seen.
        evidence: what the models say.
        known_as: whose key or token saves it: the reviewer, whatever ``body`` says. ``None``
            where keys are off.

    Raises:
        StaleError: the reader has not seen the newest version.
        SignedError: a signed review can only be amended by another signed one, with a reason.
        ReviewError: a signature lacks something.
    """
    if expected != before.version:
        raise StaleError(
            f"this review is at version {before.version}, not {expected}: somebody else saved it "
            "in the meantime; load it and save again"
        )
    contradicts = [
        call.pipeline
        for call in evidence.calls
        if body.diagnosis not in (None, "", NOT_ASSESSABLE, call.class_name)
    ]
    beyond = agreed_beyond(body, evidence.hotspots)
    amends = before.version if before.status == "signed" else None
    if amends is not None and body.status != "signed":
        raise SignedError("this review is signed; sign an amended one, with a reason")
    reviewer = body.reviewer if known_as is None else known_as
    if body.status == "signed":
        _require_name(reviewer, known_as)
        if amends is None:
            _require_seen(evidence.unseen)
        _require_reason(body, contradicts, beyond, amends)
    return ReviewOut(
        **{**body.model_dump(exclude={"shown_runs"}), "reviewer": reviewer.strip()},
        slide_id=before.slide_id,
        version=before.version + 1,
        saved_at=datetime.now(UTC),
        saved_by=known_as or "",
        amends=amends,
        model_calls=list(evidence.calls),
        contradicts=contradicts,
        agreed_beyond=beyond,
        runs=list(evidence.runs) if body.status == "signed" else [],
    )


def agreed_beyond(body: ReviewIn, hotspots: ClassesAt) -> dict[str, int]:
    """Hotspots that were agreed with and are graver than the diagnosis: how many of each class."""
    found: Counter[str] = Counter()
    for spot in body.hotspots:
        if spot.decision != "agree" or (spot.job_id, spot.index) not in hotspots:
            continue
        name, malignant = hotspots[spot.job_id, spot.index]
        if _severity(name, malignant) > _severity(body.diagnosis, malignant):
            found[name] += 1
    return dict(found)


def _severity(name: str | None, malignant: Sequence[str]) -> int:
    """0 for what is not malignant; all malignant classes together weigh as the least of them."""
    if name == ALL_MALIGNANT:
        return 1
    return len(malignant) - malignant.index(name) if name in malignant else 0


def _require_name(reviewer: str, known_as: str | None) -> None:
    if any(char.isalpha() for char in reviewer):
        return
    if known_as is not None:
        raise ReviewError(
            f"your key is called {known_as!r}, which is not a name: ask for a key in your own name"
        )
    if reviewer.strip():
        raise ReviewError(
            f"{reviewer.strip()!r} is not a name: a signature needs the reviewer's name"
        )
    raise ReviewError("a signature needs the reviewer's name")


def _require_seen(unseen: Sequence[str]) -> None:
    if unseen:
        raise ReviewError(
            f"there is a newer result of {' and '.join(unseen)} than the one you were shown: "
            "review it, then sign"
        )


def _require_reason(
    body: ReviewIn, contradicts: list[str], beyond: Mapping[str, int], amends: int | None
) -> None:
    if not body.diagnosis:
        raise ReviewError("a signature needs a diagnosis")
    if body.reason.strip():
        return
    if body.diagnosis == NOT_ASSESSABLE:
        raise ReviewError("give the reason why the slide is not assessable")
    if contradicts:
        raise ReviewError(
            f"the diagnosis contradicts {' and '.join(contradicts)}: give the reason for it"
        )
    if beyond:
        said = " and ".join(
            f"{count} {name} hotspot{'s' * (count > 1)}" for name, count in beyond.items()
        )
        raise ReviewError(
            f"you agreed with {said}, and the diagnosis is {body.diagnosis}: give the reason for it"
        )
    if amends is not None:
        raise ReviewError("an amendment needs a reason")
