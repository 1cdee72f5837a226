"""What was decided when, and what the models said at that time."""

from collections.abc import Sequence

from service.reviews.schemas import ReviewOut


def turns(history: Sequence[ReviewOut]) -> list[ReviewOut]:
    """The versions in which the diagnosis, its reader or the state changed, oldest first."""
    found: list[ReviewOut] = []
    before: ReviewOut | None = None
    for review in sorted(history, key=lambda version: version.version):
        old = before
        before = review
        if old is None and review.diagnosis is None:
            continue
        changed = review.diagnosis != (old.diagnosis if old else None)
        another = (
            review.diagnosis is not None
            and old is not None
            and old.reviewer != ""
            and review.reviewer != old.reviewer
        )
        if changed or another or review.status == "signed":
            found.append(review)
    return found


def seen_then(rows: Sequence[ReviewOut]) -> list[str]:
    """What the models had said at each of these versions, as far as its reader saw it."""
    committed: set[str] = set()
    texts = []
    for review in rows:
        # A blind reader saw the models from their own first choice on, not before it. Who chose
        # without a name may have given one later.
        unseen = review.blind and review.reviewer not in committed and "" not in committed
        if review.diagnosis is not None:
            committed.add(review.reviewer)
        said = "; ".join(
            f"{call.pipeline}: {call.class_name} {percent(call.probability)} ({call.model})"
            for call in review.model_calls
        )
        texts.append("hidden from the reader" if unseen else said or "nothing yet")
    return texts


def percent(value: float) -> str:
    """A probability that never claims certainty."""
    if value < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if value > 0.999 else f"{value * 100:.1f} %"
