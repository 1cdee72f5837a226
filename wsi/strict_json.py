"""JSON as the standard has it: NaN and infinity do not exist in it and become ``null``."""

import json
import math
from typing import Any


def finite(value: Any) -> Any:
    """``value`` with ``None`` in place of every number that is not finite, however deep."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def dumps(value: Any, *, indent: int | None = None) -> str:
    """The JSON text of ``value``; numbers that are not finite are ``null``."""
    return json.dumps(finite(value), indent=indent, allow_nan=False)
