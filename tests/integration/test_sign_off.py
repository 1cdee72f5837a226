"""Signing a slide off while somebody draws on it, on PostgreSQL: first the one, then the other."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from service.annotations.repository import AnnotationRepository
from service.annotations.rules import AnnotationChange
from service.annotations.schemas import AnnotationIn
from service.database import migrate
from service.errors import NotFoundError, SignedError
from service.reviews.repository import ReviewRepository
from service.reviews.schemas import ReviewOut
from service.slides.repository import SlideRepository, StoredSlide
from tests.integration.services import postgres_url
from wsi.jobs import create_engine

pytestmark = pytest.mark.services

SLIDE = "slide-1"
DRAWN = AnnotationChange(
    content=AnnotationIn(geometry={"type": "Point", "coordinates": [5, 5]}), expected=0, who="Ann"
)


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_url() as url:
        engine = create_engine(url)
        migrate(engine)
        add_slide(engine)
        engine.dispose()
        yield url


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    made = create_engine(url)
    yield made
    made.dispose()


@pytest.fixture
def signer(url: str) -> Iterator[sa.Engine]:
    """Another process's connections."""
    made = create_engine(url)
    yield made
    made.dispose()


def add_slide(engine: sa.Engine) -> None:
    slide = StoredSlide(
        id=SLIDE,
        name="a.svs",
        sha256="0" * 64,
        size_bytes=1,
        path="/a.svs",
        store_url="/a.zarr",
        vendor="aperio",
        width=10,
        height=10,
        levels=1,
        stated_mpp=0.5,
        given_mpp=None,
        magnification=None,
        created_at=datetime.now(UTC),
    )
    SlideRepository(engine).add(slide)


def sign(engine: sa.Engine) -> None:
    now = datetime.now(UTC)
    review = ReviewOut(
        slide_id=SLIDE, version=1, saved_at=now, status="signed", reviewer="B", diagnosis="benign"
    )
    ReviewRepository(engine).add(review)


def draw(engine: sa.Engine, id: str = "annotation-1") -> None:
    with AnnotationRepository(engine).changing(SLIDE) as slide:
        slide.apply(id, DRAWN)


def test_a_signature_waits_for_what_is_being_drawn(engine: sa.Engine, signer: sa.Engine) -> None:
    with ThreadPoolExecutor() as pool:
        with AnnotationRepository(engine).changing(SLIDE) as slide:
            assert not slide.signed
            signing = pool.submit(sign, signer)
            # It has been asked whether the slide is signed: from here nobody may sign it.
            with pytest.raises(TimeoutError):
                signing.result(0.7)
            slide.apply("annotation-1", DRAWN)
        signing.result(20)
    assert len(AnnotationRepository(engine).of_slide(SLIDE)[0]) == 1
    with pytest.raises(SignedError):
        draw(engine, "annotation-2")


def test_what_is_drawn_while_somebody_signs_meets_the_signature(
    engine: sa.Engine, signer: sa.Engine
) -> None:
    signed, go_on = threading.Event(), threading.Event()

    def before_commit(connection: sa.Connection) -> None:
        signed.set()
        go_on.wait(20)

    with ThreadPoolExecutor() as pool:
        # What SQLAlchemy asks of a server when it first connects is no part of this.
        signer.connect().close()
        sa.event.listen(signer, "commit", before_commit)
        signing = pool.submit(sign, signer)
        assert signed.wait(20)
        drawing = pool.submit(draw, engine)
        with pytest.raises(TimeoutError):
            drawing.result(0.7)
        go_on.set()
        signing.result(20)
        with pytest.raises(SignedError):
            drawing.result(20)
    assert AnnotationRepository(engine).of_slide(SLIDE)[0] == []


def test_a_slide_that_is_removed_meanwhile_gets_neither(engine: sa.Engine) -> None:
    SlideRepository(engine).remove(SLIDE)
    for change in (sign, draw):
        with pytest.raises(NotFoundError):
            change(engine)
