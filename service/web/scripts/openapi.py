"""Print the schemas of the service's OpenAPI document; ``npm run api`` makes types of them.

Only what a type depends on: paths and error responses are not used by the page, and another wording
of a description is no other type. What the fields mean is told at /api/v1/docs.
"""

import json
import sys
from typing import Any

from service.app import create_app
from service.settings import Settings

_PROSE = ("title", "description", "example", "examples")


def _without_prose(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_prose(item) for item in node]
    if isinstance(node, dict):
        # A property may have one of these names; then it is a schema.
        return {
            key: _without_prose(value)
            for key, value in node.items()
            if key not in _PROSE or (isinstance(value, dict) and "type" in value)
        }
    return node


document = create_app(Settings()).openapi()
schemas = _without_prose(document["components"]["schemas"])
sys.stdout.write(
    json.dumps(
        {
            "openapi": document["openapi"],
            "info": {"title": "wholeslide", "version": "1"},
            "paths": {},
            "components": {"schemas": dict(sorted(schemas.items()))},
        }
    )
)
