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


class ReviewIn(BaseModel):
    """A whole review, as it shall stand."""

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


class ModelCall(BaseModel):
    """What a pipeline said when the review was saved."""

    pipeline: str
    model: str
    job_id: str
    class_name: str
    probability: float


class ReviewOut(ReviewIn):
    """A saved version of a review; version 0 is the empty one before the first.

    Attributes:
        saved_by: whose key or token saved it, whatever name the reviewer gave; empty where keys
            are off.
        amends: the signed version that this one amends.
        contradicts: the pipelines whose most probable class is another than the diagnosis.
    """

    slide_id: str
    version: int
    saved_at: datetime | None = None
    saved_by: str = ""
    amends: int | None = None
    model_calls: list[ModelCall] = []
    contradicts: list[str] = []


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
