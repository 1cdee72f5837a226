"""Reviews as clients see them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=4000)]
Name = Annotated[str, Field(max_length=200)]


class HotspotDecision(BaseModel):
    """What the reader says of one hotspot.

    Attributes:
        job_id: the job whose result lists the hotspot.
        index: its place in that list, from 0.
        decision: ``None`` where it was only looked at or commented on.
        seen: whether a reader has looked at it.
    """

    model_config = ConfigDict(extra="forbid")

    job_id: str = Field(max_length=36)
    index: int = Field(ge=0, le=100_000)
    decision: Literal["agree", "disagree", "unsure"] | None = None
    comment: Text = ""
    seen: bool = False


NOT_ASSESSABLE = "not assessable"
"""The diagnosis of a slide that allows none: it needs a reason and no class of a model."""


class ReviewContent(BaseModel):
    """What a reader says of a slide.

    Attributes:
        reviewer: who says it; with keys on, always the name of the key or token that saves it.
        diagnosis: a class, or ``not assessable``.
        reason: for a signature that differs from what the models say or the reader agreed with.
        blind: whether the diagnosis was first chosen without the models in sight.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "status": "signed",
                    "reviewer": "A. Reader",
                    "diagnosis": "benign",
                    "reason": "The marked area is a lymph follicle.",
                    "hotspots": [
                        {
                            "job_id": "1b0f2c1e-9a57-4d0c-8f6b-2f4b7e0f7a11",
                            "index": 0,
                            "decision": "disagree",
                        }
                    ],
                }
            ]
        },
    )

    status: Literal["draft", "signed"] = "draft"
    reviewer: Name = ""
    diagnosis: Annotated[str, Field(max_length=64)] | None = None
    comment: Text = ""
    reason: Text = ""
    blind: bool = False
    hotspots: list[HotspotDecision] = Field(default=[], max_length=10_000)


class ReviewIn(ReviewContent):
    """A complete review to save.

    Attributes:
        shown_runs: the jobs whose results the reader had in sight: a signature stands on these.
            Without, on the newest results, and an amendment on those of what it amends.
    """

    shown_runs: list[Annotated[str, Field(max_length=36)]] | None = Field(
        default=None, max_length=64
    )


class ModelCall(BaseModel):
    """What a pipeline said when the review was saved."""

    pipeline: str
    model: str
    job_id: str
    class_name: str
    probability: float


class SignedRun(BaseModel):
    """One pipeline's result that a signature stands on, as it was shown.

    Attributes:
        job_id: whose result it is; results never change.
        result_id: where it lies in the slide's store.
        mpp: the resolution that somebody gave for the run; ``None``: the file's own.
        outcome: ``scored``, ``no_tissue``, ``tissue_unclear``; ``None`` where it was not noted.
    """

    pipeline: str
    job_id: str
    result_id: str | None = None
    model: str
    model_digest: str = ""
    finished_at: datetime | None = None
    mpp: float | None = None
    outcome: str | None = None
    probabilities: dict[str, float] = {}
    hotspots: int | None = None
    warnings: list[str] = []


class ReviewOut(ReviewContent):
    """A saved version of a review; version 0 is the empty one before the first.

    Attributes:
        saved_by: whose key or token saved it, whatever name the reviewer gave; empty where keys
            are off.
        amends: the signed version that this one amends.
        contradicts: the pipelines whose most probable class is another than the diagnosis.
        agreed_beyond: hotspots that the reader agreed with although the diagnosis says less: how
            many of each class.
        runs: the results that a signature stands on; empty for drafts.
    """

    slide_id: str
    version: int
    saved_at: datetime | None = None
    saved_by: str = ""
    amends: int | None = None
    model_calls: list[ModelCall] = []
    contradicts: list[str] = []
    agreed_beyond: dict[str, int] = {}
    runs: list[SignedRun] = []


class ReviewBrief(BaseModel):
    """What lists show of the newest version of a slide's review."""

    slide_id: str
    version: int
    status: Literal["draft", "signed"]
    reviewer: str
    diagnosis: str | None
    blind: bool
    saved_at: datetime


class ReviewNews(BaseModel):
    """Newest versions that were saved after some time, oldest first."""

    items: list[ReviewBrief]


class ReviewHistory(BaseModel):
    """Every version of a review, newest first."""

    items: list[ReviewOut]
