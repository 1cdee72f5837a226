"""Annotations for the fake service: the real endpoints and rules over a list in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request

from service.annotations import endpoints
from service.annotations.rules import AnnotationChange, next_version
from service.annotations.schemas import AnnotationOut
from service.auth.authenticator import LOCAL, Principal
from service.auth.roles import Role
from service.context import get_context
from service.errors import install_error_handlers

if TYPE_CHECKING:
    from tests.browser.fake_service import Fake


@dataclass
class FakeAnnotations:
    """Every version of every annotation, in order; the face of ``AnnotationRepository``."""

    versions: list[AnnotationOut] = field(default_factory=list)
    signed: bool = False
    slide_id: str = ""

    @contextmanager
    def changing(self, slide_id: str) -> Iterator["FakeAnnotations"]:
        """Changes of one slide; nothing of them where one fails."""
        before = list(self.versions)
        self.slide_id = slide_id
        try:
            yield self
        except BaseException:
            self.versions = before
            raise

    def shown(self, slide_id: str = "") -> list[AnnotationOut]:
        """Those on the slide now."""
        return self.of_slide(slide_id or self.slide_id)[0]

    def apply(self, annotation_id: str, change: AnnotationChange) -> AnnotationOut:
        """As the real one."""
        mine = [v for v in self.versions if (v.slide_id, v.id) == (self.slide_id, annotation_id)]
        following = next_version(
            mine,
            change,
            slide_id=self.slide_id,
            id=annotation_id,
            number=len(self.versions) + 1,
            signed=self.signed,
        )
        if following is None:
            return mine[-1]
        self.versions.append(following)
        return following

    def of_slide(self, slide_id: str, since: int = 0) -> tuple[list[AnnotationOut], int]:
        """As the real one."""
        news = [v for v in self.versions if v.slide_id == slide_id and v.change > since]
        newest = {version.id: version for version in news}
        items = [version for version in newest.values() if since or not version.deleted]
        return items, len(self.versions)

    def history(self, slide_id: str, annotation_id: str) -> list[AnnotationOut]:
        """As the real one."""
        mine = [v for v in self.versions if (v.slide_id, v.id) == (slide_id, annotation_id)]
        return mine[::-1]

    def class_names(self) -> list[str]:
        """As the real one."""
        return sorted({version.class_name for version in self.versions})


class _OpenAuthenticator:
    """Lets everyone in, and notes nothing."""

    async def who(self, request: Request) -> Principal:
        return LOCAL

    async def count(self, request: Request, who: Principal, *, is_public: bool) -> bool:
        return False

    def audit_entry(self, request: Request, path: str, who: Principal) -> None:
        return None

    def check(self, who: Principal, role: Role) -> None:
        return None


def annotation_app(fake: "Fake") -> FastAPI:
    """The real endpoints of annotations over the fake's state."""
    app = FastAPI()
    install_error_handlers(app)

    def context() -> Any:
        def slide(slide_id: str) -> Any:
            return SimpleNamespace(**fake.slides[slide_id])

        def review(slide_id: str) -> Any:
            fake.annotations.signed = fake.review(slide_id).status == "signed"
            return fake.review(slide_id)

        return SimpleNamespace(
            slides=SimpleNamespace(get=slide),
            reviews=SimpleNamespace(latest=review),
            models=SimpleNamespace(cards=lambda: [SimpleNamespace(classes=("benign", "cancer"))]),
            annotations=fake.annotations,
            authenticator=_OpenAuthenticator(),
            # Slides that state no scanned area of their own.
            open_slides=SimpleNamespace(get=lambda slide: SimpleNamespace(properties={})),
        )

    @app.middleware("http")
    async def anybody(request: Request, call_next: Any) -> Any:
        request.state.principal = LOCAL
        return await call_next(request)

    app.dependency_overrides[get_context] = context
    # Who may call is asked of the app's own.
    app.state.context = context()
    app.include_router(endpoints.router)
    app.include_router(endpoints.classes)
    return app
