"""What an endpoint may answer, for the ``responses=`` of its route."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from service.errors import PROBLEM_JSON, status_of
from wsi.errors import WsiError

Responses = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """A problem document (RFC 9457). ``kind`` is stable; ``detail`` is for people."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str
    title: str
    status: int
    detail: str
    kind: str


class InvalidError(WsiError):
    """The request does not match this description, or cannot be carried out."""


def refusals(*kinds: type[WsiError]) -> Responses:
    """The answers of these errors: what they mean, and that they are problem documents."""
    found: Responses = {}
    for kind in kinds:
        text = (kind.__doc__ or "").strip().split("\n")[0]
        before = found.get(status_of(kind), {}).get("description", "")
        found[status_of(kind)] = {
            "description": f"{before} {text}".strip(),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return found


def file_of(media_type: str) -> Responses:
    """A file of this type. The route needs ``response_class=Response``, or JSON is named too."""
    content: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    if media_type.endswith("json"):
        content = {"schema": {"type": "object"}}
    elif media_type.startswith("text/"):
        content = {}
    return {200: {"content": {media_type: content}}}


NOT_MODIFIED: Responses = {304: {"description": "Not modified: the client's copy is current."}}
"""For what can be asked for by its ETag."""
