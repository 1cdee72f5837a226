"""Who else has a slide open: each page says so again and again, and is forgotten when it stops."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from service.auth.access import UnauditedViewer
from service.context import Database, Slides
from service.tables import presence
from wsi.jobs.database import writing

router = APIRouter(prefix="/slides/{slide_id}/readers", tags=["reviews"])

READER_TIMEOUT = timedelta(seconds=20)
"""A page that sends no heartbeat for this long is closed."""

ReaderId = Annotated[str, Path(pattern=r"^[0-9a-f]{16,32}$")]


class ReaderHeartbeat(BaseModel):
    """A heartbeat of a page."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="", max_length=200)


class Reader(BaseModel):
    """Somebody else at the same slide; the name may be empty where keys are off."""

    name: str


class Readers(BaseModel):
    """The others at a slide."""

    items: list[Reader]


@router.put("/{reader_id}")
def stay(
    slide_id: str,
    reader_id: ReaderId,
    heartbeat: ReaderHeartbeat,
    caller: UnauditedViewer,
    slides: Slides,
    engine: Database,
) -> Readers:
    """Report that a page has the slide open; the answer names the other readers."""
    slides.get(slide_id)
    now = datetime.now(UTC)
    mine = presence.c.reader_id == reader_id
    with writing(engine) as connection:
        connection.execute(
            sa.delete(presence).where(mine | (presence.c.seen_at < now - READER_TIMEOUT))
        )
        connection.execute(
            sa.insert(presence).values(
                slide_id=slide_id,
                reader_id=reader_id,
                # A key or token says who it is; without keys the page's own word is all there is.
                name=caller.name if caller.key_id or caller.subject else heartbeat.name,
                seen_at=now,
            )
        )
        others = sa.select(presence.c.name).where(presence.c.slide_id == slide_id, ~mine)
        names = connection.execute(others.order_by(presence.c.name)).scalars().all()
    return Readers(items=[Reader(name=name) for name in names])


@router.delete("/{reader_id}", status_code=204)
def leave(slide_id: str, reader_id: ReaderId, caller: UnauditedViewer, engine: Database) -> None:
    """The page has closed the slide."""
    gone = (presence.c.slide_id == slide_id) & (presence.c.reader_id == reader_id)
    with writing(engine) as connection:
        connection.execute(sa.delete(presence).where(gone))
