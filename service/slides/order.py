"""Most suspicious first: the order in which a day's slides should be read."""

from collections.abc import Mapping, Sequence

from service.context import Context
from service.results.reader import Summary
from service.slides.schemas import Standing, is_other_mpp, standing
from wsi.errors import StoreError
from wsi.jobs import JobStatus

_CHUNK = 500
# Suspicions that are shown alike, as tenths of a percent or "> 99.9 %", are equal.
_SHOWN = 1000
_ALMOST_SURE = 0.999

_Rank = tuple[int, float, float, float]
_UNKNOWN: _Rank = (-1, 0.0, 0.0, 0.0)


def rank(summaries: Sequence[Summary]) -> _Rank:
    """What slides are sorted by, the largest first: suspicion as it is shown, then the tissue in
    its hotspots, then their highest score. A slide without a suspicion comes last.

    Args:
        summaries: of the results that stand and were made at the slide's resolution; the highest
            counts.
    """
    known = [(s.suspicion, s) for s in summaries if s.suspicion is not None]
    if not known:
        return _UNKNOWN
    highest = max(value for value, _ in known)
    return (
        _SHOWN if highest > _ALMOST_SURE else int(highest * _SHOWN + 0.5),
        max(summary.hotspot_area_um2 for _, summary in known),
        max(summary.hotspot_score for _, summary in known),
        highest,
    )


def by_suspicion(context: Context, names: Mapping[str, str]) -> list[str]:
    """Ids of slides, most suspicious first; equal ones by name.

    Args:
        names: of the slides, by id.
    """
    ids = list(names)
    ranks: dict[str, _Rank] = {}
    for at in range(0, len(ids), _CHUNK):
        some = ids[at : at + _CHUNK]
        mpp_of = {slide.id: slide.mpp for slide in context.slides.some(some)}
        for slide_id, standings in standing(context.jobs, some).items():
            ranks[slide_id] = rank(
                [
                    summary
                    for summary in _summaries(context, standings)
                    if not is_other_mpp(summary.mpp, mpp_of.get(slide_id))
                ]
            )

    def place(slide_id: str) -> tuple[float | str, ...]:
        descending = (-value for value in ranks.get(slide_id, _UNKNOWN))
        return (*descending, names[slide_id].lower(), slide_id)

    return sorted(ids, key=place)


def _summaries(context: Context, standings: Sequence[Standing]) -> list[Summary]:
    found = []
    for one in standings:
        if one.job.status is JobStatus.SUCCEEDED:
            try:
                found.append(context.results.summary(one.job))
            except StoreError:
                continue  # Its brief says so.
    return found
