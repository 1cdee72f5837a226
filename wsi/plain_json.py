"""Values that JSON has a form for."""

import math
from typing import Any


def finite_json(value: Any) -> Any:
    """A JSON value with null for NaN and infinity, which JSON lacks; tuples become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(one) for one in value]
    return value
