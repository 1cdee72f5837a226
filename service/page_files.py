"""The built page: its entry is revalidated each time, its hashed assets are cached for ever."""

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_ASSETS = "assets/"


class PageFiles(StaticFiles):
    """Without a word on caching, a browser shows an old entry for days: also after a sign-out."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, with how long it may be kept."""
        answer = await super().get_response(path, scope)
        kept = "public, max-age=31536000, immutable" if path.startswith(_ASSETS) else "no-cache"
        answer.headers["Cache-Control"] = kept
        return answer
