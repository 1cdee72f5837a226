"""What is asked for below the API's prefix and is no endpoint: 404, or 405 with what there is.

Without this the page's files would answer, as they are mounted on everything that is left.
"""

from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from service.auth.rules import RULES
from service.errors import problem

_PATHS = [(method, path, compile_path(path)[0]) for method, path in RULES]


async def no_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI app to mount on the prefix, after all endpoints."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    there = sorted(
        # An endpoint of just this path hides those that take it for an id.
        {method for method, template, _ in _PATHS if template == path}
        or {method for method, _, pattern in _PATHS if pattern.match(path)}
    )
    answer = problem(404, "not_found", "there is no such endpoint")
    if there:
        text = f"{scope['method']} is not what this endpoint does; it does {', '.join(there)}"
        answer = problem(405, "method_not_allowed", text, headers={"Allow": ", ".join(there)})
    await answer(scope, receive, send)
