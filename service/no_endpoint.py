"""What is asked for below the API's prefix and is no endpoint: 404, or 405 with what there is.

Without this the page's files would answer, as they are mounted on everything that is left.
"""

from collections.abc import Iterable

from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from service.errors import problem


class NoEndpoint:
    """The ASGI app to mount on the prefix, after all endpoints.

    Args:
        endpoints: method and path below the prefix of each.
    """

    def __init__(self, endpoints: Iterable[tuple[str, str]]) -> None:
        self._paths = [(method, path, compile_path(path)[0]) for method, path in endpoints]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        there = sorted(
            # An endpoint of just this path hides those that take it for an id.
            {method for method, template, _ in self._paths if template == path}
            or {method for method, _, pattern in self._paths if pattern.match(path)}
        )
        answer = problem(404, "not_found", "there is no such endpoint")
        if there:
            text = f"{scope['method']} is not what this endpoint does; it does {', '.join(there)}"
            answer = problem(405, "method_not_allowed", text, headers={"Allow": ", ".join(there)})
        await answer(scope, receive, send)
